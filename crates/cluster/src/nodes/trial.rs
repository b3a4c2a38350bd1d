//! Trial pods: one on each node whose pull has to prove a declaration.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use image_swap_core::{
    control::{effective::Effective, rollout::TrialPull},
    labels,
    status::NodeTrial,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tracing::{info, warn};

use super::{
    image::{ImageSearch, compare, search},
    names::named_for,
    observed::{Table, TrialRow},
    orders::AgentSettings,
    outcome::PodPull,
};
use crate::{api, error::Error, release::Release, secret};

/// Time after which a kubelet that neither pulled nor failed does not answer.
const LATE: Duration = Duration::from_mins(3);
/// Wait before a registry is queried again.
const RETRY: Duration = Duration::from_secs(5);
/// Wait before the images that run in the cluster are looked up again.
const SEARCH: Duration = Duration::from_mins(1);

/// The image of trial pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TrialImage {
    /// The search has not ended.
    Unknown,
    /// No image that nodes request from the mirror runs in the cluster.
    Nothing,
    /// The mirror serves none of the images that run in the cluster: the reason.
    Unserved(String),
    /// The reference.
    Image(String),
}

/// The memory of trials. The next leader computes it again.
#[derive(Default)]
pub(super) struct Trials {
    /// The search for an image, with the declaration that it is for.
    search: Option<(Effective, SearchState)>,
    /// The trial pods, by UID.
    pods: HashMap<String, PodMemory>,
    tasks: JoinSet<TrialAnswer>,
}

enum SearchState {
    Running,
    Ended(ImageSearch),
    /// To be repeated at this time.
    Waiting(Instant),
    /// To be repeated at this time: the mirror serves none of the images.
    Unserved(Instant, String),
}

struct PodMemory {
    since: Instant,
    /// True once its deletion was requested.
    is_ending: bool,
    verdict: Verdict,
}

/// The comparison of a pulled image with the answer of the mirror.
enum Verdict {
    Absent,
    Running,
    Ended(Result<(), String>),
}

/// The answer of a registry, from a task.
pub(super) enum TrialAnswer {
    Search(Effective, ImageSearch),
    Compare { uid: String, verdict: Result<(), String> },
}

impl Trials {
    /// Returns the image for trials of `effective`, and begins to search for one. `is_refused` is
    /// true if the registry refuses the controller.
    pub(super) fn image(
        &mut self,
        client: &Client,
        settings: &AgentSettings,
        effective: &Effective,
        is_refused: bool,
    ) -> TrialImage {
        if let Some(image) = &settings.trial_image {
            return TrialImage::Image(image.clone());
        }
        if let Some((_, state)) = self.search.as_ref().filter(|(of, _)| of == effective) {
            match state {
                SearchState::Ended(ImageSearch::Found(image)) => {
                    return TrialImage::Image(image.clone());
                }
                SearchState::Ended(ImageSearch::Nothing) => return TrialImage::Nothing,
                SearchState::Waiting(until) | SearchState::Unserved(until, _)
                    if *until <= Instant::now() => {}
                SearchState::Unserved(_, reason) => return TrialImage::Unserved(reason.clone()),
                _ => return TrialImage::Unknown,
            }
        }
        self.search = Some((effective.clone(), SearchState::Running));
        let (client, effective) = (client.clone(), effective.clone());
        self.tasks.spawn(async move {
            let found = search(client, effective.clone(), is_refused).await;
            TrialAnswer::Search(effective, found)
        });
        TrialImage::Unknown
    }

    /// Returns the state of the pull of `pod`, and begins to compare its image if it was pulled.
    /// `image` is the image of trial pods.
    pub(super) fn pull(
        &mut self,
        pod: &TrialRow,
        effective: &Effective,
        image: &TrialImage,
    ) -> TrialPull {
        let new =
            || PodMemory { since: Instant::now(), is_ending: false, verdict: Verdict::Absent };
        let memory = self.pods.entry(pod.uid.clone()).or_insert_with(new);
        if memory.is_ending {
            return TrialPull::Absent;
        }
        let digest = match &pod.pull {
            PodPull::Failed(reason) => return TrialPull::Failed(reason.clone()),
            PodPull::Waiting if memory.since.elapsed() >= LATE => return TrialPull::Late,
            PodPull::Waiting => return TrialPull::Running,
            PodPull::Pulled { digest } => digest,
        };
        match (&memory.verdict, image) {
            (Verdict::Ended(Ok(())), _) => return TrialPull::Pulled,
            (Verdict::Ended(Err(reason)), _) => return TrialPull::Failed(reason.clone()),
            (Verdict::Absent, TrialImage::Image(image)) => {
                memory.verdict = Verdict::Running;
                let (uid, effective) = (pod.uid.clone(), effective.clone());
                let (image, digest) = (image.clone(), digest.clone());
                self.tasks.spawn(async move {
                    TrialAnswer::Compare { uid, verdict: compare(effective, image, digest).await }
                });
            }
            _ => {}
        }
        TrialPull::Running
    }

    /// Waits for the next answer of a registry. Never returns without a request.
    pub(super) async fn answered(&mut self) -> Option<TrialAnswer> {
        match self.tasks.join_next().await {
            Some(answer) => answer.ok(),
            None => std::future::pending().await,
        }
    }

    /// Records the answer of a registry.
    pub(super) fn note(&mut self, answer: TrialAnswer) {
        match answer {
            TrialAnswer::Search(of, found) => {
                let Some((wanted, state)) = &mut self.search else { return };
                if *wanted != of {
                    return;
                }
                *state = match found {
                    ImageSearch::Failed(reason) => {
                        warn!(reason, "cannot choose the image of trial pods; retrying");
                        SearchState::Waiting(Instant::now() + RETRY)
                    }
                    ImageSearch::Unserved(reason) => {
                        SearchState::Unserved(Instant::now() + SEARCH, reason)
                    }
                    found => SearchState::Ended(found),
                };
            }
            TrialAnswer::Compare { uid, verdict } => {
                let Some(memory) = self.pods.get_mut(&uid) else { return };
                memory.verdict = Verdict::Ended(verdict);
            }
        }
    }

    /// Returns the time of the next deadline.
    pub(super) fn wake(&self) -> Option<Instant> {
        let search = self.search.as_ref().and_then(|(_, state)| match state {
            SearchState::Waiting(until) | SearchState::Unserved(until, _) => Some(*until),
            _ => None,
        });
        let pods =
            self.pods.values().filter(|pod| !pod.is_ending).filter_map(|pod| match pod.verdict {
                Verdict::Absent => Some(pod.since + LATE),
                Verdict::Running | Verdict::Ended(_) => None,
            });
        pods.chain(search).filter(|at| *at > Instant::now()).min()
    }

    /// Creates the trial pods of `nodes`, and deletes all others.
    ///
    /// # Errors
    /// The API server rejects a write; other writes are tried.
    pub(super) async fn settle(
        &mut self,
        pods: &TrialPods<'_>,
        rows: &Table<TrialRow>,
        (trial, nodes): (Option<&NodeTrial>, &BTreeSet<String>),
        image: &TrialImage,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        let known: HashSet<&str> = rows.iter().map(|(_, pod)| &*pod.uid).collect();
        self.pods.retain(|uid, _| known.contains(uid.as_str()));
        let number = trial.map(|trial| trial.revision.number);
        for (name, pod) in rows.iter() {
            if Some(pod.number) == number && nodes.contains(&pod.node) {
                continue;
            }
            let Some(memory) = self.pods.get_mut(&pod.uid).filter(|it| !it.is_ending) else {
                // A pod of the former leader.
                if !self.pods.contains_key(&pod.uid) {
                    let verdict = Verdict::Absent;
                    let memory = PodMemory { since: Instant::now(), is_ending: true, verdict };
                    self.pods.insert(pod.uid.clone(), memory);
                    outcome = outcome.and(pods.delete(name).await);
                }
                continue;
            };
            memory.is_ending = true;
            let deleted = pods.delete(name).await;
            memory.is_ending = deleted.is_ok();
            outcome = outcome.and(deleted);
        }
        let (Some(number), TrialImage::Image(image)) = (number, image) else { return outcome };
        for node in nodes {
            let name = named_for(&format!("trial-{number}"), node);
            // One that is being deleted has to be gone first.
            if rows.get(&name).is_none() {
                outcome = outcome.and(pods.create(&name, number, node, image).await);
            }
        }
        outcome
    }
}

/// The trial pods of a release.
pub(super) struct TrialPods<'c> {
    client: &'c Client,
    release: &'c Release,
    namespace: &'c str,
}

impl<'c> TrialPods<'c> {
    pub(super) const fn new(client: &'c Client, release: &'c Release, namespace: &'c str) -> Self {
        Self { client, release, namespace }
    }

    fn api(&self) -> Api<DynamicObject> {
        api::namespaced::<Pod, _>(self.client, self.namespace)
    }

    async fn create(&self, name: &str, number: u64, node: &str, image: &str) -> Result<(), Error> {
        api::apply(&self.api(), name, &pod_object(self.release, name, number, node, image)).await?;
        info!(node, image, number, "created a trial pod");
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let action = format!("delete the trial pod {name}");
        api::delete_by(&self.api(), name, &DeleteParams::default(), action).await.map(drop)
    }
}

/// Returns a pod that pulls `image` on `node` and runs nothing.
fn pod_object(release: &Release, name: &str, number: u64, node: &str, image: &str) -> Value {
    let mut labels = secret::labels(release);
    labels[labels::EXEMPT] = "true".into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": { labels::TRIAL: number.to_string() },
        },
        "spec": {
            "nodeName": node,
            "tolerations": [{ "operator": "Exists" }],
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65534,
                "runAsGroup": 65534,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "trial",
                "image": image,
                "imagePullPolicy": "Always",
                "command": ["/image-swap-trial"],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_kubelet_is_late() {
        tokio::time::pause();
        let mut trials = Trials::default();
        let pod = TrialRow { uid: "1".into(), node: "a".into(), number: 3, pull: PodPull::Waiting };
        let image = TrialImage::Image("busybox".into());
        let pull = |trials: &mut Trials| trials.pull(&pod, &Effective::none(), &image);
        assert_eq!(pull(&mut trials), TrialPull::Running);
        assert_eq!(trials.wake(), Some(Instant::now() + LATE));
        tokio::time::advance(LATE).await;
        assert_eq!(pull(&mut trials), TrialPull::Late);
        trials.pods.values_mut().for_each(|pod| pod.is_ending = true);
        assert_eq!(pull(&mut trials), TrialPull::Absent);
        assert_eq!(trials.wake(), None);
    }
}
