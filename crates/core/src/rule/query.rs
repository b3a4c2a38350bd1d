//! An image reference in the forms that rules match on, and the result of applying a target.

use std::borrow::Cow;

use super::{
    source::{compared, host_length},
    target::Target,
};
use crate::reference::{DOCKER_DOMAIN, PATH_MAX, Reference};

/// An image reference in the forms that rules match on.
pub(super) struct ImageQuery<'i> {
    /// The input text.
    pub(super) image: &'i str,
    /// The normalised name without tag and digest, its host in the compared form.
    pub(super) name: Cow<'i, str>,
    /// The name with tag and digest; empty unless a rule needs it.
    pub(super) whole: String,
    /// The byte at which the first component of the name ends: its domain, or part of the path
    /// in a name without one.
    domain_end: usize,
    /// Tag and digest, with their separators.
    ending: &'i str,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

impl<'i> ImageQuery<'i> {
    pub(super) fn new(image: &'i str, reference: &Reference<'_>, with_whole: bool) -> Self {
        let domain = reference.domain();
        let (prefix, path) = reference.path_parts();
        // Path, tag and digest are borrowed from the end of the input.
        let end = |part: Option<&str>, after: usize| {
            let end = image.len() - after;
            part.map(|part| &image[end - part.len()..end])
        };
        let length = |part: Option<&str>| part.map_or(0, |part| part.len() + 1);
        let digest = end(reference.digest(), 0);
        let tag = end(reference.tag(), length(digest));
        let path_end = image.len() - length(digest) - length(tag);
        let path_start = path_end - path.len();
        let is_as_written = prefix.is_empty()
            && image[..path_start].strip_suffix('/').is_some_and(|before| before == domain);
        let (name, domain_end) = if reference.domain_has_upper {
            let compared = compared(domain);
            // `Docker.IO/nginx` stands for `docker.io/nginx`, which is below the library.
            let hub = compared == DOCKER_DOMAIN && !path.contains('/');
            let library = if hub { "library/" } else { "" };
            (Cow::Owned([&compared, "/", library, path].concat()), Some(compared.len()))
        } else if is_as_written {
            (Cow::Borrowed(&image[..path_end]), Some(domain.len()))
        } else {
            let name = reference.name();
            let end = if domain.is_empty() { name.find('/') } else { Some(domain.len()) };
            (Cow::Owned(name), end)
        };
        let ending = &image[path_end..];
        Self {
            image,
            whole: if with_whole { [&name, ending].concat() } else { String::new() },
            domain_end: domain_end.unwrap_or(name.len()),
            name,
            ending,
            tag,
            digest,
        }
    }

    /// Returns the name up to its first slash.
    pub(super) fn domain(&self) -> &str {
        &self.name[..self.domain_end]
    }

    /// Returns the name after its first slash.
    pub(super) fn path(&self) -> &str {
        self.name.get(self.domain_end + 1..).unwrap_or("")
    }

    /// Returns the path from byte `length` on below `target`, or the whole name appended to a
    /// target that ends in `-`. Tag and digest are kept. Returns `None` if the result is an
    /// invalid reference.
    pub(super) fn onto(&self, target: &Target, length: usize) -> Option<String> {
        if target.joins_name() {
            let host = &self.name[..host_length(self.domain())];
            let below = &self.name[self.domain_end..];
            let result = [target.as_str(), host, below, self.ending].concat();
            return self.is_kept_by(&result, target).then_some(result);
        }
        let rest = self.path().get(length..).unwrap_or("");
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let slash = if rest.is_empty() { "" } else { "/" };
        let result = [target.as_str(), slash, rest, self.ending].concat();
        // The end of a path is a path, and so is a path below a path.
        let is_proven = target.takes_any_path
            && !rest.is_empty()
            && target.path().len() + slash.len() + rest.len() <= PATH_MAX;
        (is_proven || self.is_kept_by(&result, target)).then_some(result)
    }

    /// Returns the last path component below `target`, with tag and digest; `None` if that is
    /// an invalid reference.
    pub(super) fn replaced(&self, target: &Target) -> Option<String> {
        let (_, last) = self.whole.rsplit_once('/').unwrap_or(("", &self.whole));
        let slash = if target.joins_name() { "" } else { "/" };
        let result = [target.as_str(), slash, last].concat();
        self.is_kept_by(&result, target).then_some(result)
    }

    /// Returns true if `result` is a reference on `target`'s host, with this tag and digest.
    fn is_kept_by(&self, result: &str, target: &Target) -> bool {
        // `h.io` with an empty path would parse as an image of Docker Hub.
        Reference::parse(result).is_ok_and(|swapped| {
            swapped.domain() == target.domain()
                && swapped.tag() == self.tag
                && swapped.digest() == self.digest
        })
    }
}
