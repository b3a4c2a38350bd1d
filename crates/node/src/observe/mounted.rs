//! Observes a host of which some directories are mounted, and nothing that runs.

use std::{
    io::{
        self,
        ErrorKind::{self, NotFound},
    },
    path::Path,
    time::SystemTime,
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use crate::{
    desired::DesiredConfig,
    files::HostPath,
    host::Host,
    observe::{
        HostObservation,
        daemon::Daemon,
        tokens::{self, RegistryProbe},
    },
    observed::{ObservedHost, RuntimeStart},
    owner::HostOwner,
    plan::{HostPlan, PlannedStep},
    runtime::{
        kind::{ContainerRuntime, Version},
        paths_at_start,
        reload::ReloadMode,
    },
};

/// The directory of links that systemd makes when it starts a unit.
const UNITS: &str = "/run/systemd/units";
/// The directory of settings of RKE2.
const RKE2: &str = "/etc/rancher/rke2";
/// The directory of settings of CRI-O.
const CRIO: &str = "/etc/crio";
/// The directory of settings of k3s.
const K3S: &str = "/etc/rancher/k3s";

/// Observes `host` only by its files: no socket is connected, and no program of the host is run.
/// `runtime` is corrected if k3s and RKE2 are confused. `desired` is `None` if only a restore
/// is planned.
pub fn observe_mounted(
    host: &Host,
    runtime: ContainerRuntime,
    version: Option<Version>,
    desired: Option<&DesiredConfig<'_>>,
    probe: RegistryProbe,
) -> HostObservation {
    let runtime = corrected(host, runtime);
    let daemon = Daemon::unseen(runtime, version);
    let mut observed = ObservedHost::new(runtime, version);
    let mut notes = Vec::new();
    observed.is_mounted = true;
    observed.look(desired, |path| host.stat(path));
    observed.start = start_of_runtime(host, &observed);
    let reload = start(host, &observed, &paths_on_reload(&observed));
    if let Some(desired) = desired {
        let (bearer_only, note) = tokens::bearer_only(desired, &observed, probe);
        observed.bearer_only = bearer_only;
        notes.extend(note);
    }
    HostObservation { observed, daemon, reload, notes }
}

/// Returns the runtime of `host`: `runtime`, unless k3s and RKE2 are confused.
pub(crate) fn corrected(host: &Host, runtime: ContainerRuntime) -> ContainerRuntime {
    match runtime {
        ContainerRuntime::K3s | ContainerRuntime::Rke2 => of_rancher(host).unwrap_or(runtime),
        other => other,
    }
}

/// Compares the start of the runtime with the last change of the files that it reads then.
pub(crate) fn start_of_runtime(host: &Host, observed: &ObservedHost) -> RuntimeStart {
    start(host, observed, &paths_at_start(observed))
}

/// Returns the files of image-swap that the runtime reads on reload.
fn paths_on_reload(observed: &ObservedHost) -> Vec<HostPath> {
    let ledger = observed.ledger().ok().flatten();
    let own = ledger.into_iter().flat_map(|ledger| ledger.files.into_keys());
    let is_on_reload = |path: &HostPath| {
        ReloadMode::of(observed.runtime, &observed.config, path) == ReloadMode::Reload
    };
    own.filter(is_on_reload).collect()
}

/// Returns the one of k3s and RKE2 that runs on `host`, or else is configured there; `None` if
/// that is unknown.
fn of_rancher(host: &Host) -> Option<ContainerRuntime> {
    let has_run = |runtime| units(runtime).iter().any(|unit| started(host, unit).is_some());
    let is_there = |path: &str| host.placed(&path.into()).is_some();
    match (has_run(ContainerRuntime::K3s), has_run(ContainerRuntime::Rke2)) {
        (true, false) => return Some(ContainerRuntime::K3s),
        (false, true) => return Some(ContainerRuntime::Rke2),
        _ => {}
    }
    match (is_there(K3S), is_there(RKE2)) {
        (true, false) => Some(ContainerRuntime::K3s),
        (false, true) => Some(ContainerRuntime::Rke2),
        _ => None,
    }
}

/// Returns the units of systemd that start `runtime`.
const fn units(runtime: ContainerRuntime) -> &'static [&'static str] {
    match runtime {
        ContainerRuntime::Containerd => &["containerd.service"],
        ContainerRuntime::Crio => &["crio.service"],
        ContainerRuntime::K3s => &["k3s.service", "k3s-agent.service"],
        ContainerRuntime::Rke2 => &["rke2-server.service", "rke2-agent.service"],
        ContainerRuntime::Docker | ContainerRuntime::Podman => &[],
    }
}

/// Returns the time at which systemd started `unit`; `None` if that is unknown.
fn started(host: &Host, unit: &str) -> Option<SystemTime> {
    host.placed(&HostPath::new(UNITS).join(&["invocation:", unit].concat()))
}

/// Compares the start of the runtime with the last change of `files`.
fn start(host: &Host, observed: &ObservedHost, files: &[HostPath]) -> RuntimeStart {
    // Units of their own start the containerd of these.
    if matches!(observed.owner(), Some(HostOwner::K0s | HostOwner::MicroK8s)) {
        return RuntimeStart::Unknown;
    }
    let started = units(observed.runtime).iter().filter_map(|unit| started(host, unit)).max();
    let Some(started) = started else { return RuntimeStart::Unknown };
    let changed = files.iter().filter_map(|path| host.changed(path)).max();
    if changed.is_some_and(|changed| changed > started) {
        RuntimeStart::BeforeChange
    } else {
        RuntimeStart::AfterChange
    }
}

/// A directory that a plan changes, and that is not mounted for writing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write below {directory} of the host: it is {found}; {remedy}")]
pub struct UnmountedDirectory {
    /// The directory on the host.
    pub directory: HostPath,
    /// The state of the directory below the root of the host, in words.
    pub found: String,
    /// The remedy for an administrator.
    pub remedy: &'static str,
}

/// Checks that every directory whose files `plan` changes is mounted for writing below the root of
/// `host`. The directory of mirrors must exist there: it may be another one than the mounted one.
///
/// # Errors
/// The first directory that is not.
pub fn check_mounts(host: &Host, plan: &HostPlan) -> Result<(), UnmountedDirectory> {
    if let Some(directory) = plan.unmounted.as_ref().and_then(HostPath::parent) {
        let remedy = remedy(&directory);
        return Err(UnmountedDirectory { directory, found: state(NotFound), remedy });
    }
    let changed = plan.steps.iter().filter_map(|step| match step {
        PlannedStep::Write { path, .. } | PlannedStep::Remove { path } => Some(path),
        _ => None,
    });
    for path in changed {
        let mirrors = plan.mirror_directory.as_ref().filter(|mirrors| path.is_below(mirrors));
        let Some(directory) = mirrors.cloned().or_else(|| path.parent()) else { continue };
        if let Err(error) = writable(host, &directory, mirrors.is_some()) {
            let remedy = remedy(&directory);
            return Err(UnmountedDirectory { directory, found: state(error), remedy });
        }
    }
    Ok(())
}

/// Returns the remedy for a directory that is not mounted for writing.
fn remedy(directory: &HostPath) -> &'static str {
    match directory.name() {
        "registries.conf.d" => "set agent.hostPaths.registriesConfD to this directory",
        _ if directory.is_below(&"/etc/containers".into()) || directory.is_below(&CRIO.into()) => {
            "run `image-swap node apply` or `image-swap node restore` on the host"
        }
        _ => "set agent.hostPaths.certsD to the directory of `config_path`",
    }
}

/// Checks that files can be made in `directory`, or in the nearest one above it unless it `must`
/// exist.
///
/// # Errors
/// The kind of the kernel's error.
fn writable(host: &Host, directory: &HostPath, must: bool) -> Result<(), ErrorKind> {
    let above = std::iter::successors(Some(directory.clone()), HostPath::parent);
    for directory in above {
        match host.at(&directory).and_then(|place| try_access(&place)) {
            Err(error) if error.kind() == NotFound && !must => {}
            tried => return tried.map_err(|error| error.kind()),
        }
    }
    Err(NotFound)
}

/// Checks that files can be made in the directory `place`.
fn try_access(place: &Path) -> io::Result<()> {
    match access(place, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if !place.is_dir() => Err(Errno::NOTDIR.into()),
        tried => Ok(tried?),
    }
}

/// Returns the state of a directory in words, if a file cannot be made in it because of `error`.
fn state(error: ErrorKind) -> String {
    match error {
        NotFound => "not mounted".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "mounted read-only".to_owned(),
        other => format!("not writable ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_directory_is_named() {
        let state = |error: Errno| state(io::Error::from(error).kind());
        assert_eq!(state(Errno::NOENT), "not mounted");
        assert_eq!(state(Errno::ROFS), "mounted read-only");
        assert_eq!(state(Errno::ACCESS), "not writable (permission denied)");
    }

    #[test]
    fn remedy_names_the_setting_of_the_chart() {
        for (directory, expected) in [
            ("/etc/my/certs.d", "certsD"),
            ("/etc/containers/registries.conf.d", "registriesConfD"),
            ("/etc/containers/certs.d/h.io", "image-swap node apply"),
            ("/etc/crio/crio.conf.d", "image-swap node apply"),
        ] {
            assert!(remedy(&directory.into()).contains(expected), "{directory}");
        }
    }
}
