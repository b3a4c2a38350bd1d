//! What containerd makes of its files: the registry settings in effect.
//!
//! Up to 1.7 the table of a plugin is taken whole from the last file that has
//! one; from 2.0 on tables are merged key by key.

use super::sources::Source;
use crate::{HostPath, Version};

/// The CRI plugin up to configuration version 2.
pub(super) const CRI: &str = "io.containerd.grpc.v1.cri";
/// Its half that pulls, from configuration version 3 on.
pub(super) const IMAGES: &str = "io.containerd.cri.v1.images";

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which file.
    pub(super) path: HostPath,
    /// Below which plugin.
    pub(super) plugin: &'static str,
}

/// The registry settings in effect.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// `config_path`, if it is set to anything.
    pub(super) config_path: Option<(String, Spot)>,
    /// The hosts of the mirrors table.
    pub(super) mirrors: Vec<(String, Spot)>,
    /// The hosts with a `tls` table.
    pub(super) tls: Vec<(String, Spot)>,
    /// The hosts with credentials.
    pub(super) auth: Vec<(String, Spot)>,
    /// The file beside the main one that has the plugin's table, if one has.
    pub(super) drop_in: Option<HostPath>,
}

impl Registry {
    /// What `version` makes of `sources`, the first of which is the main file.
    pub(super) fn new(sources: &[Source<'_>], main: &HostPath, version: Option<Version>) -> Self {
        let merges = version.is_none_or(|version| version.major >= 2);
        let mut registry = Self::default();
        for source in sources {
            for plugin in [CRI, IMAGES].into_iter().filter(|plugin| reads(source, plugin, version))
            {
                if source.toml.get(&["plugins", plugin]).is_none() {
                    continue;
                }
                let drop_in = (source.path != *main).then(|| source.path.clone());
                if !merges {
                    registry = Self::default();
                }
                registry.drop_in = drop_in.or(registry.drop_in);
                registry.add(source, plugin);
            }
        }
        registry
    }

    fn add(&mut self, source: &Source<'_>, plugin: &'static str) {
        let spot = || Spot { path: source.path.clone(), plugin };
        let table = |key| ["plugins", plugin, "registry", key];
        if let Some(path) = source.toml.str(&table("config_path")) {
            self.config_path = (!path.is_empty()).then(|| (path.to_owned(), spot()));
        }
        for host in source.toml.keys(&table("mirrors")) {
            self.mirrors.push((host.to_owned(), spot()));
        }
        for host in source.toml.keys(&table("configs")) {
            let keys = source.toml.keys(&["plugins", plugin, "registry", "configs", host]);
            if keys.contains(&"tls") {
                self.tls.push((host.to_owned(), spot()));
            }
            if keys.contains(&"auth") {
                self.auth.push((host.to_owned(), spot()));
            }
        }
    }
}

/// Whether `version` reads the table of `plugin` in `source`.
fn reads(source: &Source<'_>, plugin: &str, version: Option<Version>) -> bool {
    let of_two = version.is_none_or(|version| version.major >= 2);
    match source.version {
        // containerd 2 takes both names in an older file.
        None | Some(1 | 2) => plugin == CRI || of_two,
        // containerd 2.3 migrates every file older than version 4; 2.0 to 2.2 ignore the
        // old name in a file of version 3.
        Some(3) => {
            plugin == IMAGES || version.is_none_or(|version| version >= Version::new(2, 3, 0))
        }
        Some(_) => plugin == IMAGES,
    }
}
