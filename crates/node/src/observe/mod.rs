//! What a host is like: read, not changed.

mod daemon;
mod detect;
mod drift;
mod tokens;

pub use self::{
    daemon::{Answer, Daemon},
    drift::{Drift, Standing, drift},
};
use crate::{Desired, Files, Host, Ledger, Observed, Runtime, needs};

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

/// Why a host cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// Nothing tells of a runtime.
    #[error(
        "expected a container runtime, found none of {0}; name it with --runtime, \
         or the directory where the host's / is with --root"
    )]
    NoRuntime(String),
}

/// Who is asked beside the host itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Nobody: what was found when the host was told is taken for true.
    Nobody,
    /// The declared registry, how it wants to be authenticated to.
    Registry,
}

/// Looks at `host`, whose runtime is `runtime` or the one that is found there.
/// `desired` is `None` where only a restore is planned.
///
/// # Errors
/// There is no runtime. What cannot be read is in [`Observed::files`] as such.
pub fn observe(
    host: &Host,
    runtime: Option<Runtime>,
    desired: Option<&Desired<'_>>,
    asks: Asks,
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
        None => detect::detect(host)?,
    };
    let daemon = Daemon::find(host, runtime);
    let mut observed = Observed::new(runtime, daemon.version);
    if let Some(config) = &daemon.config {
        observed.config = config.clone();
    }
    observed.in_force.clone_from(&daemon.config_path);
    loop {
        let paths = needs(desired, &observed);
        if paths.is_empty() {
            break;
        }
        for path in paths {
            let entry = host.look(&path);
            observed.files.insert(path, entry);
        }
    }
    let mut notes = Vec::new();
    if let Some(desired) = desired {
        let (alone, note) = tokens::alone(desired, &observed, asks);
        observed.tokens_alone = alone;
        notes.extend(note);
    }
    Ok(Seen { observed, daemon, notes })
}
