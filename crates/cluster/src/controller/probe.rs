//! Asks the API server to ask us.

use image_swap_core::cluster::{
    policy::Probe,
    webhooks::{NOT_REACHED, PROBE_ANNOTATION, PROBE_LABEL, REACHED},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tracing::{debug, warn};

use super::{Controller, Memory};
use crate::api::MANAGER;

/// The name of an outcome in every output.
pub(super) const fn name(probe: Probe) -> &'static str {
    match probe {
        Probe::Reached => "reached",
        Probe::Unreached => "unreached",
        Probe::NobodyThere => "nobody-there",
        Probe::Unknown => "unknown",
    }
}

impl Controller {
    /// Probes once, and takes note; whether the policy changed.
    pub(super) async fn probe(&self, memory: &mut Memory) -> bool {
        let Some(earned) = memory.earned.as_mut() else { return false };
        // Nobody is registered yet.
        if memory.published.ids.is_empty() {
            return false;
        }
        memory.probe = self.probed().await;
        earned.observe(memory.probe).is_some()
    }

    /// Creates, dry, an object that the probe's entry matches. That it was
    /// accepted proves nothing, since an API server that has not yet read the
    /// entry accepts it too: our answer has to show in it.
    async fn probed(&self) -> Probe {
        let release = &self.settings.release;
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": release.probe(),
                "labels": { PROBE_LABEL: release.name },
                "annotations": { PROBE_ANNOTATION: NOT_REACHED },
            },
        });
        let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &release.namespace);
        match maps.patch(&release.probe(), &params, &Patch::Apply(&object)).await {
            Ok(answered) => {
                let annotations = answered.metadata.annotations.unwrap_or_default();
                let reached = annotations.get(PROBE_ANNOTATION).is_some_and(|it| it == REACHED);
                if reached { Probe::Reached } else { Probe::Unknown }
            }
            Err(kube::Error::Api(status)) if is_about_the_webhook(&status.message) => {
                debug!(message = status.message, "the API server does not reach us");
                let there = self.has_endpoints(&release.namespace, &self.settings.service).await;
                match there {
                    Ok(true) => Probe::Unreached,
                    Ok(false) => Probe::NobodyThere,
                    Err(_) => Probe::Unknown,
                }
            }
            Err(error) => {
                warn!(%error, "the probe could not be asked for");
                Probe::Unknown
            }
        }
    }
}

/// The API server's words for a webhook of ours that it could not ask
/// (`failed calling webhook "probe.image-swap.io": …`).
fn is_about_the_webhook(message: &str) -> bool {
    message.contains("failed calling webhook") && message.contains("probe.image-swap.io")
}
