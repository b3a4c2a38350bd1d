//! What has to be looked at.

use crate::{Desired, HostPath, Ledger, Observed, Owner, containerd};

/// The paths to look at next: read a file, list a directory, see that nothing
/// is there. Whoever observes calls this until it asks for nothing more; each
/// answer may lead to further paths (imports of a config.toml, the directories it
/// names). `desired` is `None` where only a restore is planned.
pub fn needs(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let _ = desired;
    let mut paths = vec![Ledger::path(), observed.config.clone()];
    paths.extend(Ledger::directories());
    paths.extend(std::iter::successors(observed.config.parent(), HostPath::parent));
    paths.extend(Owner::evidence());
    // What we wrote is looked at in any case.
    if let Ok(Some(ledger)) = observed.ledger() {
        paths.extend(ledger.files.into_keys());
        paths.extend(ledger.directories);
    }
    paths.extend(containerd::unseen(observed));
    paths.retain(|path| observed.files.get(path).is_none());
    paths.sort();
    paths.dedup();
    paths
}
