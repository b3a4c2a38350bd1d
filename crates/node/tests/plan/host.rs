//! A host in memory.

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
};
use image_swap_node::{
    ConfigForm, ContainerRuntime, DesiredConfig, HostEntry, HostFile, HostFiles, HostPath,
    HostPlan, ObservedHost, PlanOutcome, PlanRefusal, PlannedStep, RestartPolicy, Version, plan,
    restore,
};
use image_swap_testkit::registry_info;

/// The config.toml that images for Cluster API come with.
pub(crate) const IMAGE_BUILDER: &str = "\
## template: jinja

# Use config version 2 to enable new configuration fields.
# Config file is parsed as version 1 by default.
version = 2

imports = [\"/etc/containerd/conf.d/*.toml\"]

[plugins]
  [plugins.\"io.containerd.grpc.v1.cri\"]
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
    runtime_type = \"io.containerd.runc.v2\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
    SystemdCgroup = true
";

/// The main configuration file of containerd.
pub(crate) const CONFIG: &str = "/etc/containerd/config.toml";

/// A whole host, all of whose files are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Host {
    pub(crate) runtime: ContainerRuntime,
    pub(crate) version: Option<Version>,
    pub(crate) bearer_only: bool,
    /// True for the image of a host.
    pub(crate) at_rest: bool,
    /// The main file that the service names; `None` for the default.
    pub(crate) config: Option<&'static str>,
    pub(crate) disk: HostFiles,
}

impl Host {
    /// Creates a host with containerd and the files of an image.
    pub(crate) fn containerd(version: &str) -> Self {
        Self::of(ContainerRuntime::Containerd, version)
    }

    /// Creates a host with only a runtime.
    pub(crate) fn of(runtime: ContainerRuntime, version: &str) -> Self {
        let mut disk = HostFiles::default();
        disk.insert("/", HostEntry::Directory(Vec::new()));
        let version = Version::parse(version);
        Self { runtime, version, bearer_only: false, at_rest: false, config: None, disk }
            .with("/etc/os-release", "ID=debian\n")
            .with("/var/lib/x", "")
    }

    /// Adds a file with `text`.
    #[must_use]
    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.write(path, HostFile::public(text));
        self
    }

    /// Adds the entry `entry` at `path`.
    #[must_use]
    pub(crate) fn with_entry(mut self, path: &str, entry: HostEntry) -> Self {
        self.write(path, HostFile::public(""));
        self.disk.insert(path, entry);
        self
    }

    pub(crate) fn write(&mut self, path: &str, file: HostFile) {
        let path = HostPath::new(path);
        let mut above: Vec<HostPath> =
            std::iter::successors(path.parent(), HostPath::parent).collect();
        above.reverse();
        for path in above {
            self.disk.apply(&PlannedStep::MakeDirectory { path, mode: 0o755 });
        }
        self.disk.apply(&PlannedStep::Write { path, file });
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.disk.text(&path.into())
    }

    /// Observes every path that a plan requires, as the shell does.
    pub(crate) fn observe(&self, desired: Option<&DesiredConfig<'_>>) -> ObservedHost {
        let mut observed = ObservedHost::new(self.runtime, self.version);
        observed.bearer_only = self.bearer_only;
        observed.at_rest = self.at_rest;
        if let Some(config) = self.config {
            observed.arguments = vec!["--config".to_owned(), config.to_owned()];
        }
        observed.look(desired, |path| self.disk.get(path).cloned().unwrap_or(HostEntry::Absent));
        observed
    }

    pub(crate) fn plan(&self, desired: &DesiredConfig<'_>) -> Result<HostPlan, PlanRefusal> {
        plan(desired, &self.observe(Some(desired)))
    }

    /// Plans for `desired`, applies the plan in memory and returns it.
    #[track_caller]
    pub(crate) fn apply(&mut self, desired: &DesiredConfig<'_>) -> HostPlan {
        let plan = self.plan(desired).unwrap();
        self.apply_steps(&plan);
        plan
    }

    #[track_caller]
    pub(crate) fn restore(&mut self) -> HostPlan {
        let plan = restore(&self.observe(None), RestartPolicy::Allow).unwrap();
        self.apply_steps(&plan);
        plan
    }

    #[track_caller]
    fn apply_steps(&mut self, plan: &HostPlan) {
        assert_ne!(plan.outcome(), PlanOutcome::NeedsRestart);
        for step in &plan.steps {
            self.disk.apply(step);
        }
    }

    /// Returns all files and directories that exist.
    pub(crate) fn existing(&self) -> Vec<(&HostPath, &HostEntry)> {
        self.disk.iter().filter(|(_, entry)| **entry != HostEntry::Absent).collect()
    }
}

/// Returns Palette's Secret with credentials and `rules`.
pub(crate) fn declared(rules: &str) -> Declaration {
    declare(rules, "")
}

/// Returns Palette's Secret with credentials, `rules` and the lines `more`.
pub(crate) fn declare(rules: &str, more: &str) -> Declaration {
    let mut text = registry_info(&[
        ("DOMAIN", "h.io"),
        ("BASE_PATH", "d"),
        ("USERNAME", "robot"),
        ("PASSWORD", "pass\"word"),
        ("MIRROR_REGISTRIES", rules),
    ]);
    let more = if more.is_empty() { "INSECURE: \"false\"" } else { more };
    text += &["  ", more, "\n"].concat();
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap()
}

/// Returns the desired configuration of the command's defaults, with a restart allowed.
pub(crate) fn desired(declaration: &Declaration) -> DesiredConfig<'_> {
    DesiredConfig {
        declaration,
        form: ConfigForm::CertsD,
        fallback: Fallback::Upstream,
        restart: RestartPolicy::Allow,
        header_over_http: false,
    }
}
