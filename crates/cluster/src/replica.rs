//! The two Secrets of the cluster that an admission replica follows.

use std::{panic::resume_unwind, sync::Arc};

use image_swap_core::{
    admission::Mode, control::effective::Origin, declaration::Declaration, labels,
    pull_secret::CoveredImages, rule::RuleSet, status::ServedDeclaration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};
use tracing::{debug, error, info, warn};

use crate::{
    error::watch_reason,
    object_watch::follow as follow_object,
    release::Release,
    secret::{annotation, text},
};

/// State that the controller configures for replicas.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    /// The rules in force.
    pub rules: RuleSet,
    /// Source of the declaration.
    pub origin: Origin,
    /// Hash of the declaration's text; empty without a declaration.
    pub hash: String,
    /// Mode of admission; `None` if the controller does not set one.
    pub mode: Option<Mode>,
    /// Swapped images that nodes pull with the pull Secret; `None` without a pull Secret.
    pub pull_secret: Option<CoveredImages>,
}

/// Receiver of changes. Each call is one change.
pub trait ReplicaSink: Send + Sync + 'static {
    /// Applies a changed declaration.
    fn serve(&self, served: ReplicaState);

    /// Counts a declaration that cannot be used. The last one stays in force.
    fn refuse(&self);

    /// Applies a changed serving certificate: a chain and its key, both PEM. Returns false if
    /// they cannot be used, and the last ones stay in force.
    fn certificate(&self, chain: &[u8], key: &[u8]) -> bool;
}

/// Tasks that follow the Secrets until they are dropped.
pub type ReplicaTasks = JoinSet<()>;

/// Follows the declaration of `release` and the certificate in the Secret
/// `certificate`, and passes every change to `in_force`. A Secret that is
/// deleted or cannot be used changes nothing.
pub fn follow(
    client: &Client,
    release: &Release,
    certificate: &str,
    in_force: &Arc<dyn ReplicaSink>,
) -> ReplicaTasks {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &release.namespace);
    let mut tasks = JoinSet::new();
    for (name, take) in [
        (release.effective(), declaration as Take),
        (certificate.to_owned(), serving_certificate as Take),
    ] {
        let (sender, receiver) = watch::channel(None);
        let secrets = secrets.clone();
        let in_force = Arc::clone(in_force);
        tasks.spawn(async move {
            let followed = follow_object(secrets, &name, |state| match state {
                Ok(secret) => drop(sender.send_replace(secret.map(Arc::new))),
                Err(error) => debug!(name, error = watch_reason(&error), "restarting the watch"),
            });
            tokio::join!(followed, apply_changes(receiver, take, in_force));
        });
    }
    tasks
}

type Take = fn(Option<&Secret>, &dyn ReplicaSink);

/// Applies each state of a Secret; `None` if it is absent.
async fn apply_changes(
    mut seen: watch::Receiver<Option<Arc<Secret>>>,
    take: Take,
    in_force: Arc<dyn ReplicaSink>,
) {
    let mut was_there = false;
    while seen.changed().await.is_ok() {
        let secret = seen.borrow_and_update().clone();
        if was_there && secret.is_none() {
            // The controller writes it again.
            warn!("a Secret was deleted; its last content stays in force");
            continue;
        }
        was_there = secret.is_some();
        taken(take, secret, &in_force).await;
    }
}

/// Applies `secret` on another thread than requests: the largest declaration takes about 50 ms.
async fn taken(take: Take, secret: Option<Arc<Secret>>, in_force: &Arc<dyn ReplicaSink>) {
    let in_force = Arc::clone(in_force);
    let taken = spawn_blocking(move || take(secret.as_deref(), in_force.as_ref()));
    if let Err(broken) = taken.await
        && let Ok(panic) = broken.try_into_panic()
    {
        resume_unwind(panic);
    }
}

fn declaration(secret: Option<&Secret>, in_force: &dyn ReplicaSink) {
    let Some(secret) = secret else {
        info!("no declaration yet: no image is swapped");
        return in_force.serve(ReplicaState::nothing());
    };
    let Some(served) = ReplicaState::read(secret) else {
        error!("invalid declaration; the last valid one stays in force");
        return in_force.refuse();
    };
    let rules = served.rules.rules().len();
    info!(origin = served.origin.as_str(), hash = served.hash, rules, "rules are in force");
    in_force.serve(served);
}

fn serving_certificate(secret: Option<&Secret>, in_force: &dyn ReplicaSink) {
    let data = secret.and_then(|secret| secret.data.as_ref());
    let value = |key: &str| data.and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let Some((chain, key)) = value("tls.crt").zip(value("tls.key")) else {
        info!("no serving certificate yet");
        return;
    };
    if in_force.certificate(chain, key) {
        info!("the serving certificate is in force");
    } else {
        error!("invalid serving certificate; the last valid one stays in force");
    }
}

impl ReplicaState {
    fn nothing() -> Self {
        Self {
            rules: RuleSet::new(Vec::new()),
            origin: Origin::None,
            hash: String::new(),
            mode: None,
            pull_secret: None,
        }
    }

    /// Reads the declaration from `secret`; `None` if the controller did not write it.
    pub(crate) fn read(secret: &Secret) -> Option<Self> {
        let served = ServedDeclaration::read(|key| text(secret, key))?;
        let ServedDeclaration { effective, mode, pull_secret } = served;
        let origin = effective.origin;
        let declaration = match origin {
            Origin::None => None,
            Origin::RegistryInfo | Origin::Chart => Some(effective.declaration()?),
        };
        let pull_secret = declaration.as_ref().filter(|_| pull_secret).and_then(CoveredImages::of);
        let no_rules = || RuleSet::new(Vec::new());
        Some(Self {
            rules: declaration.map_or_else(no_rules, Declaration::into_rules),
            origin,
            hash: annotation(secret, labels::HASH).unwrap_or_default().to_owned(),
            mode,
            pull_secret,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{Receiver, channel},
    };

    use super::*;

    /// A sink that applies a change only after another task has run.
    struct Slow {
        turn: Mutex<Receiver<()>>,
        served: watch::Sender<Option<Origin>>,
    }

    impl ReplicaSink for Slow {
        fn serve(&self, served: ReplicaState) {
            self.turn.lock().unwrap().recv().unwrap();
            self.served.send_replace(Some(served.origin));
        }

        fn refuse(&self) {}

        fn certificate(&self, _chain: &[u8], _key: &[u8]) -> bool {
            false
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn slow_declaration_does_not_block_the_thread() {
        let (turn, turns) = channel();
        let (served, mut origin) = watch::channel(None);
        let slow = Arc::new(Slow { turn: Mutex::new(turns), served });
        let (sender, seen) = watch::channel(None);
        let applying = tokio::spawn(apply_changes(seen, declaration, slow));
        sender.send_replace(None);
        // The other task, which the single thread runs after the task that was spawned before.
        tokio::spawn(async move { turn.send(()) }).await.unwrap().unwrap();
        assert_eq!(*origin.wait_for(Option::is_some).await.unwrap(), Some(Origin::None));
        applying.abort();
    }
}
