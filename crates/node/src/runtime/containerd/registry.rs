//! The registry settings that containerd computes from its files.
//!
//! Up to 1.7 the table of a plugin is taken whole from the last file that has
//! one; from 2.0 on tables are merged key by key.

use crate::{
    condition::{self, PlanRefusal},
    files::HostPath,
    observed::ObservedHost,
    owner::{self, K0S, MICROK8S_DATA},
    plan::builder::PlanBuilder,
    runtime::{
        containerd::imports::{self, CRI, ConfigFile, IMAGES},
        kind::Version,
    },
};

/// The directory of files of hosts unless config.toml names another.
pub(super) const CERTS_D: &str = "/etc/containerd/certs.d";

/// The location of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// The file that contains the setting.
    pub(super) path: HostPath,
    /// The plugin whose table contains the setting.
    pub(super) plugin: &'static str,
}

/// The registry settings in effect.
#[derive(Debug, Default)]
pub(super) struct EffectiveRegistry {
    /// `config_path`, if it is set to anything.
    pub(super) config_path: Option<(String, Location)>,
    /// The hosts of the mirrors table.
    pub(super) mirrors: Vec<(String, Location)>,
    /// The hosts with a `tls` table.
    pub(super) tls: Vec<(String, Location)>,
    /// The hosts with credentials.
    pub(super) auth: Vec<(String, Location)>,
    /// The import that contains the plugin's table; `None` if no import does.
    pub(super) drop_in: Option<HostPath>,
    /// A setting that makes containerd pull without its transfer service; `None` without one.
    pub(super) pulls_locally: Option<&'static str>,
}

impl EffectiveRegistry {
    /// Computes the settings that the containerd of `observed` reads from `sources`. The main
    /// file is the first.
    pub(super) fn new(sources: &[ConfigFile<'_>], observed: &ObservedHost) -> Self {
        let ObservedHost { version, config: ref main, .. } = *observed;
        // k0s merges the files of its directory itself.
        let merges = version.is_none_or(|version| version.major >= 2) || main.as_str() == K0S;
        let mut registry = Self::default();
        for source in sources {
            let is_main = source.path == *main;
            let plugins = [CRI, IMAGES].into_iter();
            for plugin in plugins.filter(|plugin| reads(source, is_main, plugin, version)) {
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
        // The transfer service came with containerd 2.1.
        if version.is_some_and(|version| version < Version::new(2, 1, 0)) {
            registry.pulls_locally = Some("its version");
        }
        registry
    }

    /// Returns the directories of `config_path`, in the order in which they are searched.
    pub(super) fn directories(&self) -> Vec<HostPath> {
        let list = self.config_path.iter().flat_map(|(list, _)| list.split(':'));
        list.filter(|path| !path.is_empty()).map(HostPath::new).collect()
    }

    fn add(&mut self, source: &ConfigFile<'_>, plugin: &'static str) {
        let spot = || Location { path: source.path.clone(), plugin };
        let table = |key| ["plugins", plugin, "registry", key];
        if let Some(path) = source.toml.str(&table("config_path")) {
            let path = path.replace("${SNAP_DATA}", MICROK8S_DATA);
            self.config_path = (!path.is_empty()).then(|| (path, spot()));
        }
        self.pulls_locally = pulls_locally(source, plugin).or(self.pulls_locally);
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

/// Returns a setting that makes containerd pull without its transfer service. Only then does
/// it split a list in `config_path`; the transfer service reads the list as one name.
///
/// Source: containerd 2.1, `internal/cri/config`, `CheckLocalImagePullConfigs`.
fn pulls_locally(source: &ConfigFile<'_>, plugin: &str) -> Option<&'static str> {
    let get = |keys: &[&str]| source.toml.get(&[&["plugins", plugin], keys].concat());
    let is = |key: &'static str, expected: bool| {
        let flag = get(&[key]).or_else(|| get(&["containerd", key]))?.as_bool()?;
        (flag == expected).then_some(key)
    };
    let downloads = || {
        let found = get(&["max_concurrent_downloads"])?.as_integer()?;
        (found != 3).then_some("max_concurrent_downloads")
    };
    is("use_local_image_pull", true)
        .or_else(|| is("discard_unpacked_layers", true))
        .or_else(|| is("disable_snapshot_annotations", false))
        .or_else(|| is("image_pull_with_sync_fs", true))
        .or_else(downloads)
}

/// Returns true if `version` reads the table of `plugin` in `source`. Its imports take the
/// version of the main file unless they have one.
fn reads(source: &ConfigFile<'_>, is_main: bool, plugin: &str, version: Option<Version>) -> bool {
    let of_two = version.is_none_or(|version| version.major >= 2);
    let migrates = version.is_none_or(|version| version >= Version::new(2, 3, 0));
    match source.version {
        // A main file of version 1 has other names of plugins, up to containerd 2.2.
        None | Some(1) if is_main => migrates,
        // containerd 2 takes both names in an older file.
        None | Some(1 | 2) => plugin == CRI || of_two,
        // containerd 2.3 migrates every file older than version 4; 2.0 to 2.2 ignore the
        // old name in a file of version 3.
        Some(3) => plugin == IMAGES || migrates,
        Some(_) => plugin == IMAGES,
    }
}

/// Returns the directory that files go to, then the others that are searched, and true if
/// `registry` configures them already.
pub(super) fn hosts_directories(
    observed: &ObservedHost,
    registry: &EffectiveRegistry,
    changes: &mut PlanBuilder<'_>,
) -> Result<(Vec<HostPath>, bool), PlanRefusal> {
    let mut list = registry.directories();
    let Some((value, spot)) = &registry.config_path else {
        if let Some(directory) = owner::certs_d(observed) {
            return Ok((vec![directory], true));
        }
        let found = format!("{} does not set config_path", observed.config);
        changes.note_case_for_edit(&observed.config, &condition::CONFIG_PATH_UNSET, &found);
        return Ok((vec![HostPath::new(CERTS_D)], false));
    };
    let path = &spot.path;
    match (&list[..], registry.pulls_locally) {
        ([], _) => return Ok((vec![HostPath::new(CERTS_D)], false)),
        ([one], _) => {
            let found = format!("{path} sets config_path to {one}");
            changes.note_case(&condition::CONFIG_PATH_SET, &found);
        }
        (_, Some(reason)) => {
            let found = format!("{path} sets config_path to {value} ({reason})");
            changes.note_case(&condition::COLON_LIST_LOCAL, &found);
        }
        ([_, others @ ..], None) => {
            if let Some((other, host)) = in_use(observed, others) {
                let found = format!(
                    "{path}: expected one directory as config_path, found {value}, and {host} below {other}"
                );
                return Err(condition::COLON_LIST_IN_USE.refusal(found));
            }
            let found = format!("{path} sets config_path to {value}");
            changes.note_case_for_edit(&observed.config, &condition::COLON_LIST, &found);
            list.truncate(1);
            return Ok((list, false));
        }
    }
    Ok((list, true))
}

/// Returns the first of `directories` that holds a host, and that host.
pub(super) fn in_use<'d>(
    observed: &'d ObservedHost,
    directories: &'d [HostPath],
) -> Option<(&'d HostPath, &'d str)> {
    directories
        .iter()
        .find_map(|directory| Some((directory, observed.files.names(directory).first()?.as_str())))
}

/// Returns true if containerd reads the files below `below` already.
pub(super) fn is_read(observed: &ObservedHost, below: &HostPath) -> bool {
    let Ok(sources) = imports::read(observed) else { return false };
    let registry = EffectiveRegistry::new(&sources, observed);
    if registry.config_path.is_none() {
        return owner::certs_d(observed).is_some_and(|directory| directory == *below);
    }
    let directories = registry.directories();
    let is_found = directories.len() == 1 || registry.pulls_locally.is_some();
    directories.first() == Some(below) && is_found && registry.mirrors.is_empty()
}
