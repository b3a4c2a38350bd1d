//! A host in a temporary directory.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
};
use image_swap_node::{
    ApplyFailure, ApplyOutcome, ConfigForm, ContainerRuntime, DesiredConfig, Host, HostObservation,
    HostPlan, HostSession, RegistryProbe, RestartPolicy, Root, Version, observe_mounted, plan,
};
use image_swap_testkit::{config_with_path, registry_info};
use tempfile::TempDir;

/// The main file of containerd.
pub(crate) const CONFIG: &str = "/etc/containerd/config.toml";
/// The mirrors of Docker Hub.
pub(crate) const HUB: &str = "/etc/containerd/certs.d/docker.io/hosts.toml";

/// A host whose directories are mounted, as in the pod of an agent.
pub(crate) struct Mounted {
    directory: TempDir,
    runtime: ContainerRuntime,
    version: Option<Version>,
}

impl Mounted {
    /// Creates a host with the directories that are mounted for every runtime.
    pub(crate) fn new(runtime: ContainerRuntime, version: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = Self { directory, runtime, version: Version::parse(version) };
        host.mount("/var/lib/image-swap").mount("/run/systemd/units")
    }

    /// Creates a host with a containerd 1.7 that reads the mounted directory of mirrors.
    pub(crate) fn containerd() -> Self {
        Self::new(ContainerRuntime::Containerd, "1.7.24")
            .mount("/etc/containerd/certs.d")
            .with(CONFIG, &config_with_path("/etc/containerd/certs.d"))
    }

    pub(crate) fn place(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn mount(self, path: &str) -> Self {
        fs::create_dir_all(self.place(path)).unwrap();
        self
    }

    pub(crate) fn with(self, path: &str, text: &str) -> Self {
        let place = self.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
        self
    }

    /// Records that systemd has started `unit`.
    pub(crate) fn started(self, unit: &str) -> Self {
        let link = self.place("/run/systemd/units").join(["invocation:", unit].concat());
        symlink("0123456789abcdef0123456789abcdef", link).unwrap();
        self
    }

    /// Changes the file at `path` one hour before now, or after it.
    pub(crate) fn touch(&self, path: &str, is_later: bool) {
        let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
        let time = if is_later { now + hour } else { now - hour };
        File::options().append(true).open(self.place(path)).unwrap().set_modified(time).unwrap();
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.place(path)).ok()
    }

    pub(crate) fn host(&self) -> Host {
        Host::new(Root::new(self.directory.path()).unwrap())
    }

    pub(crate) fn observe(&self, desired: Option<&DesiredConfig<'_>>) -> HostObservation {
        observe_mounted(&self.host(), self.runtime, self.version, desired, RegistryProbe::Skip)
    }

    pub(crate) fn plan(&self, desired: &DesiredConfig<'_>) -> HostPlan {
        plan(desired, &self.observe(Some(desired)).observed).unwrap()
    }

    /// Applies the files of a plan, as an agent does.
    pub(crate) fn apply(
        &self,
        plan: &HostPlan,
        seen: &HostObservation,
    ) -> Result<ApplyOutcome, ApplyFailure> {
        let host = self.host();
        HostSession::take_live(&host, &|_| {})?.apply(plan, seen)
    }

    /// Plans and applies `desired`.
    pub(crate) fn configure(&self, desired: &DesiredConfig<'_>) -> ApplyOutcome {
        let seen = self.observe(Some(desired));
        self.apply(&plan(desired, &seen.observed).unwrap(), &seen).unwrap()
    }

    /// Applies `desired` as the node command does before the runtime is started.
    pub(crate) fn configure_at_rest(&self, desired: &DesiredConfig<'_>) {
        let mut seen = self.observe(Some(desired));
        seen.observed.at_rest = true;
        self.apply(&plan(desired, &seen.observed).unwrap(), &seen).unwrap();
    }
}

/// Returns a declaration with `rules`, and with a credential if `user` is not empty.
pub(crate) fn declare(rules: &str, user: &str) -> Declaration {
    let text = registry_info(&[
        ("DOMAIN", "h.io"),
        ("BASE_PATH", "d"),
        ("INSECURE", "false"),
        ("USERNAME", user),
        ("PASSWORD", if user.is_empty() { "" } else { "s3cret" }),
        ("MIRROR_REGISTRIES", rules),
    ]);
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap()
}

/// Returns the desired configuration of an agent.
pub(crate) fn desired(declaration: &Declaration) -> DesiredConfig<'_> {
    DesiredConfig {
        declaration,
        form: ConfigForm::CertsD,
        fallback: Fallback::Upstream,
        restart: RestartPolicy::Never,
        header_over_http: false,
    }
}
