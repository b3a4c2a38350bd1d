//! What has to be looked at.

use crate::{
    Desired, HostPath, Ledger, Observed, Owner, Runtime, containerd, containers, docker, rancher,
};

/// The paths to look at next: read a file, list a directory, see that nothing
/// is there. Whoever observes calls this until it asks for nothing more; each
/// answer may lead to further paths (imports of a config.toml, the directories it
/// names). `desired` is `None` where only a restore is planned.
pub fn needs(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let mut paths = vec![Ledger::path(), observed.config.clone()];
    paths.extend(Ledger::directories());
    paths.extend(Owner::evidence());
    // What we wrote is looked at in any case.
    if let Ok(Some(ledger)) = observed.ledger() {
        paths.extend(ledger.files.into_keys());
        paths.extend(ledger.directories);
    }
    paths.extend(match observed.runtime {
        Runtime::Containerd => containerd::unseen(observed),
        Runtime::Crio | Runtime::Podman => containers::unseen(desired, observed),
        Runtime::K3s | Runtime::Rke2 => rancher::unseen(desired, observed),
        Runtime::Docker => docker::unseen(desired, observed),
    });
    // Directories that may have to be made.
    let above = |path: &HostPath| std::iter::successors(path.parent(), HostPath::parent);
    paths.extend(paths.clone().iter().flat_map(above));
    paths.retain(|path| observed.files.get(path).is_none());
    paths.sort();
    paths.dedup();
    paths
}
