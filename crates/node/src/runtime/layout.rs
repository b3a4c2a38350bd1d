//! A directory of certificates for one host, as docker, podman and CRI-O keep it: every `.crt`
//! is an authority, and `NAME.cert` with `NAME.key` a client certificate.

use crate::{
    files::HostPath,
    observed::ObservedHost,
    plan::{Contact, builder::PlanBuilder},
};

/// The name of the declared authority.
const CA: &str = "ca.crt";
/// The name of the declared authority beside a `ca.crt` of another tool.
const OTHER_CA: &str = "image-swap-ca.crt";

/// Returns the names of the files of other tools in `directory`.
pub(crate) fn names(
    changes: &PlanBuilder<'_>,
    observed: &ObservedHost,
    directory: &HostPath,
) -> Vec<String> {
    let names = observed.files.names(directory).iter();
    names.filter(|name| changes.before(&directory.join(name)).is_some()).cloned().collect()
}

/// Returns the name for the declared authority `bytes`: another tool's `ca.crt` stays.
pub(crate) fn name_of_ca(
    changes: &PlanBuilder<'_>,
    directory: &HostPath,
    bytes: &[u8],
) -> &'static str {
    let other = changes.before(&directory.join(CA));
    if other.is_some_and(|other| other.bytes != bytes) { OTHER_CA } else { CA }
}

/// Returns the settings by which `host` is reached with the certificates in `directory`.
pub(crate) fn contact(
    changes: &PlanBuilder<'_>,
    observed: &ObservedHost,
    directory: &HostPath,
    host: &str,
) -> Contact {
    let names = names(changes, observed, directory);
    let bytes = |name: &str| changes.before(&directory.join(name)).map(|file| file.bytes);
    let authorities = names.iter().filter(|name| name.strip_suffix(".crt").is_some());
    let client = names.iter().find_map(|name| {
        let stem = name.strip_suffix(".cert")?;
        Some((bytes(name)?, bytes(&[stem, ".key"].concat())?))
    });
    let authorities = authorities.filter_map(|name| bytes(name)).collect();
    Contact { host: host.to_owned(), authorities, client, ..Contact::default() }
}

/// Returns the paths to look at in `directory`.
pub(crate) fn unread_paths(directory: &HostPath, observed: &ObservedHost) -> Vec<HostPath> {
    [directory.clone()].into_iter().chain(observed.files.paths(directory)).collect()
}
