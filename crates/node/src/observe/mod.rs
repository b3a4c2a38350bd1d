//! What a host is like: read, not changed.

mod daemon;
mod detect;
mod drift;

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

/// Looks at `host`, whose runtime is `runtime` or the one that is found there.
/// `desired` is `None` where only a restore is planned.
///
/// # Errors
/// There is no runtime. What cannot be read is in [`Observed::files`] as such.
pub fn observe(
    host: &Host,
    runtime: Option<Runtime>,
    desired: Option<&Desired<'_>>,
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
    loop {
        let paths = needs(desired, &observed);
        if paths.is_empty() {
            return Ok(Seen { observed, daemon });
        }
        for path in paths {
            let entry = host.look(&path);
            observed.files.insert(path, entry);
        }
    }
}
