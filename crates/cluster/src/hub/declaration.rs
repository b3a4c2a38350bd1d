//! The copy of the declaration on the management cluster, and its changes.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use hyper::Method;
use image_swap_core::{
    fleet::{drift::RepairLog, pull::DeclarationCopy},
    labels::REVISION,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::WatchParams, core::WatchEvent};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    HubPull, HubSession, PATIENCE,
    problem::{self, HubTask},
};
use crate::{
    error::Error,
    remote::{RemoteError, RemoteRequest, client::JSON},
    secret::{annotation, text},
};

/// Age in seconds at which a watch is renewed, so that a broken connection is noticed.
const WATCH: u32 = 60;
/// Pause after a watch failed.
const PAUSE: Duration = Duration::from_secs(1);

/// State of the copy after it was read.
struct ReadCopy {
    /// Version of the Secret.
    version: String,
    /// Reason why it is not in `registry-info`; `None` if it is.
    problem: Option<String>,
}

impl HubPull<'_> {
    /// Writes each declaration to `registry-info`, and compares both in intervals. Never returns.
    pub(super) async fn follow_declaration(
        &self,
        session: &HubSession,
        note: &impl Fn(HubTask, Option<String>),
    ) {
        let mut backoff = self.backoff();
        let mut log = RepairLog::default();
        loop {
            match self.take_declaration(session, &mut log).await {
                Ok(ReadCopy { version, problem }) => {
                    backoff.reset();
                    note(HubTask::Declaration, problem);
                    self.await_change(session, &version).await;
                }
                Err(problem) => {
                    note(HubTask::Declaration, Some(problem));
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Reads the copy of the declaration, and writes `registry-info` if it differs. An invalid copy
    /// changes nothing.
    ///
    /// # Errors
    /// Returns the reason if the copy cannot be read.
    async fn take_declaration(
        &self,
        session: &HubSession,
        log: &mut RepairLog,
    ) -> Result<ReadCopy, String> {
        let found = read(session).await.map_err(problem::remote)?;
        let version = found.metadata.resource_version.clone().unwrap_or_default();
        let copy = DeclarationCopy::read(|key| text(&found, key), annotation(&found, REVISION));
        let problem = match copy {
            // The fleet controller has not assigned a declaration yet.
            Ok(None) => None,
            Ok(Some(copy)) => {
                let written = timeout(PATIENCE, self.write(&copy, log)).await;
                written.unwrap_or_else(|_| Err(Error::Late(PATIENCE.as_secs()).to_string())).err()
            }
            Err(error) => Some(error.to_string()),
        };
        Ok(ReadCopy { version, problem })
    }

    /// Waits until the copy has another version than `version`, until its watch fails, or until the
    /// next comparison.
    async fn await_change(&self, session: &HubSession, version: &str) {
        let HubSession { remote, access } = session;
        let secrets: Api<Secret> = Api::namespaced(remote.client(), &access.namespace);
        let only = format!("metadata.name={}", access.declaration);
        let params = WatchParams::default().fields(&only).timeout(WATCH);
        let end = Instant::now() + self.interval;
        let watch = async {
            loop {
                let Ok(events) = secrets.watch_metadata(&params, version).await else { break };
                let mut events = pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(WatchEvent::Bookmark(_)) => {}
                        Ok(WatchEvent::Added(found) | WatchEvent::Modified(found))
                            if found.metadata.resource_version.as_deref() == Some(version) => {}
                        Ok(WatchEvent::Added(_) | WatchEvent::Modified(_)) => return,
                        Ok(WatchEvent::Deleted(_) | WatchEvent::Error(_)) | Err(_) => {
                            return sleep(PAUSE).await;
                        }
                    }
                }
            }
            sleep(PAUSE).await;
        };
        // The end of the interval is no failure.
        let _ = timeout_at(end, watch).await;
    }
}

/// Reads the copy.
async fn read(session: &HubSession) -> Result<Secret, RemoteError> {
    let HubSession { remote, access } = session;
    let path = format!("/api/v1/namespaces/{}/secrets/{}", access.namespace, access.declaration);
    let request = RemoteRequest { method: Method::GET, path: &path, accept: JSON, body: None };
    let found = remote.send_within(request, remote.limits().response).await?;
    found.map_err(|refused| RemoteError::of_code(refused.code))
}
