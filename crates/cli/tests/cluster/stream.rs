//! A stream of new pods, to be observed while a test changes the cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, task::JoinSet};

use crate::test_cluster::{pod, until};

/// The number of tasks that create pods at the same time.
const WORKERS: usize = 2;
/// The pause of a worker between two pods, which leaves time for other processes.
const BREATH: Duration = Duration::from_millis(5);

/// The outcomes of created pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// The number of pods with the expected images.
    pub(crate) swapped: usize,
    /// The messages of refused requests.
    pub(crate) refused: Vec<String>,
    /// The images of admitted pods that differ from the expected ones.
    pub(crate) wrong: Vec<String>,
}

/// Tasks that create pods until [`Stream::end`].
pub(crate) struct Stream {
    tally: watch::Receiver<Tally>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Stream {
    /// Starts to create pods with the image `nginx` in the namespace `apps`, as dry runs. Each pod
    /// should get an image of `registry`.
    pub(crate) fn begin(client: &Client, registry: &'static str) -> Self {
        Self::of(client, registry, true)
    }

    /// Starts a stream like [`Stream::begin`], but stores the pods.
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

    /// Waits until 20 more pods are swapped.
    pub(crate) async fn more(&mut self) {
        let enough = self.tally.borrow().swapped + 20;
        until(&mut self.tally, |tally| tally.swapped >= enough).await;
    }

    /// Waits until one more request is refused.
    pub(crate) async fn refused(&mut self) {
        let enough = self.tally.borrow().refused.len() + 1;
        until(&mut self.tally, |tally| tally.refused.len() >= enough).await;
    }

    /// Stops the tasks and returns the outcomes.
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

    /// Asserts that no request was refused and no image was wrong.
    pub(crate) fn assert_flawless(&self) {
        assert_eq!(self.refused, [""; 0], "beside {} that were swapped", self.swapped);
        self.assert_none_wrong();
    }

    /// Asserts that every admitted pod has the expected image.
    pub(crate) fn assert_none_wrong(&self) {
        assert_eq!(self.wrong, [""; 0], "beside {} that were swapped", self.swapped);
        assert!(self.swapped > 0);
    }
}
