//! The declaration of the management cluster in `registry-info`.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use hyper::Method;
use image_swap_core::{
    fleet::{
        bundle::{BundleObject, FLEET_MANAGER},
        drift::{Contest, ContestedField, RepairLog},
        pull::DeclarationCopy,
    },
    labels::{JET_SYSTEM, REGISTRY_INFO, REVISION},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams, WatchParams},
    core::WatchEvent,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::info;

use super::{
    HubPull, HubSession, PATIENCE,
    problem::{self, HubTask},
};
use crate::{
    api,
    error::Error,
    remote::{RemoteError, RemoteRequest, client::JSON},
    secret::{annotation, declared, text},
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

    /// Writes `registry-info` if it differs from `copy`.
    async fn write(&self, copy: &DeclarationCopy, log: &mut RepairLog) -> Result<(), String> {
        let words = |error: Error| error.to_string();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), JET_SYSTEM);
        let present = api::get(&secrets, REGISTRY_INFO).await.map_err(words)?;
        let data = present.as_ref().map(declared);
        let revision = present.as_ref().and_then(|it| annotation(it, REVISION));
        let Some(object) = copy.registry_info(data.as_ref().map(|it| (it, revision))) else {
            return Ok(());
        };
        let written = match apply(&secrets, &object, false).await {
            Err(error) => {
                self.repairable(&error, log)?;
                apply(&secrets, &object, true).await.map_err(refused)?
            }
            Ok(written) => written,
        };
        remove_foreign(&secrets, &object, &written).await.map_err(words)?;
        info!(revision = copy.revision, "wrote the declaration of the management cluster");
        Ok(())
    }

    /// Returns Ok if the fields that another writer changed may be written again.
    ///
    /// # Errors
    /// Returns the reason why `registry-info` stays as it is.
    fn repairable(&self, error: &kube::Error, log: &mut RepairLog) -> Result<(), String> {
        let names = |fields: &[ContestedField]| {
            let all = fields.iter().map(|it| format!("{} by {}", it.field, it.manager));
            all.collect::<Vec<_>>().join(", ")
        };
        match contest(error) {
            None => Err(format!("cannot write {REGISTRY_INFO}: {}", crate::error::reason(error))),
            Some(Contest::Conflict(fields)) => Err(format!(
                "another writer holds fields of {REGISTRY_INFO}: {}; remove them from that writer",
                names(&fields)
            )),
            Some(Contest::Drift(fields)) => {
                log.begin(REGISTRY_INFO, (self.clock)()).map_err(|_| {
                    format!(
                        "another writer changes {REGISTRY_INFO} again and again: {}",
                        names(&fields)
                    )
                })
            }
        }
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

async fn apply(
    secrets: &Api<Secret>,
    object: &BundleObject,
    force: bool,
) -> Result<Secret, kube::Error> {
    let params = PatchParams { force, ..PatchParams::apply(FLEET_MANAGER) };
    secrets.patch(REGISTRY_INFO, &params, &Patch::Apply(&object.value)).await
}

/// Removes the keys of `written` that `object` lacks: an apply keeps keys of other writers.
async fn remove_foreign(
    secrets: &Api<Secret>,
    object: &BundleObject,
    written: &Secret,
) -> Result<(), Error> {
    let keys = written.data.iter().flat_map(|data| data.keys().map(String::as_str));
    let foreign: Map<String, Value> = object.without_added(keys).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let patch = json!({ "data": foreign });
    let params =
        PatchParams { field_manager: Some(FLEET_MANAGER.to_owned()), ..PatchParams::default() };
    let changed = secrets.patch(REGISTRY_INFO, &params, &Patch::Merge(patch)).await;
    changed.map(drop).map_err(Error::api(format!("change {REGISTRY_INFO}")))
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn refused(error: kube::Error) -> String {
    format!("cannot write {REGISTRY_INFO}: {}", crate::error::reason(&error))
}

/// Returns the fields for which the API server refused an apply; `None` if it refused the apply for
/// another reason.
fn contest(error: &kube::Error) -> Option<Contest> {
    let kube::Error::Api(status) = error else { return None };
    let status = serde_json::to_value(status).ok().filter(|_| status.code == 409)?;
    Contest::of(&serde_json::from_value(status).ok()?)
}
