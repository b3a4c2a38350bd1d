//! Image references: parsed, normalised and printed exactly like Go's `distribution/reference` in
//! `ParseNormalizedNamed`, which every container runtime and the kubelet call.
//!
//! ```text
//! reference   = name [ ":" tag ] [ "@" digest ]
//! name        = [ domain "/" ] component { "/" component }      component part <= 255 bytes
//! domain      = host [ ":" digit+ ]
//! host        = label { "." label } | "[" ( hex | ":" )+ "]"
//! label       = alnum | alnum ( alnum | "-" )* alnum
//! component   = lower { separator lower }
//! lower       = ( a-z | 0-9 )+
//! separator   = "." | "_" | "__" | "-"+
//! tag         = ( word ) ( word | "." | "-" )*                  at most 128 bytes
//! digest      = algorithm ":" hex                               sha256, sha384 or sha512
//! ```
//!
//! Normalisation (`normalize.go`): the text before the first `/` is a domain if it is
//! `localhost`, contains `.` or `:`, or has an uppercase letter. Otherwise the domain is
//! `docker.io`. `index.docker.io` is `docker.io`. On `docker.io` a name of one component is below
//! `library/`.
//!
//! Two steps of `ParseDockerRef` are deliberately left out: no tag `latest` is added, and a tag
//! with a digest is kept. See [`Reference::identifier`].

mod class;
mod error;
mod parse;

use std::{borrow::Cow, fmt};

pub use self::error::{ExpectedPart, ReferenceError};
pub(crate) use self::parse::PATH_MAX;
pub use self::parse::{is_domain, is_image_id, is_path, names_registry};

/// Domain of Docker Hub in normalised references.
pub const DOCKER_DOMAIN: &str = "docker.io";
/// The old name of [`DOCKER_DOMAIN`].
pub const LEGACY_DOCKER_DOMAIN: &str = "index.docker.io";
/// Path prefix of Docker Hub's names of one component.
const LIBRARY: &str = "library/";

/// A valid image reference, borrowed from the text it was parsed from.
///
/// `Display` prints the normalised form, like Go's `Named.String()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference<'a> {
    domain: &'a str,
    /// True if the domain has an uppercase letter.
    pub(crate) domain_has_upper: bool,
    /// `library/` or empty: the part of the path that the input left out.
    prefix: &'static str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Parses and normalises `input`, without allocating.
    ///
    /// # Errors
    /// Returns the expected part and the byte if `ParseNormalizedNamed` rejects `input`
    /// (distribution/reference, `normalize.go` and `reference.go`).
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::reference::Reference;
    ///
    /// let image = Reference::parse("nginx:1.29")?;
    /// assert_eq!(image.to_string(), "docker.io/library/nginx:1.29");
    /// assert_eq!((image.domain(), image.tag()), ("docker.io", Some("1.29")));
    ///
    /// let error = Reference::parse("docker.io/Nginx").unwrap_err();
    /// assert_eq!((error.at, error.found), (10, Some('N')));
    /// # Ok::<(), image_swap_core::reference::ReferenceError>(())
    /// ```
    pub fn parse(input: &'a str) -> Result<Self, ReferenceError> {
        parse::reference(input)
    }

    /// Returns the registry's host, with its port if the input has one.
    ///
    /// Empty in the one case in which Go's is empty: a first component with a dot that is only
    /// valid as a path component (`a_b.c/d`).
    pub const fn domain(&self) -> &'a str {
        self.domain
    }

    /// Returns the repository's path below the domain, `library/` included.
    pub fn path(&self) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            Cow::Borrowed(self.path)
        } else {
            Cow::Owned(format!("{}{}", self.prefix, self.path))
        }
    }

    /// Returns the path in two parts: the prefix that normalisation added (`library/` or
    /// empty), and the path in the input.
    pub const fn path_parts(&self) -> (&'static str, &'a str) {
        (self.prefix, self.path)
    }

    /// Returns the tag; `None` if the input has no tag.
    pub const fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// Returns the digest, as `algorithm:hex`; `None` if the input has no digest.
    pub const fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// Returns the identifier in a request to a registry: the digest, else the tag, else
    /// `latest` (`ParseDockerRef`).
    pub fn identifier(&self) -> &'a str {
        self.digest.or(self.tag).unwrap_or("latest")
    }

    /// Returns the repository's full name without tag and digest: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        self.name_parts().concat()
    }

    /// Returns the parts whose concatenation is the name.
    const fn name_parts(&self) -> [&'a str; 4] {
        let slash = if self.domain.is_empty() { "" } else { "/" };
        [self.domain, slash, self.prefix, self.path]
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name_parts().into_iter().try_for_each(|part| f.write_str(part))?;
        if let Some(tag) = self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
