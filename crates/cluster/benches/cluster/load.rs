//! Pods that are created as a dry run.

use std::time::{Duration, Instant};

use image_swap_load::{LoadClient, Outcome, closed};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};

use crate::pod;

/// Pods that are created at the same time when there is no rate.
const AT_ONCE: usize = 4;

/// A client that creates pods in one namespace.
#[derive(Clone)]
pub(crate) struct PodLoad {
    pods: Api<Pod>,
    pod: Pod,
    /// The image that each pod must get.
    image: &'static str,
}

impl PodLoad {
    pub(crate) fn new(client: &Client, namespace: &str, image: &'static str) -> Outcome<Self> {
        let pod = serde_json::from_value(pod::pod())?;
        Ok(Self { pods: Api::namespaced(client.clone(), namespace), pod, image })
    }

    /// Creates one pod, and returns the image of its first container.
    pub(crate) async fn create(&self) -> Outcome<String> {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let created = self.pods.create(&params, &self.pod).await?;
        let first = created.spec.and_then(|spec| spec.containers.into_iter().next());
        Ok(first.and_then(|container| container.image).unwrap_or_default())
    }

    /// Returns the pods a second that are created when the next one follows each answer.
    pub(crate) async fn capacity(&self, time: Duration) -> Outcome<f64> {
        let begun = Instant::now();
        let created = closed(&mut vec![self.clone(); AT_ONCE], time).await?;
        Ok(created / begun.elapsed().as_secs_f64())
    }
}

impl LoadClient for PodLoad {
    async fn request(&mut self) -> Outcome<()> {
        let (expected, found) = (self.image, self.create().await?);
        if found == expected {
            Ok(())
        } else {
            Err(format!("expected {expected}, found {found}").into())
        }
    }
}
