//! Pods that are created one after the other while something else happens.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, task::JoinSet};

use crate::test_cluster::{pod, until};

/// How many create pods at the same time.
const WORKERS: usize = 2;
/// Between two pods of one worker: the machine has other things to do, too.
const BREATH: Duration = Duration::from_millis(5);

/// What became of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Pods with the images that they should have.
    pub(crate) swapped: usize,
    /// Why others were refused.
    pub(crate) refused: Vec<String>,
    /// The images of pods that should have had others.
    pub(crate) wrong: Vec<String>,
}

/// Creates pods until it is told to stop.
pub(crate) struct Stream {
    tally: watch::Receiver<Tally>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stream {
    /// Begins to create `nginx`, dry, in the namespace `apps`; each has to get an
    /// image of `registry`.
    pub(crate) fn begin(client: &Client, registry: &'static str) -> Self {
        Self::of(client, registry, true)
    }

    /// As [`Stream::begin`], but pods are stored.
    pub(crate) fn stored(client: &Client, registry: &'static str) -> Self {
        Self::of(client, registry, false)
    }

    fn of(client: &Client, registry: &'static str, dry_run: bool) -> Self {
        let (counts, tally) = watch::channel(Tally::default());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for _ in 0..WORKERS {
            let pods: Api<Pod> = Api::namespaced(client.clone(), "apps");
            let (counts, stop) = (counts.clone(), stop.subscribe());
            let pod: Pod = serde_json::from_value(pod()).unwrap();
            tasks.spawn(async move {
                let params = PostParams { dry_run, ..PostParams::default() };
                while !*stop.borrow() {
                    let created = pods.create(&params, &pod).await;
                    counts.send_modify(|tally| tally.count(created, registry));
                    tokio::time::sleep(BREATH).await;
                }
            });
        }
        Self { tally, stop, tasks }
    }

    /// Waits until another few pods were swapped.
    pub(crate) async fn more(&mut self) {
        let enough = self.tally.borrow().swapped + 20;
        until(&mut self.tally, |tally| tally.swapped >= enough).await;
    }

    /// Waits until another one was refused.
    pub(crate) async fn refused(&mut self) {
        let enough = self.tally.borrow().refused.len() + 1;
        until(&mut self.tally, |tally| tally.refused.len() >= enough).await;
    }

    /// Stops, and tells what became of all.
    pub(crate) async fn end(mut self) -> Tally {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.tally.borrow().clone()
    }
}

impl Tally {
    fn count(&mut self, created: kube::Result<Pod>, registry: &str) {
        match created {
            Err(error) => self.refused.push(error.to_string()),
            Ok(pod) => {
                let image = pod.spec.unwrap().containers.remove(0).image.unwrap();
                if image.starts_with(registry) {
                    self.swapped += 1;
                } else {
                    self.wrong.push(image);
                }
            }
        }
    }

    /// Nothing was refused, nothing was wrong.
    pub(crate) fn assert_flawless(&self) {
        assert_eq!(self.refused, [""; 0], "beside {} that were swapped", self.swapped);
        self.assert_none_wrong();
    }

    /// Whatever was stored has the images that it should have.
    pub(crate) fn assert_none_wrong(&self) {
        assert_eq!(self.wrong, [""; 0], "beside {} that were swapped", self.swapped);
        assert!(self.swapped > 0);
    }
}
