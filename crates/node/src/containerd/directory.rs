//! The one directory that hosts are looked up in.

use super::{CERTS_D, registry::Registry, sources};
use crate::{HostPath, Observed, Refusal, case, plan::Changes};

/// What `config_path` comes to.
pub(super) enum Directory {
    /// It is in effect as it is.
    InUse(HostPath),
    /// It has to be set.
    ToSet(HostPath),
}

impl Directory {
    /// What `registry` says of it.
    pub(super) fn of(
        observed: &Observed,
        registry: &Registry,
        changes: &mut Changes<'_>,
    ) -> Result<Self, Refusal> {
        let Some((value, spot)) = &registry.config_path else {
            let found = format!("{} does not set config_path", observed.config);
            changes.edits(&observed.config, &case::CONFIG_PATH_UNSET, &found);
            return Ok(Self::ToSet(HostPath::new(CERTS_D)));
        };
        let list: Vec<HostPath> =
            value.split(':').filter(|path| !path.is_empty()).map(HostPath::new).collect();
        match &list[..] {
            [] => Ok(Self::ToSet(HostPath::new(CERTS_D))),
            [one] => {
                changes.met(
                    &case::CONFIG_PATH_SET,
                    &format!("{} sets config_path to {one}", spot.path),
                );
                Ok(Self::InUse(one.clone()))
            }
            [first, others @ ..] => {
                for other in others {
                    if let Some(host) = observed.files.names(other).first() {
                        let found = format!(
                            "{}: expected one directory as config_path, found {value}, and {host} below {other}",
                            spot.path
                        );
                        return Err(Refusal::new(&case::COLON_LIST_IN_USE, found));
                    }
                }
                let found = format!("{} sets config_path to {value}", spot.path);
                changes.edits(&observed.config, &case::COLON_LIST, &found);
                Ok(Self::ToSet(first.clone()))
            }
        }
    }
}

/// Whether containerd reads what is below `below` already.
pub(super) fn is_read(observed: &Observed, below: &HostPath) -> bool {
    let Ok(sources) = sources::read(observed) else { return false };
    let registry = Registry::new(&sources, &observed.config, observed.version);
    registry.config_path.is_some_and(|(value, _)| HostPath::new(&value) == *below)
        && registry.mirrors.is_empty()
}
