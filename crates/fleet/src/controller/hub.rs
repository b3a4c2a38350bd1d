//! Objects of the management cluster that the fleet controller follows: declaration, bundle and
//! the orders of administrators.

use std::sync::Arc;

use image_swap_cluster::{
    Error,
    error::{code, watch_reason},
    object_watch,
    secret::{annotation, hash, text},
};
use image_swap_core::{
    control::effective::{Effective, Origin},
    fleet::{bundle::Bundle, wave::WaveOrder},
    labels::{FLEET, KUBE_SYSTEM, PAUSED, RESUME, REVISION},
    status::StoredDeclaration,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{Api, Client, runtime::watcher};
use tokio::{sync::watch, task::JoinSet};
use tracing::warn;

use super::settings::FleetSettings;
use crate::names::BUNDLE;

/// Objects of the management cluster, as far as they have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct HubView {
    /// Declaration of the management cluster; `None` before the first read.
    pub(super) declaration: Option<HubDeclaration>,
    /// Bundle of workload clusters; `None` before the first read.
    pub(super) bundle: Option<Result<Arc<HubBundle>, String>>,
    /// Orders of administrators for the whole fleet.
    pub(super) order: HubOrder,
}

/// Bundle of workload clusters.
#[derive(Debug)]
pub(super) struct HubBundle {
    pub(super) bundle: Bundle,
    /// Hash of its text.
    pub(super) hash: String,
}

impl HubBundle {
    /// Parses the text that Helm rendered.
    ///
    /// # Errors
    /// See [`Bundle::parse`].
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bundle = Bundle::parse(text).map_err(|it| it.to_string())?;
        Ok(Self { bundle, hash: hash(text) })
    }
}

/// Declaration of the management cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HubDeclaration {
    /// No declaration in force.
    Absent,
    /// Declaration in force, with its number.
    Present(u64, Effective),
}

/// Order of an administrator: annotation [`FLEET`] of the `ConfigMap` with the state of the
/// rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum HubOrder {
    /// Continue.
    #[default]
    Continue,
    /// Begin no wave.
    Pause,
    /// Continue a rollout that a failure stopped. The fleet controller removes the annotation.
    Resume,
}

impl HubOrder {
    /// Returns the order for [`image_swap_core::fleet::wave::decide`].
    pub(super) const fn wave(self) -> WaveOrder {
        match self {
            Self::Pause => WaveOrder::Pause,
            Self::Continue | Self::Resume => WaveOrder::Continue,
        }
    }

    fn of(map: &ConfigMap) -> Self {
        let annotations = map.metadata.annotations.as_ref();
        match annotations.and_then(|all| all.get(FLEET)).map(String::as_str) {
            Some(PAUSED) => Self::Pause,
            Some(RESUME) => Self::Resume,
            _ => Self::Continue,
        }
    }
}

/// Returns the UID of the namespace `kube-system`; `None` without the permission to read it.
///
/// # Errors
/// [`Error::Api`].
pub(super) async fn identity(client: &Client) -> Result<Option<String>, Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_metadata(KUBE_SYSTEM).await {
        Ok(found) => Ok(found.metadata.uid),
        Err(error) if code(&error) == Some(403) => {
            warn!("cannot read the namespace {KUBE_SYSTEM}; update the roles of the chart");
            Ok(None)
        }
        Err(error) => Err(Error::api(format!("read the namespace {KUBE_SYSTEM}"))(error)),
    }
}

/// Follows the objects. An object that cannot be read keeps its last value.
pub(super) fn follow(
    client: &Client,
    settings: &FleetSettings,
) -> (watch::Receiver<HubView>, JoinSet<()>) {
    let (sender, receiver) = watch::channel(HubView::default());
    let names = settings.names();
    let mut tasks = JoinSet::new();

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.release.namespace);
    let (name, view) = (settings.release.last_good(), sender.clone());
    tasks.spawn(async move {
        let take = |found: Result<Option<Secret>, watcher::Error>| match found {
            Ok(found) => {
                let declaration = found.as_ref().map_or(Some(HubDeclaration::Absent), declaration);
                let Some(declaration) = declaration else {
                    warn!("the Secret with the declaration of the release is invalid");
                    return;
                };
                view.send_if_modified(|view| replaced(&mut view.declaration, Some(declaration)));
            }
            Err(error) => unread("the declaration of the release", &error),
        };
        object_watch::follow(secrets, &name, take).await;
    });

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &settings.namespace);
    let (name, view) = (names.bundle(), sender.clone());
    let bundles: Api<ConfigMap> = maps.clone();
    tasks.spawn(async move {
        let mut last = None;
        let take = |found: Result<Option<ConfigMap>, watcher::Error>| match found {
            Ok(found) => {
                let found = found.and_then(|map| map.data).and_then(|mut data| data.remove(BUNDLE));
                if last.as_ref() == Some(&found) {
                    return;
                }
                let parsed = match &found {
                    None => Err("the chart rendered no bundle".to_owned()),
                    Some(found) => HubBundle::parse(found).map(Arc::new),
                };
                if let Err(reason) = &parsed {
                    warn!(reason, "no bundle for workload clusters");
                }
                last = Some(found);
                view.send_modify(|view| view.bundle = Some(parsed));
            }
            Err(error) => unread("the bundle", &error),
        };
        object_watch::follow(bundles, &name, take).await;
    });

    let (name, view) = (names.state(), sender);
    tasks.spawn(async move {
        let take = |found: Result<Option<ConfigMap>, watcher::Error>| match found {
            Ok(found) => {
                let order = found.as_ref().map(HubOrder::of).unwrap_or_default();
                view.send_if_modified(|view| replaced(&mut view.order, order));
            }
            Err(error) => unread("the state of the rollout", &error),
        };
        object_watch::follow(maps, &name, take).await;
    });
    (receiver, tasks)
}

/// Replaces `place` by `value`. Returns true if they differ.
fn replaced<T: PartialEq>(place: &mut T, value: T) -> bool {
    let differs = *place != value;
    *place = value;
    differs
}

fn unread(object: &str, error: &watcher::Error) {
    warn!(object, error = watch_reason(error), "cannot watch an object of the management cluster");
}

/// Returns the declaration in the Secret `N-last-good`; `None` if image-swap did not write it.
fn declaration(secret: &Secret) -> Option<HubDeclaration> {
    let StoredDeclaration(effective) = StoredDeclaration::read(|key| text(secret, key))?;
    if effective.origin == Origin::None {
        return Some(HubDeclaration::Absent);
    }
    let revision = annotation(secret, REVISION)?.parse().ok()?;
    Some(HubDeclaration::Present(revision, effective))
}
