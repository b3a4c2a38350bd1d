//! The pull of the declaration from a management cluster that cannot reach this cluster.
//!
//! The Secret of an enrolment has the access: one Secret with the declaration, one Lease for the
//! heartbeat, and the next token. Without access the last declaration stays.
//!
//! - `declaration` follows the declaration.
//! - `registry_info` writes it, in spite of other writers.
//! - `beat` renews the Lease.
//! - `token` renews the token.
//! - `problem` has the reasons why one of them fails.

mod beat;
mod declaration;
mod problem;
mod registry_info;
mod token;

use std::{future::pending, sync::Arc, time::Duration};

use image_swap_core::{declaration::UnixTime, fleet::pull::HubAccess, status::ControllerReport};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};

use self::problem::{HubProblems, HubTask};
use crate::{
    backoff::AttemptBackoff,
    error::watch_reason,
    object_watch,
    release::Release,
    remote::{RemoteClient, RemoteLimits},
    report::send_new,
    secret::text,
};

/// Deadline of a request to this cluster.
const PATIENCE: Duration = Duration::from_secs(20);

/// Access in the Secret of the enrolment, or the reason why it is unusable.
type FoundAccess = Result<HubAccess, String>;

/// The pull of the declaration, while its controller leads.
pub(crate) struct HubPull<'c> {
    pub(crate) client: Client,
    pub(crate) release: Release,
    /// Secret with the access, in the namespace of the release.
    pub(crate) secret: String,
    /// Service of the admission replicas.
    pub(crate) service: String,
    /// Holder of the Lease.
    pub(crate) identity: String,
    pub(crate) report: watch::Receiver<ControllerReport>,
    /// Number of running pods with an image that no mirror serves; `None` if it is not known.
    pub(crate) pods: watch::Receiver<Option<u32>>,
    /// Reason why the pull fails; `None` if it does not.
    pub(crate) obstacle: watch::Sender<Option<String>>,
    /// Notifies the reconcile loop of a change.
    pub(crate) changed: Arc<Notify>,
    pub(crate) clock: &'c (dyn Fn() -> UnixTime + Send + Sync),
    /// Interval between two heartbeats, and between two comparisons of `registry-info`.
    pub(crate) interval: Duration,
    /// Shortest interval between two heartbeats.
    pub(crate) gap: Duration,
    /// First and longest pause after a failure.
    pub(crate) pauses: (Duration, Duration),
}

/// Access that is in use.
struct HubSession {
    remote: RemoteClient,
    access: HubAccess,
}

impl HubPull<'_> {
    /// Pulls the declaration by the access that the Secret has. Never returns.
    pub(crate) async fn run(self) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.release.namespace);
        let (sender, receiver) = watch::channel(None::<FoundAccess>);
        let name = &self.secret;
        let take = |found: Result<Option<Secret>, _>| match found {
            Ok(Some(found)) => {
                let access = HubAccess::read(|key| text(&found, key));
                send_new(&sender, Some(access.map_err(|error| error.to_string())));
            }
            Ok(None) => {
                let reason = format!(
                    "the Secret {name} does not exist; enroll this cluster on the management \
                     cluster, and apply the manifest here"
                );
                send_new(&sender, Some(Err(reason)));
            }
            Err(error) => {
                let reason =
                    || Err(format!("cannot watch the Secret {name}: {}", watch_reason(&error)));
                // A known access stays in use.
                sender.send_if_modified(|known| {
                    let is_new = known.is_none();
                    known.get_or_insert_with(reason);
                    is_new
                });
            }
        };
        tokio::select! {
            () = object_watch::follow(secrets, name, take) => {}
            () = self.pull(receiver) => {}
        }
    }

    /// Pulls by the access that the Secret has now, and begins again when it changes. Never
    /// returns.
    async fn pull(&self, mut found: watch::Receiver<Option<FoundAccess>>) {
        loop {
            let access = found.borrow_and_update().clone();
            tokio::select! {
                () = self.pull_by(access) => {}
                changed = found.changed() => {
                    if changed.is_err() {
                        return pending().await;
                    }
                }
            }
        }
    }

    /// Pulls by `access`; `None` before it is read. Never returns.
    async fn pull_by(&self, access: Option<FoundAccess>) {
        let Some(access) = access else { return pending().await };
        match access.and_then(connect) {
            Ok(session) => self.work(&session).await,
            Err(reason) => {
                self.publish(&HubProblems::of(HubTask::Access, reason));
                pending::<()>().await;
            }
        }
    }

    /// Runs the tasks of a session. Never returns.
    async fn work(&self, session: &HubSession) {
        let problems = watch::Sender::new(HubProblems::default());
        let note = |task: HubTask, problem: Option<String>| {
            problems.send_if_modified(|all| all.set(task, problem));
            self.publish(&problems.borrow());
        };
        tokio::join!(
            self.follow_declaration(session, &note),
            self.renew_heartbeat(session, &note),
            self.renew_token(session, &note),
        );
    }

    /// Reports the problems to the reconcile loop.
    fn publish(&self, problems: &HubProblems) {
        if send_new(&self.obstacle, problems.message()) {
            self.changed.notify_one();
        }
    }

    fn backoff(&self) -> AttemptBackoff {
        AttemptBackoff::new(self.pauses.0, self.pauses.1)
    }
}

/// Returns a session by `access`.
///
/// # Errors
/// Returns the reason if it is unusable.
fn connect(access: HubAccess) -> Result<HubSession, String> {
    let remote = RemoteClient::connect(&access.remote, &RemoteLimits::default());
    remote.map(|remote| HubSession { remote, access }).map_err(problem::remote)
}
