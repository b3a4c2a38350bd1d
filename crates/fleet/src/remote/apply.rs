//! Writes the objects of a workload cluster.

use std::{fmt, time::Duration};

use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{BundleObject, BundlePhase},
        drift::{Contest, ContestedField, RepairLog},
    },
    labels::{IMAGE_SWAP, REGISTRY_INFO},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    client::{JSON, RefusedRequest, RemoteCluster},
    error::RemoteError,
    objects::{LiveObject, nodes_secret},
};

/// Pause between two looks at a custom resource that is not served yet.
const LOOK: Duration = Duration::from_millis(100);

/// Name of the controller's Deployment.
const CONTROLLER: &str = "image-swap-controller";

/// Result of an apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Number of objects that changed.
    pub written: usize,
    /// Objects whose drift was repaired.
    pub repaired: Vec<RepairedObject>,
    /// Objects that other managers hold. They stay as they are.
    pub conflicts: Vec<ContestedObject>,
    /// Objects that an `Update` manager changes again and again. They are repaired later.
    pub limited: Vec<ContestedObject>,
    /// Objects that the API server refuses.
    pub failures: Vec<ObjectFailure>,
    /// Last phase of which all objects are in force; `None` if the first one is not.
    pub reached: Option<BundlePhase>,
    /// Objects of former bundles that were deleted: kind, namespace and name.
    pub pruned: Vec<String>,
    /// Number of nodes that are not restored, so that former agents stay.
    pub restoring: usize,
}

/// Object whose drift was repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedObject {
    /// Kind, namespace and name.
    pub object: String,
    /// Fields that were changed, and the managers that changed them. At most eight.
    pub fields: Vec<ContestedField>,
}

/// Object that another writer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestedObject {
    /// Kind, namespace and name.
    pub object: String,
    /// Fields, and the managers that hold them. At most eight. Empty for an object of another Helm
    /// release.
    pub fields: Vec<ContestedField>,
    /// Seconds until the next repair; `None` for a conflict, which is never repaired.
    pub wait: Option<UnixTime>,
}

/// Object that the API server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFailure {
    /// Kind, namespace and name.
    pub object: String,
    /// Reason.
    pub error: RemoteError,
}

impl fmt::Display for ObjectFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.object, self.error)
    }
}

impl ApplyReport {
    /// Returns true if all objects are in force.
    pub fn is_complete(&self) -> bool {
        self.reached == Some(BundlePhase::Webhook)
    }

    fn problems(&self) -> usize {
        self.conflicts.len() + self.limited.len() + self.failures.len()
    }
}

/// Conditions of a custom resource.
#[derive(Default, Deserialize)]
struct Definition {
    #[serde(default)]
    status: DefinitionStatus,
}

#[derive(Default, Deserialize)]
struct DefinitionStatus {
    #[serde(default)]
    conditions: Vec<DefinitionCondition>,
}

#[derive(Deserialize)]
struct DefinitionCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl RemoteCluster {
    /// Writes `objects`, phase by phase, by server-side apply. A phase begins when all objects of
    /// the one before are in force. An object that is refused does not stop others of its phase.
    ///
    /// Drift is repaired as far as `log` allows it at `now`. Conflicts are reported.
    ///
    /// # Errors
    /// The cluster does not respond, refuses the credential, or requests a pause (429, 503). Objects
    /// may have been written before.
    pub async fn apply(
        &self,
        objects: &[BundleObject],
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Result<ApplyReport, RemoteError> {
        let mut report = ApplyReport::default();
        for phase in BundlePhase::ALL {
            let in_phase = || objects.iter().filter(|it| it.phase == phase);
            for object in in_phase() {
                match self.write(object, objects, &mut report, log, now).await {
                    Err(error) if error.ends_requests() => return Err(error),
                    Err(error) => {
                        report.failures.push(ObjectFailure { object: object.to_string(), error });
                    }
                    Ok(()) => {}
                }
            }
            for definition in in_phase().filter(|it| it.kind == "CustomResourceDefinition") {
                if report.problems() == 0 {
                    self.await_established(definition, &mut report).await?;
                }
            }
            if report.problems() > 0 {
                break;
            }
            report.reached = Some(phase);
        }
        Ok(report)
    }

    /// Writes `object`, one of `objects`, and records the result in `report`.
    ///
    /// # Errors
    /// The API server refuses it for another reason than other managers.
    async fn write(
        &self,
        object: &BundleObject,
        objects: &[BundleObject],
        report: &mut ApplyReport,
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Result<(), RemoteError> {
        let live = self.live(object).await?;
        if live.as_ref().is_some_and(LiveObject::is_of_helm) {
            let object = object.to_string();
            report.conflicts.push(ContestedObject { object, fields: Vec::new(), wait: None });
            return Ok(());
        }
        if is_anchor(object) && live.as_ref().is_some_and(LiveObject::is_leaving) {
            self.end_removal(objects).await?;
        }
        let marked = marked(object, live.as_ref());
        let value = marked.as_ref().unwrap_or(&object.value);
        let written = match self.apply_object(object, value, false).await? {
            Ok(written) => written,
            Err(refused) => match contest(&refused, value) {
                Some(Contest::Conflict(fields)) => {
                    let object = object.to_string();
                    report.conflicts.push(ContestedObject { object, fields, wait: None });
                    return Ok(());
                }
                Some(Contest::Drift(fields)) => {
                    let name = object.to_string();
                    if let Err(wait) = log.begin(&name, now) {
                        let wait = Some(wait);
                        report.limited.push(ContestedObject { object: name, fields, wait });
                        return Ok(());
                    }
                    let written = self.apply_object(object, value, true).await?;
                    let written = written.map_err(|it| RemoteError::of_code(it.code))?;
                    report.repaired.push(RepairedObject { object: name, fields });
                    written
                }
                None => return Err(RemoteError::of_code(refused.code)),
            },
        };
        let before = live.map(|it| it.metadata.resource_version);
        if before.is_none_or(|before| before != written.metadata.resource_version) {
            report.written += 1;
        }
        Ok(())
    }

    /// Ends a removal that was given up: deletes the Secret by which agents restore their nodes, and
    /// the controller, which does not write that Secret again until it restarts.
    async fn end_removal(&self, objects: &[BundleObject]) -> Result<(), RemoteError> {
        let is_controller = |it: &&BundleObject| it.kind == "Deployment" && it.name == CONTROLLER;
        let Some(controller) = objects.iter().find(is_controller) else { return Ok(()) };
        let nodes = nodes_secret(controller.namespace.as_deref().unwrap_or_default());
        for object in [&nodes, controller] {
            if let Some(live) = self.live(object).await? {
                self.delete_object(object, &live.metadata.uid).await?;
            }
        }
        Ok(())
    }

    /// Waits until the API server serves the custom resource `definition`.
    ///
    /// # Errors
    /// The cluster does not respond.
    async fn await_established(
        &self,
        definition: &BundleObject,
        report: &mut ApplyReport,
    ) -> Result<(), RemoteError> {
        let end = Instant::now() + self.limits().request;
        loop {
            let found: Option<Definition> = self.read(&definition.path(), JSON).await?;
            if found.unwrap_or_default().is_established() {
                return Ok(());
            }
            if Instant::now() >= end {
                let object = definition.to_string();
                report.failures.push(ObjectFailure { object, error: RemoteError::TimedOut });
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }
}

impl Definition {
    /// Returns true if the API server serves the custom resource.
    fn is_established(&self) -> bool {
        self.status.conditions.iter().any(|it| it.kind == "Established" && it.status == "True")
    }
}

/// Returns the contest in the status of a refused apply of `value`; `None` for another refusal.
fn contest(refused: &RefusedRequest, value: &Value) -> Option<Contest> {
    if refused.code != 409 {
        return None;
    }
    let contest = Contest::of(&serde_json::from_slice(&refused.status).ok()?)?;
    Some(contest.about(value))
}

/// Returns a namespace, or the Secret with the declaration, with the mark that the fleet controller
/// created it; `None` for other objects, and for one that another program created.
fn marked(object: &BundleObject, live: Option<&LiveObject>) -> Option<Value> {
    let is_created = live.is_none_or(LiveObject::is_created_by_fleet);
    if !is_created || !(object.kind == "Namespace" || is_declaration(object)) {
        return None;
    }
    let mut object = object.clone();
    object.mark_created();
    Some(object.value)
}

/// Returns true if `object` is the Secret with the declaration.
pub(super) fn is_declaration(object: &BundleObject) -> bool {
    object.kind == "Secret" && object.name == REGISTRY_INFO
}

fn is_anchor(object: &BundleObject) -> bool {
    object.kind == "ClusterRole" && object.name == IMAGE_SWAP
}
