//! What becomes of pods while something breaks. `docs/reliability.md` has a line
//! for each.

mod api_server;
mod certificates;
mod controllers;
mod cut;
mod declaration;
mod nobody;
mod replicas;
mod rotation;

use std::sync::Arc;

use image_swap_cluster::Following;
use image_swap_core::cluster::policy::Policy;
use image_swap_testbed::Options;

use crate::{
    replica::Replica,
    stage::{JET_SECRETS, Running, Stage, keys, settings, until},
};

/// The registry that pods are swapped to.
const REGISTRY: &str = "h.example.org/";

/// A cluster in which pods are swapped, and refused where they cannot be.
struct Scene {
    // Dropped in this order: who asks before who is asked.
    controller: Option<Running>,
    replicas: Vec<(Arc<Replica>, Following)>,
    stage: Stage,
}

impl Scene {
    /// Starts a cluster with a controller and `replicas` replicas under `Fail`.
    async fn set(replicas: usize) -> Self {
        Self::set_with(replicas, &Options::default()).await
    }

    /// Starts a cluster with the servers of `options`.
    async fn set_with(replicas: usize, options: &Options) -> Self {
        let stage = Stage::set_with(options).await;
        let controller = stage.controller(settings(), "one");
        let mut scene = Self { controller: Some(controller), replicas: Vec::new(), stage };
        until(&mut scene.controller().report, |it| it.policy.registered).await;
        scene.stage.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        for _ in 0..replicas {
            let replica = scene.replica().await;
            scene.replicas.push(replica);
        }
        scene.serve();
        until(&mut scene.controller().report, |it| it.policy.failure_policy == Some(Policy::Fail))
            .await;
        scene
    }

    fn controller(&mut self) -> &mut Running {
        self.controller.as_mut().unwrap()
    }

    /// One more replica, which can answer.
    async fn replica(&self) -> (Arc<Replica>, Following) {
        let (replica, following) = self.stage.replica().await;
        until(&mut replica.certificates(), |count| *count > 0).await;
        until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
        (replica, following)
    }

    /// The Service leads to all replicas that there are.
    fn serve(&self) {
        let ports: Vec<u16> = self.replicas.iter().map(|(replica, _)| replica.port()).collect();
        self.stage.serve_at_all(&ports);
    }
}
