//! The loop of an agent.

use std::{
    fs,
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use image_swap_core::{
    declaration::UnixTime,
    status::{NodeDeclaration, NodeMirrorStatus, node_mirror::APPLIED},
};
use image_swap_node::{RegistryProbe, Version};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Client};
use tokio::{
    sync::watch,
    task,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    backoff::RetryBackoff,
    declared,
    drift::DriftCounter,
    error::reason,
    mirror::{NodeMirrorContent, NodeMirrorObject},
    node::HostOrder,
    restart::{self, PendingRestart},
    settings::NodeAgentSettings,
    status::{HostOutcome, HostReport, StatusFacts, is_stored},
};

/// Identifies the boot of the kernel, which containers share with their host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The time for one request.
const REQUEST: Duration = Duration::from_secs(15);
/// The time for each of the last requests: the kubelet kills the agent soon.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// The agent of a node.
pub struct NodeAgent {
    settings: Arc<NodeAgentSettings>,
    secrets: Api<Secret>,
    mirror: NodeMirrorObject,
    boot_id: String,
    repairs: DriftCounter,
    /// The last look at the host; `None` before the first.
    last: Option<LastLook>,
}

/// A look at the host.
struct LastLook {
    order: HostOrder,
    is_in_place: bool,
    content: NodeMirrorContent,
    /// The order of a restart on the host; `None` without one.
    pending: Option<PendingRestart>,
}

impl NodeAgent {
    /// Returns an agent that uses `client`.
    pub fn new(client: Client, settings: NodeAgentSettings) -> Self {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_else(|error| {
            warn!(%error, "cannot read {BOOT_ID}; the status of the node counts as outdated");
            String::new()
        });
        Self {
            secrets: Api::namespaced(client.clone(), &settings.namespace),
            mirror: NodeMirrorObject::new(client, &settings.node),
            settings: Arc::new(settings),
            boot_id: boot_id.trim().to_owned(),
            repairs: DriftCounter::default(),
            last: None,
        }
    }

    /// Applies each declaration for the node until `stop` ends. Then it completes a running
    /// change, and restores the host only if the Secret demands that.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let (states, declared) = watch::channel(None);
        let (secrets, settings) = (self.secrets.clone(), Arc::clone(&self.settings));
        tokio::select! {
            () = declared::follow(secrets, &settings.secret, states) => {}
            () = self.work(declared, stop) => {}
        }
        self.restore_if_demanded().await;
    }

    /// Looks at the host after each change of the declaration, and at least once per resync
    /// time, until `stop` ends.
    async fn work(
        &mut self,
        mut declared: watch::Receiver<Option<NodeDeclaration>>,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = pin!(stop);
        let mut backoff = RetryBackoff::default();
        loop {
            let state = declared.borrow_and_update().clone();
            let wait = match state {
                None => self.settings.resync,
                Some(declaration) => {
                    let order = self.order(&declaration);
                    let Some(read) = unless(&mut stop, self.read()).await else { return };
                    let is_reported = match read {
                        Some(content) => {
                            let status = self.look(order, content).await;
                            let report = self.report(status);
                            let Some(done) = unless(&mut stop, report).await else { return };
                            done
                        }
                        None => false,
                    };
                    if is_reported {
                        backoff = RetryBackoff::default();
                        self.settings.resync
                    } else {
                        backoff.next().unwrap_or(self.settings.resync)
                    }
                }
            };
            let pending = self.last.as_ref().and_then(|it| it.pending.clone());
            let root = self.settings.root.clone();
            let wake = async {
                tokio::select! {
                    changed = declared.changed() => drop(changed),
                    () = restart::changed(root, pending) => {}
                    () = sleep(wait) => {}
                }
            };
            if unless(&mut stop, wake).await.is_none() {
                return;
            }
        }
    }

    /// Returns the order of a declaration for this node.
    fn order(&self, declaration: &NodeDeclaration) -> HostOrder {
        let node = &*self.settings.node;
        if declaration.restores(node) {
            return HostOrder::Restore;
        }
        declaration.for_node(node).map_or(HostOrder::Keep, HostOrder::Configure)
    }

    /// Reads the `NodeMirror`; `None` if it has to be read again later.
    async fn read(&self) -> Option<NodeMirrorContent> {
        let name = &*self.settings.node;
        match timeout(REQUEST, self.mirror.read()).await {
            Ok(Ok(Some(content))) => Some(content),
            Ok(Ok(None)) => {
                info!(name, "waiting for the NodeMirror, which the controller creates");
                None
            }
            Ok(Err(error)) => {
                warn!(name, error = reason(&error), "cannot read the NodeMirror");
                None
            }
            Err(_) => {
                warn!(name, "cannot read the NodeMirror: the API server does not respond");
                None
            }
        }
    }

    /// Applies `order`. Returns the new status; `None` if it is already stored.
    async fn look(
        &mut self,
        order: HostOrder,
        content: NodeMirrorContent,
    ) -> Option<NodeMirrorStatus> {
        let runtime = &content.spec.container_runtime_version;
        let version = runtime.split_once("://").and_then(|(_, text)| Version::parse(text));
        let known = self.last.as_ref().is_some_and(|it| it.is_in_place && it.order == order);
        // Once the files are in place, the last answer of the registry is used again.
        let probe = if known { RegistryProbe::Skip } else { RegistryProbe::Probe };
        let (settings, host_order) = (Arc::clone(&self.settings), order.clone());
        let work = task::spawn_blocking(move || {
            restart::follow(&settings, &host_order, || {
                host_order.execute(&settings, version, probe)
            })
        });
        let (report, pending) = work.await.unwrap_or_else(|error| {
            let outcome = HostOutcome::Failed(format!("the change was cut off: {error}"));
            (HostReport::of(outcome), None)
        });
        let now = now();
        if let Some(path) = &report.repaired {
            info!(path, "wrote a file again that another program had changed");
            self.repairs.record(path, now);
        }
        let facts = StatusFacts {
            node_uid: &content.spec.node_uid,
            boot_id: &self.boot_id,
            wanted: order.number(),
            report: &report,
            drifting: self.repairs.excessive(now),
            stored: &content.status,
            now: &written(now),
        };
        let status = facts.status();
        let status = (!is_stored(&status, &content.status)).then_some(status);
        let is_in_place = report.outcome == HostOutcome::InPlace;
        self.last = Some(LastLook { order, is_in_place, content, pending });
        status
    }

    /// Writes `status`, unless it is `None`. Returns true if nothing is left to write.
    async fn report(&self, status: Option<NodeMirrorStatus>) -> bool {
        let Some(status) = status else { return true };
        log(&status);
        match timeout(REQUEST, self.mirror.report(&status)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => warn!(error = reason(&error), "cannot write the status of the node"),
            Err(_) => {
                warn!("cannot write the status of the node: the API server does not respond");
            }
        }
        false
    }

    /// Restores the host if the Secret demands it, as read for the last time.
    async fn restore_if_demanded(&mut self) {
        let read = timeout(LAST_REQUEST, self.secrets.get_opt(&self.settings.secret)).await;
        let demands = |secret: &Secret| declared::declaration(secret).restore;
        if !matches!(&read, Ok(Ok(Some(secret))) if demands(secret)) {
            return;
        }
        let content = match timeout(LAST_REQUEST, self.mirror.read()).await {
            Ok(Ok(Some(content))) => content,
            _ => self.last.as_ref().map(|it| it.content.clone()).unwrap_or_default(),
        };
        let has_mirror = !content.spec.node_uid.is_empty();
        let status = self.look(HostOrder::Restore, content).await.filter(|_| has_mirror);
        // Nothing is left to do if the status is not written in time.
        let _ = timeout(LAST_REQUEST, self.report(status)).await;
    }
}

/// Logs a new status.
fn log(status: &NodeMirrorStatus) {
    let NodeMirrorStatus { wanted_revision: wanted, applied_revision: applied, .. } = status;
    let Some(condition) = status.condition(APPLIED) else { return };
    let (reason, message) = (&*condition.reason, &*condition.message);
    let command = status.command.as_deref();
    info!(wanted, applied, reason, message, command, "reporting a new status");
}

/// Returns the result of `work`; `None` if `stop` ends before.
async fn unless<T>(
    stop: &mut (impl Future<Output = ()> + Unpin),
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stop => None,
        done = work => Some(done),
    }
}

/// Returns the time by this machine's clock.
fn now() -> UnixTime {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns a time in RFC 3339.
fn written(time: UnixTime) -> String {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
