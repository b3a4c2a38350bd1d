//! Writes the objects of a workload cluster.

use std::{fmt, time::Duration};

use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{BundleObject, BundlePhase, ObjectValue},
        drift::{Contest, ContestedField, RepairLog},
        repair::RepairDecision,
    },
    labels::{IMAGE_SWAP, REGISTRY_INFO},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    client::{JSON, RefusedRequest, RemoteCluster},
    error::RemoteError,
    objects::{ApplyMode, LiveObject, nodes_secret},
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
    /// Objects that another program changes or deletes again and again. They are repaired later.
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
    /// Fields that were changed, and the managers that changed them. At most eight. Empty for an
    /// object that was deleted.
    pub fields: Vec<ContestedField>,
}

/// Object that another writer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestedObject {
    /// Kind, namespace and name.
    pub object: String,
    /// Fields, and the managers that hold them. At most eight. Empty for an object of another Helm
    /// release, and for one that was deleted.
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

    /// Returns the fields of `object` that `decision` permits to repair. Records another decision, and
    /// returns `None`.
    pub(super) fn permits(
        &mut self,
        object: &BundleObject,
        decision: RepairDecision,
    ) -> Option<Vec<ContestedField>> {
        let (contested, fields, wait) = match decision {
            RepairDecision::Repair(fields) => return Some(fields),
            RepairDecision::Later(fields, wait) => (&mut self.limited, fields, Some(wait)),
            RepairDecision::Conflict(fields) => (&mut self.conflicts, fields, None),
        };
        contested.push(ContestedObject { object: object.to_string(), fields, wait });
        None
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
                // Boxed: an allocation of more than a KiB is slow.
                match Box::pin(self.write(object, objects, &mut report, log, now)).await {
                    Err(error) if error.ends_requests() => return Err(error),
                    Err(error) => {
                        report.failures.push(ObjectFailure { object: object.to_string(), error });
                    }
                    Ok(()) => {}
                }
            }
            for definition in in_phase().filter(|it| it.kind == "CustomResourceDefinition") {
                if report.problems() == 0 {
                    Box::pin(self.await_established(definition, &mut report)).await?;
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
            report.permits(object, RepairDecision::Conflict(Vec::new()));
            return Ok(());
        }
        if is_anchor(object) && live.as_ref().is_some_and(LiveObject::is_leaving) {
            Box::pin(self.end_removal(objects, log)).await?;
        }
        let value = value_to_apply(object, live.as_ref());
        let name = object.to_string();
        let is_lost = log.in_force.has_lost(object, live.as_ref().map(LiveObject::own_fields));
        if is_lost && let Some(wait) = log.wait(&name, now) {
            return Box::pin(self.hold((object, value), live.is_some(), wait, report)).await;
        }
        let before = live.as_ref().map(|it| it.metadata.resource_version.as_str());
        let written = match self.apply_object(object, value, ApplyMode::Plain).await? {
            Ok(written) => {
                let is_changed = before != Some(&*written.metadata.resource_version);
                if is_lost && is_changed && log.begin(&name, now).is_ok() {
                    let fields = lost_fields(before.is_some());
                    report.repaired.push(RepairedObject { object: name, fields });
                }
                written
            }
            Err(refused) => {
                let decision = RepairDecision::of(contest(&refused, value)?, &name, log, now);
                let Some(fields) = report.permits(object, decision) else { return Ok(()) };
                let overwritten = Box::pin(self.overwrite(object, value, live.as_ref())).await?;
                let Some(written) = overwritten else {
                    // An `Apply` manager may have changed the object: compare it again.
                    return Box::pin(self.write(object, objects, report, log, now)).await;
                };
                report.repaired.push(RepairedObject { object: name, fields });
                written
            }
        };
        log.in_force.record(object, written.own_fields());
        if before != Some(&*written.metadata.resource_version) {
            report.written += 1;
        }
        Ok(())
    }

    /// Applies `value` to `object`, and takes its fields from other managers. Returns `None` if another
    /// writer has changed the object since `live` was read.
    ///
    /// # Errors
    /// The API server refuses it for another reason, or does not respond.
    async fn overwrite(
        &self,
        object: &BundleObject,
        value: &ObjectValue,
        live: Option<&LiveObject>,
    ) -> Result<Option<LiveObject>, RemoteError> {
        let Some(live) = live else { return Ok(None) };
        let mut value = value.clone();
        value["metadata"]["resourceVersion"] = live.metadata.resource_version.as_str().into();
        match self.apply_object(object, &value, ApplyMode::Forced).await? {
            Ok(written) => Ok(Some(written)),
            Err(refused) if refused.code == 409 => Ok(None),
            Err(refused) => Err(RemoteError::of_code(refused.code)),
        }
    }

    /// Records that another program deletes `object` or its fields again and again, and that it stays
    /// as it is for `wait` seconds. Other managers may hold further fields of an object that
    /// `exists`.
    ///
    /// # Errors
    /// The API server refuses the object for another reason than other managers.
    async fn hold(
        &self,
        (object, value): (&BundleObject, &ObjectValue),
        exists: bool,
        wait: UnixTime,
        report: &mut ApplyReport,
    ) -> Result<(), RemoteError> {
        let mut decision = RepairDecision::Later(lost_fields(exists), wait);
        if exists && let Err(refused) = self.apply_object(object, value, ApplyMode::Trial).await? {
            decision = match contest(&refused, value)? {
                Contest::Drift(fields) => RepairDecision::Later(fields, wait),
                Contest::Conflict(fields) => RepairDecision::Conflict(fields),
            };
        }
        report.permits(object, decision);
        Ok(())
    }

    /// Ends a removal that was given up: deletes the Secret by which agents restore their nodes, and
    /// the controller, which does not write that Secret again until it restarts.
    async fn end_removal(
        &self,
        objects: &[BundleObject],
        log: &mut RepairLog,
    ) -> Result<(), RemoteError> {
        let is_controller = |it: &&BundleObject| it.kind == "Deployment" && it.name == CONTROLLER;
        let Some(controller) = objects.iter().find(is_controller) else { return Ok(()) };
        let nodes = nodes_secret(controller.namespace.as_deref().unwrap_or_default());
        log.in_force.forget(controller);
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

/// Returns the contest in the status of a refused apply of `value`.
///
/// # Errors
/// The API server refuses the apply for another reason than other managers.
fn contest(refused: &RefusedRequest, value: &Value) -> Result<Contest, RemoteError> {
    let contest = || {
        let status = serde_json::from_slice(&refused.status).ok()?;
        Some(Contest::of(&status)?.about(value))
    };
    let contest = (refused.code == 409).then(contest).flatten();
    contest.ok_or_else(|| RemoteError::of_code(refused.code))
}

/// Returns the fields to report for an object that lost some; empty unless the object `exists`.
fn lost_fields(exists: bool) -> Vec<ContestedField> {
    exists.then(ContestedField::unknown).into_iter().collect()
}

/// Returns the content to apply: of a namespace, or of the Secret with the declaration, with the mark
/// that the fleet controller created it, unless another program did.
fn value_to_apply<'o>(object: &'o BundleObject, live: Option<&LiveObject>) -> &'o ObjectValue {
    let is_created = live.is_none_or(LiveObject::is_created_by_fleet);
    if is_created && (object.kind == "Namespace" || is_declaration(object)) {
        object.value.created()
    } else {
        &object.value
    }
}

/// Returns true if `object` is the Secret with the declaration.
pub(super) fn is_declaration(object: &BundleObject) -> bool {
    object.kind == "Secret" && object.name == REGISTRY_INFO
}

fn is_anchor(object: &BundleObject) -> bool {
    object.kind == "ClusterRole" && object.name == IMAGE_SWAP
}
