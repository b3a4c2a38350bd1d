//! The one edit of config.toml: `config_path`, and nothing that may not stand beside it.

use image_swap_core::declaration;
use image_swap_text::toml::string;

use super::{main_file::MainFile, migrate::Migrated, registry::Registry, sources::Source};
use crate::{File, HostPath, Observed, Refusal, case, owner, plan::Changes};

/// What config.toml is to say.
pub(super) struct Edit<'a> {
    /// The directory of the registries.
    pub(super) below: &'a HostPath,
    /// What leaves.
    pub(super) migrated: &'a Migrated,
    /// Whose credentials stand there, if they do.
    pub(super) credentials: Option<&'a declaration::Registry>,
    /// The hosts that those are for.
    pub(super) hosts: &'a [String],
}

impl Edit<'_> {
    /// The edited file, and what it would be without us; `base` is that too.
    pub(super) fn of(
        &self,
        observed: &Observed,
        base: Option<File>,
        sources: &[Source<'_>],
        changes: &mut Changes<'_>,
    ) -> Result<(File, Option<File>), Refusal> {
        let Self { below, migrated, credentials, hosts } = self;
        owner::check_main_file(observed)?;
        let Some(version) = observed.version else {
            let found = format!(
                "{}: cannot edit it without the version of containerd, which does not run",
                observed.config
            );
            return Err(Refusal::new(&case::RUNTIME_UNKNOWN, found));
        };
        let registry = Registry::new(sources, &observed.config, observed.version);
        // What a later file says is said last; containerd 1 takes it whole.
        let whole = registry.drop_in.iter().filter(|_| version.major < 2);
        let set = registry.config_path.iter().map(|(_, spot)| &spot.path);
        let moved = migrated.spots.iter().map(|spot| &spot.path);
        if let Some(path) = whole.chain(set).chain(moved).find(|path| **path != observed.config) {
            return Err(holds(observed, path));
        }
        let mut main = MainFile::new(observed, version, base, sources, changes)?;
        for path in &migrated.paths {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            main.edit(|toml| toml.without(&path))?;
        }
        let plugin = registry.config_path.as_ref().map_or(main.plugin(), |(_, spot)| spot.plugin);
        let comment = format!(
            "# image-swap keeps one directory per registry below {below}; they are read at every pull."
        );
        let path = ["plugins", plugin, "registry", "config_path"];
        let value = string(below.as_str());
        main.edit(|toml| {
            if toml.str(&path) == Some(below.as_str()) {
                return Ok(toml.text().to_owned());
            }
            toml.set(&path, &value, &[&comment])
        })?;
        for host in *hosts {
            let Some(registry) = credentials else { break };
            let table =
                |key| ["plugins", plugin, "registry", "configs", host.as_str(), "auth", key];
            let (username, password) = (registry.username.expose(), registry.password.expose());
            main.edit(|toml| toml.set(&table("password"), &string(password), &[]))?;
            main.edit(|toml| toml.set(&table("username"), &string(username), &[]))?;
        }
        // Read back before it counts.
        if main.leaves()?.get(&path.map(str::to_owned)[..]) != Some(&value) {
            return Err(main.cannot("expected config_path to be set, found that it is not"));
        }
        main.file(credentials.is_some())
    }
}

/// `path` decides what an edit of the main file would be for.
pub(super) fn holds(observed: &Observed, path: &HostPath) -> Refusal {
    let config = &observed.config;
    let found = if observed.version.is_some_and(|version| version.major < 2) {
        format!(
            "{path}: containerd before 2.0 takes the whole table of the CRI plugin from this file, \
             so an edit of {config} would have no effect"
        )
    } else {
        format!("{path}: expected {config} alone to set up the registries, found them here")
    };
    Refusal::new(&case::DROP_IN_HOLDS, found)
}
