//! Writes `registry-info`, and handles its other writers by the rules of the fleet controller.

use std::collections::BTreeMap;

use image_swap_core::{
    fleet::{
        bundle::{BundleObject, CREATED_BY, FLEET_MANAGER},
        drift::{Contest, ContestedField, HELM_RELEASE, RepairLog},
        pull::{DeclarationCopy, PresentDeclaration},
        repair::{AddedValues, DeclarationWriters, RepairDecision, is_other_apply},
    },
    labels::{JET_SYSTEM, REGISTRY_INFO, REVISION},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::Value;
use tracing::info;

use super::HubPull;
use crate::{
    api,
    error::{code, reason},
    secret::{annotation, declared},
};

/// Number of attempts while other writers change the Secret.
const ATTEMPTS: usize = 3;

impl HubPull<'_> {
    /// Writes `registry-info` if it differs from `copy`.
    ///
    /// # Errors
    /// Returns the reason why `registry-info` differs.
    pub(super) async fn write(
        &self,
        copy: &DeclarationCopy,
        log: &mut RepairLog,
    ) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            if self.attempt(copy, log).await? {
                return Ok(());
            }
        }
        Err(format!("cannot write {REGISTRY_INFO}: other writers change it at the same time"))
    }

    /// Writes `registry-info` if it differs from `copy`. Returns false if another writer changed the
    /// Secret after it was read.
    ///
    /// # Errors
    /// Returns the reason why `registry-info` differs.
    async fn attempt(&self, copy: &DeclarationCopy, log: &mut RepairLog) -> Result<bool, String> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), JET_SYSTEM);
        let present = api::get(&secrets, REGISTRY_INFO).await.map_err(|error| error.to_string())?;
        if present.as_ref().is_some_and(is_of_helm) {
            return permitted(RepairDecision::Conflict(Vec::new())).map(|()| true);
        }
        let Some(object) = copy.registry_info(present.as_ref().map(declaration).as_ref()) else {
            return Ok(true);
        };
        let before = present.as_ref().and_then(|it| it.metadata.resource_version.as_deref());
        let written = match apply(&secrets, &object.value, false).await {
            Ok(written) => written,
            Err(error) => {
                let contest = contest(&error).ok_or_else(|| refused(&error))?;
                // Another writer has just created it.
                let Some(version) = before else { return Ok(false) };
                let contest = contest.about(&object.value);
                let name = object.to_string();
                permitted(RepairDecision::of(contest, &name, log, (self.clock)()))?;
                match force(&secrets, &object, version).await? {
                    Some(written) => written,
                    None => return Ok(false),
                }
            }
        };
        if written.metadata.resource_version.as_deref() != before {
            info!(revision = copy.revision, "wrote the declaration of the management cluster");
        }
        self.remove_added(&secrets, &object, &written, log).await
    }

    /// Removes the values of `written` that `object` lacks. Returns false if another writer changed
    /// the Secret after it was written.
    ///
    /// # Errors
    /// Returns the reason why the values stay.
    async fn remove_added(
        &self,
        secrets: &Api<Secret>,
        object: &BundleObject,
        written: &Secret,
        log: &mut RepairLog,
    ) -> Result<bool, String> {
        let writers = DeclarationWriters {
            is_of_helm: is_of_helm(written),
            is_created_by_fleet: is_created_by_fleet(written),
            other_apply: other_apply(written),
            version: written.metadata.resource_version.as_deref().unwrap_or_default(),
        };
        let keys = written.data.iter().flat_map(BTreeMap::keys).map(String::as_str);
        let added = AddedValues::of(object, keys, &writers, log, (self.clock)());
        let Some(AddedValues { decision, removal }) = added else { return Ok(true) };
        permitted(decision)?;
        let params =
            PatchParams { field_manager: Some(FLEET_MANAGER.to_owned()), ..PatchParams::default() };
        match secrets.patch(REGISTRY_INFO, &params, &Patch::Merge(removal)).await {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(409) => Ok(false),
            Err(error) => Err(refused(&error)),
        }
    }
}

/// Returns Ok if a repair is permitted now.
///
/// # Errors
/// Returns the reason why `registry-info` stays as it is.
fn permitted(decision: RepairDecision) -> Result<(), String> {
    let names = |fields: &[ContestedField]| {
        let all = fields.iter().map(|it| format!("{} by {}", it.field, it.manager));
        all.collect::<Vec<_>>().join(", ")
    };
    match decision {
        RepairDecision::Repair(_) => Ok(()),
        RepairDecision::Later(fields, _) => Err(format!(
            "another writer changes {REGISTRY_INFO} again and again: {}",
            names(&fields)
        )),
        RepairDecision::Conflict(fields) if fields.is_empty() => Err(format!(
            "{REGISTRY_INFO} belongs to a Helm release, and stays as it is; remove it from that \
             release"
        )),
        RepairDecision::Conflict(fields) => Err(format!(
            "another writer holds fields of {REGISTRY_INFO}: {}; remove them from that writer",
            names(&fields)
        )),
    }
}

fn declaration(secret: &Secret) -> PresentDeclaration {
    PresentDeclaration {
        secret: declared(secret),
        revision: annotation(secret, REVISION).map(str::to_owned),
        is_created_by_fleet: is_created_by_fleet(secret),
    }
}

fn is_of_helm(secret: &Secret) -> bool {
    annotation(secret, HELM_RELEASE).is_some()
}

fn is_created_by_fleet(secret: &Secret) -> bool {
    annotation(secret, CREATED_BY) == Some(FLEET_MANAGER)
}

/// Returns the name of another manager that applies fields of `secret`; `None` without one.
fn other_apply(secret: &Secret) -> Option<&str> {
    let mut managers = secret.metadata.managed_fields.iter().flatten();
    managers.find_map(|it| {
        let manager = it.manager.as_deref().unwrap_or_default();
        let operation = it.operation.as_deref().unwrap_or_default();
        let subresource = it.subresource.as_deref().unwrap_or_default();
        is_other_apply(manager, operation, subresource).then_some(manager)
    })
}

async fn apply(
    secrets: &Api<Secret>,
    object: &Value,
    is_forced: bool,
) -> Result<Secret, kube::Error> {
    let params = PatchParams { force: is_forced, ..PatchParams::apply(FLEET_MANAGER) };
    secrets.patch(REGISTRY_INFO, &params, &Patch::Apply(object)).await
}

/// Applies `object`, including fields of other managers, if the Secret still has the version
/// `version`. Returns `None` if the Secret has another version.
///
/// # Errors
/// Returns the reason of another refusal.
async fn force(
    secrets: &Api<Secret>,
    object: &BundleObject,
    version: &str,
) -> Result<Option<Secret>, String> {
    let mut value = object.value.clone();
    value["metadata"]["resourceVersion"] = version.into();
    match apply(secrets, &value, true).await {
        Ok(written) => Ok(Some(written)),
        Err(error) if code(&error) == Some(409) => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &kube::Error) -> String {
    format!("cannot write {REGISTRY_INFO}: {}", reason(error))
}

/// Returns the fields for which the API server refused an apply; `None` if it refused the apply for
/// another reason.
fn contest(error: &kube::Error) -> Option<Contest> {
    let kube::Error::Api(status) = error else { return None };
    let status = serde_json::to_value(status).ok().filter(|_| status.code == 409)?;
    Contest::of(&serde_json::from_value(status).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_apply_manager_is_named() {
        let found = |entries: Value| {
            let secret = json!({ "metadata": { "managedFields": entries } });
            let secret: Secret = serde_json::from_value(secret).unwrap();
            other_apply(&secret).map(str::to_owned)
        };
        let entry =
            |manager: &str, operation: &str| json!({ "manager": manager, "operation": operation });
        assert_eq!(found(json!([])), None);
        let own = [entry(FLEET_MANAGER, "Apply"), entry("kubectl-edit", "Update")];
        assert_eq!(found(json!(own)), None);
        let flux = [entry(FLEET_MANAGER, "Apply"), entry("flux", "Apply")];
        assert_eq!(found(json!(flux)).as_deref(), Some("flux"));
    }

    #[test]
    fn every_refusal_has_its_remedy() {
        let field = ContestedField { field: ".data.DOMAIN".into(), manager: "flux".into() };
        assert_eq!(permitted(RepairDecision::Repair(vec![field.clone()])), Ok(()));
        for (decision, expected) in [
            (
                RepairDecision::Later(vec![field.clone()], 9),
                "again and again: .data.DOMAIN by flux",
            ),
            (RepairDecision::Conflict(vec![field]), ".data.DOMAIN by flux; remove them from"),
            (RepairDecision::Conflict(Vec::new()), "remove it from that release"),
        ] {
            let reason = permitted(decision).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
