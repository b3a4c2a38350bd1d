//! The order of a restart on the host, and its result.

use std::{
    future,
    path::{Path, PathBuf},
    time::Duration,
};

use image_swap_core::status::{NodeRevision, RestartOrder, RestartOutcome, RestartResult};
use image_swap_node::{ContainerRuntime, Host, RestartDirectory, RestartDirectoryError};
use tokio::{task, time::sleep};

use crate::{
    node::{HostOrder, host},
    settings::{AgentRestart, NodeAgentSettings},
    status::{HostOutcome, HostReport},
};

/// The pause between two looks for a result.
const POLL: Duration = Duration::from_secs(2);

/// An order on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingRestart {
    /// Number of the declaration.
    number: u64,
    /// Result of the last attempt; `None` before the first is complete.
    result: Option<RestartResult>,
}

/// Applies `order` by `look`, and writes or removes the order of a restart. Returns the report
/// of `look` with the state of the restart, and the order that is pending then.
pub(crate) fn follow(
    settings: &NodeAgentSettings,
    order: &HostOrder,
    look: impl FnOnce() -> HostReport,
) -> (HostReport, Option<PendingRestart>) {
    // The report has the error about the root directory.
    let Ok(host) = host(&settings.root) else { return (look(), None) };
    let directory = RestartDirectory::new(&host);
    let revision = match (settings.restart, order) {
        (AgentRestart::Rolling, HostOrder::Configure(revision)) => revision,
        // Before the look: a process that waits for the lock of the host reads the order after it.
        (AgentRestart::Rolling, HostOrder::Keep) => {
            let withdrawn = directory.withdraw();
            return (noted(look(), withdrawn), None);
        }
        (AgentRestart::Never, _) | (_, HostOrder::Restore) => {
            let removed = directory.remove();
            return (noted(look(), removed), None);
        }
    };
    let report = look();
    match &report.outcome {
        HostOutcome::RestartRequired(reason) => {
            match pending(directory, revision, settings.runtime) {
                Ok(pending) => {
                    let outcome = ordered(reason, pending.result.as_ref());
                    (HostReport { outcome, ..report }, Some(pending))
                }
                Err(reason) => {
                    (HostReport { outcome: HostOutcome::Failed(reason), ..report }, None)
                }
            }
        }
        // The next attempt rolls back a restart that was cut off.
        HostOutcome::Failed(_) if is_ordered(directory, revision.number) => {
            let number = revision.number;
            let result = directory.result(number).ok().flatten();
            (report, Some(PendingRestart { number, result }))
        }
        _ => (noted(report, directory.withdraw()), None),
    }
}

/// Returns true if the order `number` is on the host.
fn is_ordered(directory: RestartDirectory<'_>, number: u64) -> bool {
    matches!(directory.order(), Ok(Some(order)) if order.number == number)
}

/// Returns `report` with a note about a file that cannot be removed.
fn noted(mut report: HostReport, removed: Result<(), RestartDirectoryError>) -> HostReport {
    report.notes.extend(removed.err().map(|error| error.to_string()));
    report
}

/// Writes the order of a restart for `revision`, and returns it with its result.
///
/// # Errors
/// The reason why the order cannot be written, or its result cannot be read.
fn pending(
    directory: RestartDirectory<'_>,
    revision: &NodeRevision,
    runtime: ContainerRuntime,
) -> Result<PendingRestart, String> {
    let number = revision.number;
    let written = directory.write_order(&RestartOrder::new(revision, runtime.name()));
    let result = written.and_then(|()| directory.result(number));
    Ok(PendingRestart { number, result: result.map_err(|error| error.to_string())? })
}

/// Returns the outcome of a declaration that needs a restart for the reason `reason`, which is
/// ordered.
fn ordered(reason: &str, result: Option<&RestartResult>) -> HostOutcome {
    match result {
        Some(result) if result.outcome != RestartOutcome::Applied => {
            HostOutcome::RestartFailed { reason: reason.to_owned(), found: result.message.clone() }
        }
        _ => HostOutcome::RestartOrdered(reason.to_owned()),
    }
}

/// Waits for another result of a pending order on the host below `root`. Never ends without an
/// order.
pub(crate) async fn changed(root: PathBuf, pending: Option<PendingRestart>) {
    let Some(pending) = pending else { return future::pending().await };
    let number = pending.number;
    loop {
        sleep(POLL).await;
        let root = root.clone();
        let found = task::spawn_blocking(move || result(&root, number)).await;
        if pending.is_outdated_by(found.unwrap_or_default().as_ref()) {
            return;
        }
    }
}

/// Returns the result of the order `number` on the host below `root`; `None` without one, and if
/// it cannot be read.
fn result(root: &Path, number: u64) -> Option<RestartResult> {
    let host = host(root).ok()?;
    RestartDirectory::new(&host).result(number).ok()?
}

impl PendingRestart {
    /// Returns true if `found` is a result of a later attempt. An absent result is that of an
    /// attempt that has begun.
    fn is_outdated_by(&self, found: Option<&RestartResult>) -> bool {
        found.is_some() && found != self.result.as_ref()
    }
}

/// Removes the order on `host` and every other file of a restart.
///
/// # Errors
/// The file that cannot be removed.
pub(crate) fn forget(host: &Host) -> Result<(), String> {
    RestartDirectory::new(host).remove().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image_swap_core::{
        control::effective::{Effective, Origin, SecretData},
        mirror::Fallback,
    };
    use image_swap_node::{RegistryProbe, Version};
    use tempfile::TempDir;

    use super::*;
    use crate::RestoredHost;

    const CONFIG: &str = "etc/containerd/config.toml";
    const ORDER: &str = "var/lib/image-swap/restart/order.json";
    const PROGRAM: &str = "var/lib/image-swap/restart/image-swap";
    const RESULT: &str = "var/lib/image-swap/restart/result.json";

    /// A host whose containerd reads no directory of mirrors.
    struct TestHost {
        root: TempDir,
        settings: NodeAgentSettings,
    }

    impl TestHost {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let settings = NodeAgentSettings {
                namespace: String::new(),
                secret: String::new(),
                node: String::new(),
                runtime: ContainerRuntime::Containerd,
                root: root.path().to_owned(),
                resync: Duration::MAX,
                restart: AgentRestart::Rolling,
            };
            let host = Self { root, settings };
            host.write(CONFIG, "version = 2\n");
            fs::create_dir_all(host.at("etc/containerd/certs.d")).unwrap();
            fs::create_dir_all(host.at("var/lib/image-swap")).unwrap();
            host
        }

        fn at(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        fn has(&self, path: &str) -> bool {
            self.at(path).exists()
        }

        fn write(&self, path: &str, text: &str) {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
        }

        fn result(&self, number: u64, outcome: RestartOutcome, message: &str) {
            let result = RestartResult { number, outcome, message: message.into() };
            self.write(RESULT, &result.text());
        }

        /// Sets `config_path`, as an administrator does.
        fn configure(&self) {
            let text = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
                        config_path = \"/etc/containerd/certs.d\"\n";
            self.write(CONFIG, text);
        }

        fn look(&self, order: &HostOrder) -> (HostOutcome, Option<PendingRestart>) {
            let version = Version::parse("1.7.24");
            let look = || order.execute(&self.settings, version, RegistryProbe::Skip);
            let (report, pending) = follow(&self.settings, order, look);
            (report.outcome, pending)
        }

        fn order(&self) -> Option<RestartOrder> {
            let host = host(self.root.path()).unwrap();
            RestartDirectory::new(&host).order().unwrap()
        }
    }

    fn configure(number: u64) -> HostOrder {
        let data = [
            ("DOMAIN", "h.example.org"),
            ("BASE_PATH", "d"),
            ("USERNAME", "robot"),
            ("PASSWORD", "s3cret"),
            ("INSECURE", "false"),
            ("CA_CERT", ""),
            ("MIRROR_REGISTRIES", "docker.io::h.example.org/d"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        let effective = Effective { origin: Origin::RegistryInfo, secret };
        HostOrder::Configure(NodeRevision { number, effective, fallback: Fallback::Never })
    }

    fn waits(outcome: &HostOutcome) -> bool {
        matches!(outcome, HostOutcome::RestartOrdered(_))
    }

    #[test]
    fn needed_restart_is_ordered_until_the_host_is_in_place() {
        let host = TestHost::new();
        let order = configure(7);
        let (outcome, pending) = host.look(&order);
        assert!(waits(&outcome), "{outcome:?}");
        assert_eq!(pending, Some(PendingRestart { number: 7, result: None }));
        let HostOrder::Configure(revision) = &order else { unreachable!() };
        assert_eq!(host.order(), Some(RestartOrder::new(revision, "containerd")));

        // Another declaration replaces the order.
        host.look(&configure(8));
        assert_eq!(host.order().map(|it| it.number), Some(8));
        host.write(PROGRAM, "");
        host.result(8, RestartOutcome::Applied, "m");
        host.configure();
        let (outcome, pending) = host.look(&configure(8));
        assert_eq!((outcome, pending), (HostOutcome::InPlace, None));
        assert!(!host.has(ORDER) && !host.has(PROGRAM) && host.has(RESULT));
    }

    #[test]
    fn order_ends_with_its_declaration() {
        for (order, stays) in [(HostOrder::Keep, true), (HostOrder::Restore, false)] {
            let host = TestHost::new();
            host.look(&configure(7));
            assert!(host.has(ORDER));
            host.write(PROGRAM, "");
            let (_, pending) = host.look(&order);
            assert_eq!(pending, None);
            assert!(!host.has(ORDER) && !host.has(PROGRAM));
            assert_eq!(host.at(ORDER).parent().unwrap().exists(), stays, "{order:?}");
        }
    }

    #[test]
    fn agent_without_restarts_removes_the_directory() {
        let mut host = TestHost::new();
        host.look(&configure(7));
        host.settings.restart = AgentRestart::Never;
        let (outcome, pending) = host.look(&configure(7));
        assert!(matches!(outcome, HostOutcome::RestartRequired(_)), "{outcome:?}");
        assert_eq!(pending, None);
        assert!(!host.has("var/lib/image-swap/restart"));
    }

    #[test]
    fn failed_restart_is_reported() {
        let host = TestHost::new();
        for (number, outcome, fails) in [
            (7, RestartOutcome::Applied, false),
            (7, RestartOutcome::Refused, true),
            (7, RestartOutcome::RolledBack, true),
            (7, RestartOutcome::Broken, true),
            (6, RestartOutcome::RolledBack, false),
        ] {
            host.result(number, outcome, "the reason");
            let (found, pending) = host.look(&configure(7));
            assert_eq!(!waits(&found), fails, "{number} {outcome:?} {found:?}");
            if let HostOutcome::RestartFailed { found, .. } = found {
                assert_eq!(found, "the reason");
            }
            assert_eq!(pending.unwrap().result.is_some(), number == 7);
            // The next attempt needs the order.
            assert!(host.has(ORDER));
        }
    }

    #[test]
    fn interrupted_restart_keeps_its_order() {
        let host = TestHost::new();
        host.look(&configure(7));
        host.write("var/lib/image-swap/node/armed.json", "{}");
        let (outcome, pending) = host.look(&configure(7));
        assert!(matches!(outcome, HostOutcome::Failed(_)), "{outcome:?}");
        assert_eq!(pending, Some(PendingRestart { number: 7, result: None }));
        assert_eq!(host.order().map(|it| it.number), Some(7));
        host.look(&configure(8));
        assert_eq!(host.order(), None);
    }

    #[test]
    fn unreadable_result_is_an_error() {
        let host = TestHost::new();
        host.write(RESULT, "{");
        let (outcome, _) = host.look(&configure(7));
        let HostOutcome::Failed(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("result.json"), "{reason}");
    }

    #[test]
    fn restored_host_has_no_order() {
        let host = TestHost::new();
        host.look(&configure(7));
        let restored = RestoredHost::restore(host.root.path()).unwrap();
        assert_eq!(restored.runtime, None);
        assert!(!host.has("var/lib/image-swap/restart"));
    }

    #[test]
    fn later_result_outdates_an_order() {
        let host = TestHost::new();
        let found = || result(host.root.path(), 7);
        let (_, pending) = host.look(&configure(7));
        assert!(!pending.unwrap().is_outdated_by(found().as_ref()));
        host.result(7, RestartOutcome::RolledBack, "first");
        let (_, pending) = host.look(&configure(7));
        let pending = pending.unwrap();
        assert!(!pending.is_outdated_by(found().as_ref()));
        fs::remove_file(host.at(RESULT)).unwrap();
        assert!(!pending.is_outdated_by(found().as_ref()));
        host.result(6, RestartOutcome::RolledBack, "other");
        assert!(!pending.is_outdated_by(found().as_ref()));
        host.result(7, RestartOutcome::RolledBack, "second");
        assert!(pending.is_outdated_by(found().as_ref()));
    }

    #[tokio::test]
    async fn result_of_an_order_ends_the_wait() {
        let host = TestHost::new();
        let (_, pending) = host.look(&configure(7));
        assert!(pending.is_some());
        host.result(7, RestartOutcome::Applied, "m");
        changed(host.root.path().to_owned(), pending).await;
    }
}
