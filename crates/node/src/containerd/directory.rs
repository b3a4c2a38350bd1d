//! The directories that hosts are looked up in.

use super::{CERTS_D, registry::Registry, sources};
use crate::{HostPath, Observed, Refusal, case, owner, plan::Changes};

/// What `config_path` comes to.
pub(super) enum Directory {
    /// These directories are in effect; files go to the first.
    InUse(HostPath, Vec<HostPath>),
    /// This directory has to be set.
    ToSet(HostPath),
}

impl Directory {
    /// Returns the directories that `registry` configures.
    pub(super) fn of(
        observed: &Observed,
        registry: &Registry,
        changes: &mut Changes<'_>,
    ) -> Result<Self, Refusal> {
        let list = registry.directories();
        let Some((value, spot)) = &registry.config_path else {
            if let Some(directory) = owner::certs_d(observed) {
                return Ok(Self::InUse(directory, Vec::new()));
            }
            let found = format!("{} does not set config_path", observed.config);
            changes.edits(&observed.config, &case::CONFIG_PATH_UNSET, &found);
            return Ok(Self::ToSet(HostPath::new(CERTS_D)));
        };
        match (&list[..], registry.pulls_locally) {
            ([], _) => Ok(Self::ToSet(HostPath::new(CERTS_D))),
            ([one], _) => {
                changes.met(
                    &case::CONFIG_PATH_SET,
                    &format!("{} sets config_path to {one}", spot.path),
                );
                Ok(Self::InUse(one.clone(), Vec::new()))
            }
            ([first, others @ ..], Some(why)) => {
                let found = format!("{} sets config_path to {value} ({why})", spot.path);
                changes.met(&case::COLON_LIST_LOCAL, &found);
                Ok(Self::InUse(first.clone(), others.to_vec()))
            }
            ([first, others @ ..], None) => {
                if let Some((other, host)) = in_use(observed, others) {
                    let found = format!(
                        "{}: expected one directory as config_path, found {value}, and {host} below {other}",
                        spot.path
                    );
                    return Err(Refusal::new(&case::COLON_LIST_IN_USE, found));
                }
                let found = format!("{} sets config_path to {value}", spot.path);
                changes.edits(&observed.config, &case::COLON_LIST, &found);
                Ok(Self::ToSet(first.clone()))
            }
        }
    }

    /// Returns the directory that files go to, and then the others that are searched.
    pub(super) fn all(&self) -> Vec<HostPath> {
        match self {
            Self::InUse(first, others) => [first].into_iter().chain(others).cloned().collect(),
            Self::ToSet(first) => vec![first.clone()],
        }
    }
}

/// Returns the first of `directories` that holds a host, and that host.
pub(super) fn in_use<'d>(
    observed: &'d Observed,
    directories: &'d [HostPath],
) -> Option<(&'d HostPath, &'d str)> {
    directories
        .iter()
        .find_map(|directory| Some((directory, observed.files.names(directory).first()?.as_str())))
}

/// True if containerd reads the files below `below` already.
pub(super) fn is_read(observed: &Observed, below: &HostPath) -> bool {
    let Ok(sources) = sources::read(observed) else { return false };
    let registry = Registry::new(&sources, &observed.config, observed.version);
    if registry.config_path.is_none() {
        return owner::certs_d(observed).is_some_and(|directory| directory == *below);
    }
    let directories = registry.directories();
    let is_found = directories.len() == 1 || registry.pulls_locally.is_some();
    directories.first() == Some(below) && is_found && registry.mirrors.is_empty()
}
