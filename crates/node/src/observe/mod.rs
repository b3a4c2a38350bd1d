//! What a host is like: read, not changed.

pub(crate) mod daemon;
pub(crate) mod detect;
pub(crate) mod drift;
pub(crate) mod tokens;

use crate::{
    desired::Desired,
    files::Files,
    host::Host,
    ledger::Ledger,
    observe::{
        daemon::Daemon,
        detect::{ObserveError, detect},
        tokens::Asks,
    },
    observed::Observed,
    owner::Owner,
    runtime::kind::{Runtime, Version},
};

/// What was seen of a host.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What plans are made of.
    pub observed: Observed,
    /// The runtime's process.
    pub daemon: Daemon,
    /// What could not be found out.
    pub notes: Vec<String>,
}

/// Looks at `host`, whose runtime is `runtime` or the one that is found there.
/// `desired` is `None` where only a restore is planned. `at_rest` is the version of a runtime
/// that does not run, as in the image of a host.
///
/// # Errors
/// There is no runtime. What cannot be read is in [`Observed::files`] as such.
pub fn observe(
    host: &Host,
    runtime: Option<Runtime>,
    desired: Option<&Desired<'_>>,
    asks: Asks,
    at_rest: Option<Version>,
) -> Result<Seen, ObserveError> {
    let told = || {
        // What is taken back is what was told, whoever else is there by now.
        let entry = host.look(&Ledger::path());
        let mut files = Files::default();
        files.insert(Ledger::path(), entry);
        let ledger = Ledger::read(&files).ok().flatten().filter(|_| desired.is_none())?;
        ledger.runtime.parse().ok()
    };
    let runtime = match runtime.or_else(told) {
        Some(runtime) => runtime,
        None => detect(host)?,
    };
    let daemon = Daemon::find(host, runtime);
    let mut observed = Observed::new(runtime, daemon.version);
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
    observed.look(desired, |path| host.look(path));
    if observed.owner() == Some(Owner::MicroK8s) {
        // The revision is part of the path in force, and not of the one that is written.
        observed.in_force = None;
    }
    if let Some(desired) = desired {
        let (alone, note) = tokens::bearer_only(desired, &observed, asks);
        observed.bearer_only = alone;
        notes.extend(note);
    }
    Ok(Seen { observed, daemon, notes })
}
