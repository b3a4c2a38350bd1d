//! Image references: parsed, normalised and printed exactly as Go's
//! `distribution/reference` does with `ParseNormalizedNamed`, the function that
//! every container runtime and the kubelet go through.
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
//! Normalisation (`normalize.go`): what stands before the first `/` is a domain
//! if it is `localhost`, contains `.` or `:`, or has an uppercase letter;
//! otherwise the domain is `docker.io`. `index.docker.io` is `docker.io`. On
//! `docker.io` a name of one component is below `library/`.
//!
//! Deliberately not done here: `latest` is never invented, and a tag beside a
//! digest is kept (`ParseDockerRef` does both; see [`Reference::identifier`]).

mod class;
mod error;
mod parse;

use std::{borrow::Cow, fmt};

pub use self::error::{ExpectedPart, ReferenceError};
pub(crate) use self::parse::PATH_MAX;
pub use self::parse::{is_domain, is_image_id, is_path, names_registry};

/// The domain that Docker Hub's references carry.
pub const DOCKER_DOMAIN: &str = "docker.io";
/// The old name of [`DOCKER_DOMAIN`].
pub const LEGACY_DOCKER_DOMAIN: &str = "index.docker.io";
/// Where Docker Hub keeps names of one component.
const LIBRARY: &str = "library/";

/// A valid image reference, borrowed from the text it was parsed from.
///
/// Printing it gives the normalised form, as Go's `Named.String()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference<'a> {
    domain: &'a str,
    /// True if the domain has an uppercase letter.
    pub(crate) domain_has_upper: bool,
    /// `library/`, or nothing: the part of the path that the input left out.
    prefix: &'static str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Parses and normalises `input`, without allocating.
    ///
    /// # Errors
    /// Whatever `ParseNormalizedNamed` rejects (distribution/reference,
    /// `normalize.go` and `reference.go`), with the byte at which it went wrong.
    pub fn parse(input: &'a str) -> Result<Self, ReferenceError> {
        parse::reference(input)
    }

    /// The registry's host, with its port if the input had one.
    ///
    /// Empty in the one case where Go's is: a first component with a dot that
    /// is no valid domain but a valid path component (`a_b.c/d`).
    pub const fn domain(&self) -> &'a str {
        self.domain
    }

    /// The repository's path below the domain, `library/` included.
    pub fn path(&self) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            Cow::Borrowed(self.path)
        } else {
            Cow::Owned(format!("{}{}", self.prefix, self.path))
        }
    }

    /// The path in its two parts: what normalisation added (`library/` or
    /// nothing) and what the input said.
    pub const fn path_parts(&self) -> (&'static str, &'a str) {
        (self.prefix, self.path)
    }

    /// The tag; none is invented.
    pub const fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// The digest, as `algorithm:hex`.
    pub const fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`
    /// (`ParseDockerRef`).
    pub fn identifier(&self) -> &'a str {
        self.digest.or(self.tag).unwrap_or("latest")
    }

    /// Returns the repository's full name without tag and digest: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        self.name_parts().concat()
    }

    /// Returns the parts that make up the name when put behind one another.
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
