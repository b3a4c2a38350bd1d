//! Faults while pods are created. `docs/reliability.md` has a row for each.

mod api_server;
mod certificates;
mod controllers;
mod cut;
mod declaration;
mod no_replica;
mod replicas;
mod rotation;

use std::sync::Arc;

use image_swap_cluster::ReplicaTasks;
use image_swap_core::control::policy::FailurePolicy;
use image_swap_testbed::Options;

use crate::{
    replica::Replica,
    test_cluster::{JET_SECRETS, Running, TestCluster, keys, settings, until},
};

/// The registry of swapped images.
const REGISTRY: &str = "h.example.org/";

/// A cluster in which pods are swapped, or refused if that is impossible.
struct ServedCluster {
    // Dropped in this order: clients before their servers.
    controller: Option<Running>,
    replicas: Vec<(Arc<Replica>, ReplicaTasks)>,
    cluster: TestCluster,
}

impl ServedCluster {
    /// Starts a cluster with a controller and `replicas` replicas under `Fail`.
    async fn set(replicas: usize) -> Self {
        Self::set_with(replicas, &Options::default()).await
    }

    /// Starts a cluster with the servers of `options`.
    async fn set_with(replicas: usize, options: &Options) -> Self {
        let cluster = TestCluster::set_with(options).await;
        let controller = cluster.controller(settings(), "one");
        let mut scene = Self { controller: Some(controller), replicas: Vec::new(), cluster };
        until(&mut scene.controller().report, |it| it.policy.registered).await;
        scene.cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        for _ in 0..replicas {
            let replica = scene.replica().await;
            scene.replicas.push(replica);
        }
        scene.serve();
        until(&mut scene.controller().report, |it| {
            it.policy.failure_policy == Some(FailurePolicy::Fail)
        })
        .await;
        scene
    }

    fn controller(&mut self) -> &mut Running {
        self.controller.as_mut().unwrap()
    }

    /// Starts one more replica, and waits until it can answer.
    async fn replica(&self) -> (Arc<Replica>, ReplicaTasks) {
        let (replica, following) = self.cluster.replica().await;
        until(&mut replica.certificates(), |count| *count > 0).await;
        until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
        (replica, following)
    }

    /// Makes the present replicas the endpoints of the Service.
    fn serve(&self) {
        let ports: Vec<u16> = self.replicas.iter().map(|(replica, _)| replica.port()).collect();
        self.cluster.serve_at_all(&ports);
    }
}
