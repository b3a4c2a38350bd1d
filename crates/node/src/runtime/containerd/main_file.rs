//! config.toml itself, before and after an edit.

use image_swap_core::declaration;
use image_swap_text::toml::{EditError, Leaves, NotToml, Toml, string};

use crate::{
    condition::{self, PlanRefusal},
    files::{HostFile, HostPath},
    observed::ObservedHost,
    owner,
    plan::builder::PlanBuilder,
    runtime::{
        containerd::{
            imports::{CRI, ConfigFile, IMAGES},
            migrate::Migrated,
            registry::EffectiveRegistry,
        },
        kind::Version,
    },
};

/// config.toml while it is edited.
pub(super) struct MainFile<'a> {
    observed: &'a ObservedHost,
    /// Content without edits of image-swap; `None` for an absent file.
    base: Option<HostFile>,
    /// The text with the edits.
    pub(super) text: String,
    /// The value of `version` in the file.
    pub(super) version: i64,
}

impl<'a> MainFile<'a> {
    /// Returns the file without edits of image-swap. Creates an absent file, and adds an absent
    /// version.
    ///
    /// # Errors
    /// The file is of version 1, and would have another meaning in version 2.
    pub(super) fn new(
        observed: &'a ObservedHost,
        version: Version,
        base: Option<HostFile>,
        sources: &[ConfigFile<'_>],
        changes: &mut PlanBuilder<'_>,
    ) -> Result<Self, PlanRefusal> {
        owner::check_main_file(observed)?;
        let bytes = base.as_ref().map(|file| file.bytes.clone()).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let mut this = Self { observed, base, text, version: 2 };
        let Some(main) = sources.first().filter(|source| source.path == observed.config) else {
            let found = format!("there is no {}", observed.config);
            changes.note_case_for_edit(&observed.config, &condition::NO_CONFIG, &found);
            this.version = if version.major < 2 { 2 } else { 3 };
            this.text = format!("version = {}\n", this.version);
            return Ok(this);
        };
        if let Some(found @ 2..) = main.version {
            this.version = found;
            return Ok(this);
        }
        this.same_in_two(main, sources)?;
        let found = format!("{} has no version", observed.config);
        changes.note_case_for_edit(&observed.config, &condition::VERSION_ONE, &found);
        this.edit(|toml| toml.set(&["version"], "2", &[]))?;
        Ok(this)
    }

    /// Returns the name of the plugin whose table contains the registries.
    pub(super) const fn plugin(&self) -> &'static str {
        if self.version == 2 { CRI } else { IMAGES }
    }

    /// Makes one edit.
    pub(super) fn edit(
        &mut self,
        edit: impl FnOnce(&Toml<'_>) -> Result<String, EditError>,
    ) -> Result<(), PlanRefusal> {
        let toml = Toml::parse(&self.text).map_err(|error| self.broken(error))?;
        self.text = edit(&toml).map_err(|error| self.cannot(&error.to_string()))?;
        Ok(())
    }

    /// Returns every value of the edited text, by its path.
    pub(super) fn leaves(&self) -> Result<Leaves, PlanRefusal> {
        let toml = Toml::parse(&self.text).map_err(|error| self.broken(error))?;
        Ok(toml.leaves())
    }

    /// Returns the refusal of an edit.
    pub(super) fn cannot(&self, found: &str) -> PlanRefusal {
        condition::CANNOT_EDIT.refusal(format!("{}: {found}", self.observed.config))
    }

    fn broken(&self, error: NotToml) -> PlanRefusal {
        condition::UNREADABLE.refusal(format!("{}: {error}", self.observed.config))
    }

    /// Returns the file to write, and the file without edits. Keeps the present file if it has the
    /// same values.
    pub(super) fn file(self, secret: bool) -> Result<(HostFile, Option<HostFile>), PlanRefusal> {
        let leaves = self.leaves()?;
        let now = self.observed.files.file(&self.observed.config);
        let mode = match self.base.as_ref().or(now) {
            _ if secret => 0o600,
            Some(file) => file.mode,
            None => 0o644,
        };
        let text = now.and_then(|file| std::str::from_utf8(&file.bytes).ok());
        let present = text.and_then(|text| Toml::parse(text).ok()).map(|toml| toml.leaves());
        let bytes = match now {
            Some(now) if present == Some(leaves) => now.bytes.clone(),
            _ => self.text.into_bytes(),
        };
        Ok((HostFile { bytes, mode, owner: None }, self.base))
    }

    /// Refuses to add a version to a file that would then mean something else.
    fn same_in_two(
        &self,
        main: &ConfigFile<'_>,
        sources: &[ConfigFile<'_>],
    ) -> Result<(), PlanRefusal> {
        const SAME: &str =
            "root state temp address grpc ttrpc debug metrics oom_score cgroup imports";
        let is_same = |key: &str| SAME.split(' ').any(|same| same == key);
        let other = main.toml.keys(&[]).into_iter().find(|key| !is_same(key));
        if other.is_none() && sources.len() == 1 {
            return Ok(());
        }
        let key = other.unwrap_or("imports");
        let version = main.version.map_or_else(|| "none".to_owned(), |found| found.to_string());
        let config = &self.observed.config;
        let found = format!("{config}: expected `version = 2` or later, found {version} and {key}");
        Err(condition::VERSION_ONE_PLUGINS.refusal(found))
    }
}

/// The settings of an edit of config.toml.
pub(super) struct ConfigPathEdit<'a> {
    /// The directory of the registries.
    pub(super) below: &'a HostPath,
    /// Settings that move to other files.
    pub(super) migrated: &'a Migrated,
    /// The registry whose credentials the file contains; `None` without credentials.
    pub(super) credentials: Option<&'a declaration::Registry>,
    /// The hosts that receive the credentials.
    pub(super) hosts: &'a [String],
}

impl ConfigPathEdit<'_> {
    /// Edits the main file, and returns it with its content without edits. `base` is that content
    /// before.
    pub(super) fn of(
        &self,
        observed: &ObservedHost,
        base: Option<HostFile>,
        sources: &[ConfigFile<'_>],
        changes: &mut PlanBuilder<'_>,
    ) -> Result<(HostFile, Option<HostFile>), PlanRefusal> {
        let Self { below, migrated, credentials, hosts } = self;
        owner::check_main_file(observed)?;
        let Some(version) = observed.version else {
            let config = &observed.config;
            let found = format!(
                "cannot edit {config}: the version of containerd is unknown, since it does not run"
            );
            return Err(condition::RUNTIME_UNKNOWN.refusal(found));
        };
        let registry = EffectiveRegistry::new(sources, observed);
        // The last import wins; containerd 1 replaces the whole plugin table instead of merging.
        let whole = registry.drop_in.iter().filter(|_| version.major < 2);
        let set = registry.config_path.iter().map(|(_, spot)| &spot.path);
        let moved = migrated.spots.iter().map(|spot| &spot.path);
        if let Some(path) = whole.chain(set).chain(moved).find(|path| **path != observed.config) {
            return Err(drop_in_refusal(observed, path));
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
            return Err(main.cannot("config_path does not have the new value after the edit"));
        }
        main.file(credentials.is_some())
    }
}

/// Returns the refusal for `path`, which overrides an edit of the main file.
pub(super) fn drop_in_refusal(observed: &ObservedHost, path: &HostPath) -> PlanRefusal {
    let config = &observed.config;
    let found = if observed.version.is_some_and(|version| version.major < 2) {
        format!(
            "{path}: containerd before 2.0 reads the whole table of the CRI plugin from this file, \
             so an edit of {config} would have no effect"
        )
    } else {
        format!("{path} configures the registries, so an edit of {config} would have no effect")
    };
    condition::DROP_IN_HOLDS.refusal(found)
}
