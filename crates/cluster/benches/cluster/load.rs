//! Pods that are created at a given rate, as a dry run.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{Outcome, pod};

/// Pods that are created at the same time when there is no rate.
const AT_ONCE: usize = 4;

/// Pods of one namespace.
#[derive(Clone)]
pub(crate) struct Load {
    pods: Api<Pod>,
    pod: Pod,
}

/// The answers of one round.
pub(crate) struct Round {
    /// Milliseconds of each request.
    pub(crate) latencies: Vec<f64>,
    /// True if the answers came as fast as the requests.
    pub(crate) held: bool,
}

impl Load {
    pub(crate) fn new(client: &Client, namespace: &str) -> Outcome<Self> {
        let pod = serde_json::from_value(pod::pod())?;
        Ok(Self { pods: Api::namespaced(client.clone(), namespace), pod })
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
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let load = self.clone();
            tasks.spawn(async move {
                let mut created = 0_u32;
                while begun.elapsed() < time {
                    load.create().await?;
                    created += 1;
                }
                Outcome::Ok(created)
            });
        }
        let mut sum = 0.0;
        while let Some(done) = tasks.join_next().await {
            sum += f64::from(done??);
        }
        Ok(sum / begun.elapsed().as_secs_f64())
    }

    /// Creates `rate` pods a second for `time`, without waiting for earlier answers. Each
    /// pod must get `image`.
    pub(crate) async fn round(
        &self,
        rate: f64,
        time: Duration,
        image: &'static str,
    ) -> Outcome<Round> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        while begun.elapsed() < time {
            ticks.tick().await;
            let load = self.clone();
            tasks.spawn(async move {
                let begun = Instant::now();
                let found = load.create().await?;
                if found != image {
                    return Err(format!("expected {image}, found {found}").into());
                }
                Outcome::Ok(begun.elapsed().as_secs_f64() * 1e3)
            });
        }
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.push(done??);
        }
        // Answers that are late at the end are a queue that would have grown.
        let held = begun.elapsed() < time.mul_f64(1.05);
        Ok(Round { latencies, held })
    }
}
