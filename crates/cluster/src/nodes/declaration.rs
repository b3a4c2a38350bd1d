//! The Secret `N-nodes`, which the agents of nodes follow.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use image_swap_core::{
    control::{rate_limit::RewriteLimit, webhooks::Anchor},
    declaration::UnixTime,
    status::{NodeDeclaration, RESTORE},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    error::{Error, watch_reason},
    helm_mark::HelmMark,
    object_watch,
    release::Release,
    secret::{self, hash, holds},
};

/// The Secret as this process has seen it. Helm replaces it by a marker when it removes the agents,
/// and image-swap must not overwrite the marker. The leader may change at that time, so each
/// process watches the Secret from its start.
#[derive(Clone, Default)]
pub(crate) struct StoredNodes {
    /// True once the API server has returned the first state.
    pub(super) is_read: bool,
    /// UID of a marker that existed at the first look, because the agents were enabled again, or
    /// because Helm removes them now. `None` without one.
    old_marker: Option<String>,
    /// True once another marker was seen: this process never writes the Secret again.
    pub(super) is_retired: bool,
    /// The Secret; `None` if it is absent.
    pub(super) secret: Option<Arc<Secret>>,
    /// The last declarations that the Secret held; empty before the first.
    last: NodeDeclaration,
    /// The time since when the Secret is absent, or is the marker of the first look; `None`
    /// otherwise.
    gone: Option<Instant>,
}

impl StoredNodes {
    /// Records the state of the Secret. A state that is older than the recorded one, such as that of a
    /// list which began before a write, is skipped.
    pub(super) fn note(&mut self, secret: Option<Secret>) {
        if secret.as_ref().is_some_and(|it| self.is_newer_than(it)) {
            return;
        }
        let is_first = !std::mem::replace(&mut self.is_read, true);
        let Some(secret) = secret else {
            if self.secret.take().is_some() {
                self.gone = Some(Instant::now());
            }
            return;
        };
        let since = self.gone.take();
        let declared = NodeDeclaration::read(|key| secret::text(&secret, key));
        if declared.restore {
            let uid = secret.metadata.uid.clone();
            if is_first {
                self.old_marker = uid;
                self.gone = Some(Instant::now());
            } else if uid.is_some() && uid == self.old_marker {
                // A relist shows it again.
                self.gone = since;
            } else {
                self.is_retired = true;
            }
        } else if declared != NodeDeclaration::default() {
            // A Secret that another writer emptied takes no declaration from the nodes.
            self.last = declared;
            // The next marker requests another restore, also in the same object.
            self.old_marker = None;
        }
        self.secret = Some(Arc::new(secret));
    }

    /// Returns the reason why this process must not write the Secret, and the time when it ends;
    /// `None` if only an event can end it. Helm creates `mark` before it replaces the Secret, and
    /// ends the controller within the time `linger`.
    pub(super) fn hold(
        &self,
        release: &Release,
        mark: &HelmMark,
        linger: Duration,
    ) -> Option<(String, Option<Instant>)> {
        let is_old_marker = self.old_marker.is_some() && self.uid() == self.old_marker.as_deref();
        // Hooks ran when this process began.
        if self.is_retired || is_old_marker && mark.first.is_some() {
            return Some(("the agents restore their nodes".to_owned(), None));
        }
        if mark.is_new() {
            let reason = format!(
                "Helm removes the release or its agents: the ConfigMap {} exists; if Helm failed, \
                 run it again, or delete the ConfigMap",
                release.uninstallation()
            );
            return Some((reason, None));
        }
        let until = self.gone.map(|at| at + linger).filter(|at| *at > Instant::now())?;
        let name = release.nodes();
        let reason = match self.secret {
            Some(_) => format!("the Secret {name} requests a restore of all nodes"),
            None => format!("the Secret {name} was deleted"),
        };
        Some((reason, Some(until)))
    }

    /// Returns true if the recorded Secret is a later version of the object `secret`.
    fn is_newer_than(&self, secret: &Secret) -> bool {
        let version = |it: &Secret| it.metadata.resource_version.as_ref()?.parse::<u64>().ok();
        let is_same = |it: &&Arc<Secret>| it.metadata.uid == secret.metadata.uid;
        self.secret.as_ref().filter(is_same).is_some_and(|it| version(it) > version(secret))
    }

    fn uid(&self) -> Option<&str> {
        self.secret.as_ref()?.metadata.uid.as_deref()
    }

    /// Returns true if the Secret requests the restore of every node.
    pub(super) fn requests_restore(&self) -> bool {
        let secret = self.secret.as_deref();
        secret.is_some_and(|it| secret::text(it, RESTORE) == Some("true"))
    }

    /// Returns the last declaration of the nodes, also if the Secret is absent or empty. No number
    /// is then used twice, and a verified declaration is not tried again.
    pub(super) fn declaration(&self) -> &NodeDeclaration {
        &self.last
    }
}

/// Follows the Secret of `release`. Never returns.
pub(crate) async fn follow(client: Client, release: Release, stored: watch::Sender<StoredNodes>) {
    let secrets: Api<Secret> = Api::namespaced(client, &release.namespace);
    let name = release.nodes();
    let take = |state: Result<Option<Secret>, _>| match state {
        Ok(secret) => stored.send_modify(|stored| stored.note(secret)),
        Err(error) => {
            let error = watch_reason(&error);
            tracing::debug!(name, error, "restarting the watch of the Secret");
        }
    };
    object_watch::follow(secrets, &name, take).await;
}

/// Writes the Secret, at most as often as another writer may be corrected.
pub(super) struct DeclarationWriter<'c> {
    pub(super) client: &'c Client,
    pub(super) release: &'c Release,
    pub(super) owner: &'c Anchor,
}

impl DeclarationWriter<'_> {
    /// Writes `wanted` in place of `stored`, unless the Secret already contains it. Returns the
    /// written Secret.
    ///
    /// # Errors
    /// The limit of repairs is reached, or the API server rejects the write.
    pub(super) async fn write(
        &self,
        stored: &StoredNodes,
        wanted: &NodeDeclaration,
        rewrites: &mut RewriteLimit<String>,
        now: UnixTime,
    ) -> Result<Option<Secret>, Error> {
        let data = wanted.data();
        let there = stored.secret.as_deref();
        if holds(there, &data) {
            return Ok(None);
        }
        let name = self.release.nodes();
        let content = hash(&serde_json::to_string(&data).unwrap_or_default());
        let paced = |seconds| Error::Paced { name: name.clone(), seconds };
        rewrites.begin(&name, &content, now).map_err(paced)?;
        let object = self.object(there, &name, &data);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.release.namespace);
        let written = secret::write(&secrets, there, &name, object).await?;
        rewrites.finish(&name, content);
        Ok(Some(written))
    }

    /// Returns the Secret to write. Its resource version is that of the object that was read, since
    /// Helm may have written its marker in the same place.
    fn object(
        &self,
        there: Option<&Secret>,
        name: &str,
        data: &BTreeMap<&'static str, String>,
    ) -> Value {
        let mut object = secret::object(self.release, self.owner, name, &json!({}), data);
        if let Some(uid) = there.and_then(|secret| secret.metadata.uid.as_deref()) {
            object["metadata"]["uid"] = uid.into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::{control::effective::Effective, mirror::Fallback, status::NodeRevision};
    use k8s_openapi::ByteString;

    use super::*;

    fn mk_secret(uid: &str, declared: &NodeDeclaration) -> Secret {
        let data = declared.data().into_iter();
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        secret.metadata.uid = Some(uid.to_owned());
        secret
    }

    fn verified(number: u64) -> NodeDeclaration {
        let fallback = Fallback::Upstream;
        let verified = Some(NodeRevision { number, effective: Effective::none(), fallback });
        NodeDeclaration { verified, ..NodeDeclaration::default() }
    }

    fn marker() -> NodeDeclaration {
        NodeDeclaration { restore: true, ..NodeDeclaration::default() }
    }

    #[test]
    fn marker_of_an_earlier_removal_may_be_overwritten() {
        let mut stored = StoredNodes::default();
        stored.note(Some(mk_secret("1", &marker())));
        assert!(stored.is_read && !stored.is_retired);
        assert_eq!(*stored.declaration(), NodeDeclaration::default());
        // A relist shows it again.
        stored.note(Some(mk_secret("1", &marker())));
        assert!(!stored.is_retired);
        stored.note(Some(mk_secret("1", &verified(3))));
        stored.note(Some(mk_secret("2", &marker())));
        assert!(stored.is_retired);
    }

    /// Covers a fleet controller, which marks the object that the controller has written.
    // guarantee: 5d
    #[test]
    fn marker_in_an_overwritten_object_counts() {
        let at = |version: &str, declared: &NodeDeclaration| {
            let mut secret = mk_secret("1", declared);
            secret.metadata.resource_version = Some(version.to_owned());
            Some(secret)
        };
        let mut stored = StoredNodes::default();
        stored.note(at("9", &marker()));
        stored.note(at("10", &verified(3)));
        // A list that began before the write.
        stored.note(at("9", &marker()));
        assert!(!stored.is_retired && !stored.requests_restore());
        stored.note(at("11", &marker()));
        assert!(stored.is_retired && stored.requests_restore());
    }

    // guarantee: 5d
    #[test]
    fn later_marker_ends_all_writes() {
        let mut stored = StoredNodes::default();
        stored.note(None);
        assert!(stored.gone.is_none());
        stored.note(Some(mk_secret("1", &verified(3))));
        assert!(!stored.requests_restore());
        stored.note(None);
        assert!(stored.gone.is_some() && !stored.requests_restore());
        stored.note(Some(mk_secret("2", &marker())));
        assert!(stored.is_retired && stored.gone.is_none() && stored.requests_restore());
        stored.note(None);
        stored.note(Some(mk_secret("3", &verified(4))));
        assert!(stored.is_retired);
    }

    // guarantee: 5d
    #[test]
    fn hooks_and_a_deleted_secret_hold_writes() {
        const LINGER: Duration = Duration::from_mins(1);
        let release = Release { namespace: "tools".into(), name: "image-swap".into() };
        let held = |stored: &StoredNodes, mark: &HelmMark| stored.hold(&release, mark, LINGER);
        let (mut stored, mut mark) = (StoredNodes::default(), HelmMark::default());
        stored.note(Some(mk_secret("1", &verified(3))));
        mark.note(None);
        assert_eq!(held(&stored, &mark), None);
        // Helm creates its mark, replaces the Secret, and deletes the mark.
        mark.note(Some("m".to_owned()));
        let (reason, until) = held(&stored, &mark).unwrap();
        assert!(reason.contains("image-swap-uninstall") && until.is_none(), "{reason}");
        stored.note(None);
        assert_eq!(held(&stored, &mark).unwrap().1, None);
        mark.note(None);
        let (reason, until) = held(&stored, &mark).unwrap();
        assert!(reason.contains("was deleted") && until.is_some(), "{reason}");
        assert_eq!(stored.hold(&release, &mark, Duration::ZERO), None);
        stored.note(Some(mk_secret("2", &marker())));
        assert_eq!(stored.hold(&release, &mark, Duration::ZERO).unwrap().1, None);
    }

    #[test]
    fn process_that_starts_with_a_marker_waits() {
        let release = Release { namespace: "tools".into(), name: "image-swap".into() };
        let (mut stored, mut mark) = (StoredNodes::default(), HelmMark::default());
        for _ in 0..2 {
            stored.note(Some(mk_secret("1", &marker())));
        }
        // Without hooks: the agents were enabled again, or Helm is about to end this process.
        mark.note(None);
        let (reason, until) = stored.hold(&release, &mark, Duration::from_mins(1)).unwrap();
        assert!(reason.contains("requests a restore") && until.is_some(), "{reason}");
        assert_eq!(stored.hold(&release, &mark, Duration::ZERO), None);
        // While hooks ran.
        let mut mark = HelmMark::default();
        mark.note(Some("m".to_owned()));
        mark.note(None);
        assert_eq!(stored.hold(&release, &mark, Duration::ZERO).unwrap().1, None);
    }

    // guarantee: 3c
    #[test]
    fn emptied_secret_keeps_the_last_declaration() {
        let mut stored = StoredNodes::default();
        stored.note(Some(mk_secret("1", &verified(3))));
        stored.note(Some(mk_secret("1", &NodeDeclaration::default())));
        assert_eq!(*stored.declaration(), verified(3));
        stored.note(None);
        assert_eq!(stored.declaration().last_number(), 3);
    }
}
