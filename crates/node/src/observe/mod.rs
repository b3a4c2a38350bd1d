//! Observes a host without changing it.

pub(crate) mod daemon;
pub(crate) mod detect;
pub(crate) mod drift;
pub(crate) mod mounted;
pub(crate) mod tokens;

use crate::{
    desired::DesiredConfig,
    files::HostFiles,
    host::Host,
    ledger::Ledger,
    observe::{
        daemon::Daemon,
        detect::{ObserveError, detect},
        tokens::RegistryProbe,
    },
    observed::{ObservedHost, RuntimeStart},
    owner::HostOwner,
    runtime::kind::{ContainerRuntime, Version},
};

/// The observed state of a host, and of its runtime's process.
#[derive(Clone, Debug)]
pub struct HostObservation {
    /// The state that plans are made of.
    pub observed: ObservedHost,
    /// The process of the runtime, and its response.
    pub daemon: Daemon,
    /// The start of the runtime, compared with the last change of the files of image-swap that it
    /// reads on reload: before the change, a reload may be pending. Always unknown if the
    /// process of the runtime is observed.
    pub reload: RuntimeStart,
    /// Notes about facts that are unknown.
    pub notes: Vec<String>,
}

/// Observes `host`. The runtime is detected if `runtime` is `None`.
/// `desired` is `None` if only a restore is planned. `at_rest` is the version of a runtime
/// that does not run, as in the image of a host.
///
/// # Errors
/// There is no runtime. An unreadable file is no error: [`ObservedHost::files`] contains the
/// reason.
pub fn observe(
    host: &Host,
    runtime: Option<ContainerRuntime>,
    desired: Option<&DesiredConfig<'_>>,
    probe: RegistryProbe,
    at_rest: Option<Version>,
) -> Result<HostObservation, ObserveError> {
    let configured = || {
        // A restore is for the runtime that was configured.
        let entry = host.stat(&Ledger::path());
        let mut files = HostFiles::default();
        files.insert(Ledger::path(), entry);
        let ledger = Ledger::read(&files).ok().flatten().filter(|_| desired.is_none())?;
        ledger.runtime.parse().ok()
    };
    let runtime = match runtime.or_else(configured) {
        Some(runtime) => runtime,
        None => detect(host)?,
    };
    let daemon = Daemon::find(host, runtime);
    let mut observed = ObservedHost::new(runtime, daemon.version);
    let mut notes = Vec::new();
    observed.arguments.clone_from(&daemon.arguments);
    observed.in_force.clone_from(&daemon.config_path);
    if let Some(version) = at_rest {
        if daemon.runs() {
            notes.push(format!(
                "{runtime} runs on this host, so --runtime-version {version} has no effect"
            ));
        } else {
            observed.version = Some(version);
            observed.at_rest = true;
        }
    }
    observed.look(desired, |path| host.stat(path));
    if observed.owner() == Some(HostOwner::MicroK8s) {
        // The revision is part of the path in force, and not of the one that is written.
        observed.in_force = None;
    }
    if let Some(desired) = desired {
        let (bearer_only, note) = tokens::bearer_only(desired, &observed, probe);
        observed.bearer_only = bearer_only;
        notes.extend(note);
    }
    Ok(HostObservation { observed, daemon, reload: RuntimeStart::Unknown, notes })
}
