//! A reference in the forms in which rules ask for it, and what targets make of it.

use std::borrow::Cow;

use super::{
    source::{compared, host_length},
    target::Target,
};
use crate::reference::{DOCKER_DOMAIN, PATH_MAX, Reference};

/// A reference in the forms in which rules ask for it.
pub(super) struct ImageQuery<'i> {
    /// As written.
    pub(super) image: &'i str,
    /// Normalised, the host in the form in which rules compare it, without tag and digest.
    pub(super) name: Cow<'i, str>,
    /// The name with tag and digest; empty where no rule asks for it.
    pub(super) whole: String,
    /// Where in the name its first component ends: its domain, but for the names
    /// that have none.
    domain_end: usize,
    /// Tag and digest, with the marks before them.
    ending: &'i str,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

impl<'i> ImageQuery<'i> {
    pub(super) fn new(image: &'i str, reference: &Reference<'_>, with_whole: bool) -> Self {
        let domain = reference.domain();
        let (prefix, path) = reference.path_parts();
        // Path, tag and digest end the input: they are borrowed from there.
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
            // `Docker.IO/nginx` is meant as `docker.io/nginx`, which is below the library.
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

    /// What stands before the first slash of the name.
    pub(super) fn domain(&self) -> &str {
        &self.name[..self.domain_end]
    }

    /// What stands behind it.
    pub(super) fn path(&self) -> &str {
        self.name.get(self.domain_end + 1..).unwrap_or("")
    }

    /// What follows the first `length` bytes of the path below `target`, or the whole
    /// name joined to it; tag and digest survive. `None` if that is no reference.
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

    /// The last component below `target`, with the tag and digest that follow it.
    pub(super) fn replaced(&self, target: &Target) -> Option<String> {
        let (_, last) = self.whole.rsplit_once('/').unwrap_or(("", &self.whole));
        let slash = if target.joins_name() { "" } else { "/" };
        let result = [target.as_str(), slash, last].concat();
        self.is_kept_by(&result, target).then_some(result)
    }

    /// Whether `result` is a reference on `target`'s host, with this tag and digest.
    fn is_kept_by(&self, result: &str, target: &Target) -> bool {
        // `h.io` with nothing below it would parse, as an image of Docker Hub.
        Reference::parse(result).is_ok_and(|swapped| {
            swapped.domain() == target.domain()
                && swapped.tag() == self.tag
                && swapped.digest() == self.digest
        })
    }
}
