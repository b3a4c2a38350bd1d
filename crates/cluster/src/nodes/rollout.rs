//! A step of the rollout: the decision, the Secret `N-nodes`, and trial pods.

use std::collections::BTreeSet;

use image_swap_core::{
    control::{
        effective::Origin,
        rollout::{RegistryState, RolloutDecision, RolloutInput, decide},
    },
    status::{NodeDeclaration, node_mirror::reason},
};
use tokio::time::Instant;
use tracing::info;

use super::{
    NodeController, RolloutProgress, Wanted,
    declaration::{DeclarationWriter, StoredNodes},
    orders::registry_state,
    report,
    trial::{TrialImage, TrialPods},
    work::{DELETION, NodeWork},
};
use crate::{clock::now, error::Error};

impl NodeController {
    /// Takes the next step of the rollout.
    ///
    /// # Errors
    /// The API server rejects a write.
    pub(super) async fn roll_out(
        &self,
        work: &mut NodeWork,
        wanted: &Wanted,
        stored: &StoredNodes,
        progress: &mut RolloutProgress,
    ) -> Result<(), Error> {
        let Wanted { effective, owner, .. } = wanted;
        let registry = registry_state(wanted.registry.as_ref());
        let for_nodes = effective.for_nodes(self.settings.credentials);
        let before = stored.declaration().clone();
        let is_verified = before
            .verified
            .as_ref()
            .is_some_and(|it| it.effective == for_nodes && it.fallback == self.settings.fallback);
        let image = if is_verified || effective.origin == Origin::None {
            TrialImage::Unknown
        } else {
            let is_refused = matches!(registry, RegistryState::Bad(_));
            work.trials.image(&self.client, &self.settings, effective, is_refused)
        };
        let (decision, decided) = if let Some(ending) = work.ending.take() {
            ending
        } else {
            let nodes = work.rollout_nodes(&before, effective, &image);
            let decision = decide(&RolloutInput {
                wanted: &for_nodes,
                fallback: self.settings.fallback,
                stored: &before,
                reported: work.reported(),
                nodes: &nodes,
                registry,
                has_trial_image: image != TrialImage::Nothing,
                unserved: match &image {
                    TrialImage::Unserved(reason) => Some(reason.clone()),
                    TrialImage::Unknown => Some("the search has not ended".to_owned()),
                    TrialImage::Nothing | TrialImage::Image(_) => None,
                },
            });
            (decision, Instant::now())
        };
        let pods = TrialPods::new(&self.client, &self.release, &self.settings.trial_namespace);
        let has_pods = work.tables.trials.iter().next().is_some();
        if has_pods && ends_trial(&before, &decision) && decided.elapsed() < DELETION {
            // A kubelet repeats a failed pull. Without the mirrors, the node would request the
            // public registry.
            (progress.summary, progress.failed) = (decision.summary.clone(), decision.failed);
            work.ending = Some((decision, decided));
            let none = BTreeSet::new();
            return work.trials.settle(&pods, &work.tables.trials, (None, &none), &image).await;
        }
        let RolloutDecision { declaration, pulls, summary, failed } = decision;
        (progress.summary, progress.failed) = (summary, failed);
        let (client, release) = (&self.client, &self.release);
        let writer = DeclarationWriter { client, release, owner };
        let written = writer.write(stored, &declaration, &mut work.rewrites, now()).await?;
        if let Some(secret) = written {
            info!(number = declaration.last_number(), "wrote the declaration for nodes");
            self.stored.send_modify(|stored| stored.note(Some(secret)));
        }
        if before != declaration {
            let number = |it: &NodeDeclaration| it.verified.as_ref().map(|it| it.number);
            if !is_verified && number(&before) != number(&declaration) {
                let is_proven = image != TrialImage::Nothing;
                work.proof = Some(if is_proven { reason::PULLED } else { reason::NO_TRIAL_IMAGE });
            }
            report::publish(&self.events, &before, &declaration).await;
        }
        let trial = declaration.trial.as_ref();
        let settled = work.trials.settle(&pods, &work.tables.trials, (trial, &pulls), &image).await;
        progress.declaration = declaration;
        settled
    }
}

/// Returns true if `decision` takes a declaration on trial away from its nodes.
fn ends_trial(before: &NodeDeclaration, decision: &RolloutDecision) -> bool {
    let after = &decision.declaration;
    before.trial.as_ref().is_some_and(|trial| {
        let number = trial.revision.number;
        let is_verified = after.verified.as_ref().is_some_and(|it| it.number == number);
        let is_kept = |node: &String| after.for_node(node).is_some_and(|it| it.number == number);
        !is_verified && !trial.nodes.iter().all(is_kept)
    })
}
