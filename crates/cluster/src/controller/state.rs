//! The state of the controller that leads.

use std::collections::HashMap;

use image_swap_core::{
    control::{
        certificates::{AuthorityId, Published},
        competitors::Sightings,
        effective::Effective,
        node_gate::PodSwapping,
        policy::FailurePolicyGate,
        rate_limit::{RewriteLimit, TokenBucket},
        trust::NodeTrust,
        webhooks::DesiredWebhooks,
    },
    declaration::{Declaration, Registry, UnixTime},
    pull_secret::{self, CoveredImages},
    status::{
        AgentsStatus, CompetitorStatus, ControllerReport, DeclarationStatus, FailingStep,
        PullSecretStatus, RecreatedPods, RegistryStatus, ServedDeclaration,
    },
};
use tokio::sync::{oneshot, watch};

use crate::{
    error::Error,
    nodes::{NodeOrders, NodesInForce},
    pull_secrets::DesiredPullSecret,
};

/// State of the controller that leads. The next leader computes it again.
#[derive(Default)]
pub(super) struct ReconcileState {
    pub(super) gate: Option<FailurePolicyGate>,
    /// The number of gates that were begun: each is probed for at once.
    pub(super) gates: usize,
    pub(super) published: Published,
    /// The registration that was last in place.
    pub(super) registered: Option<DesiredWebhooks>,
    pub(super) repairs: TokenBucket,
    pub(super) rewrites: RewriteLimit<String>,
    /// Authorities of a certificate of another issuer, and the time when they were first seen.
    pub(super) wanted: Option<(Vec<AuthorityId>, UnixTime)>,
    /// The last note of each Event, so that it is published once.
    pub(super) notes: HashMap<&'static str, String>,
    /// A registration that may be deleted.
    pub(super) uninstallation: Uninstallation,
    /// Other programs that swap images, and their life over time.
    pub(super) foreign: Vec<CompetitorStatus>,
    pub(super) sightings: Sightings,
    /// The declaration in force, as it was last read.
    pub(super) declaration: Option<DeclarationInForce>,
    /// The steps that failed last.
    pub(super) failing: Vec<FailingStep>,
    /// The reconciliations in a row in which a step failed.
    pub(super) failed: u32,
    /// The report that was last written.
    pub(super) written: Option<ControllerReport>,
    /// The answer of the check that runs.
    pub(super) checking: Option<oneshot::Receiver<RegistryStatus>>,
    pub(super) health: Option<RegistryStatus>,
    /// The registry that [`Self::health`] is about, its credential included.
    pub(super) health_of: Option<Registry>,
    /// The registry that was checked, its credential included, and when the next check is due.
    pub(super) checked: Option<(Registry, UnixTime)>,
    /// The highest revision that was seen.
    pub(super) revision: u64,
    /// A hash of the declaration with that revision; [`None`] before the first.
    pub(super) numbered: Option<u64>,
    /// Desired state for the controller of pull Secrets.
    pub(super) orders: watch::Sender<DesiredPullSecret>,
    /// Status that the controller of pull Secrets reports.
    pub(super) pull_secrets: watch::Sender<PullSecretStatus>,
    /// Desired state for the controller of nodes.
    pub(super) node_orders: watch::Sender<NodeOrders>,
    /// Status that the controller of nodes reports; `None` without agents.
    pub(super) agents: watch::Sender<Option<AgentsStatus>>,
    /// Reason why the controller of nodes cannot work; `None` if it can.
    pub(super) node_obstacle: watch::Sender<Option<String>>,
    /// Reason why the pull from a management cluster fails; `None` if it does not.
    pub(super) hub_obstacle: watch::Sender<Option<String>>,
    /// Declaration that is in force on all nodes.
    pub(super) nodes_in_force: watch::Sender<NodesInForce>,
    /// Declaration in force without its credential, for the count of pods; `None` before the first.
    pub(super) counted: watch::Sender<Option<Effective>>,
    /// Pods that are created again and again.
    pub(super) recreated: watch::Sender<Vec<RecreatedPods>>,
}

impl ReconcileState {
    /// Keeps `note` as the last one about `topic`. Returns true if it is worth an Event: it
    /// is not empty, and not the one before.
    pub(super) fn is_news(&mut self, topic: &'static str, note: &str) -> bool {
        let before = self.notes.insert(topic, note.to_owned());
        !note.is_empty() && before.as_deref() != Some(note)
    }

    /// Allows a write of `content` to the object `name`, unless it would be one repair
    /// too many.
    pub(super) fn rewrite(
        &mut self,
        name: &str,
        content: &str,
        now: UnixTime,
    ) -> Result<(), Error> {
        let allowed = self.rewrites.begin(name, &content.to_owned(), now);
        allowed.map_err(|seconds| Error::Paced { name: name.to_owned(), seconds })
    }
}

/// The declaration in force.
#[derive(Default)]
pub(super) struct DeclarationInForce {
    /// The declaration; `None` before the first was read.
    pub(super) effective: Option<Effective>,
    pub(super) declared: DeclarationStatus,
    /// Requirements that nodes have to meet.
    pub(super) trust: NodeTrust,
    pub(super) registry: Option<Registry>,
    /// Pull Secrets of the declaration that pods are swapped by; `None` if they are unknown, and
    /// stay as they are.
    pub(super) pull_secrets: Option<PullSecretContent>,
    /// The declaration that pods are swapped by.
    pub(super) swapping: PodSwapping,
    /// The declaration that replicas serve; `None` before the first.
    pub(super) served: Option<ServedDeclaration>,
}

/// The credential with which nodes pull swapped images.
#[derive(Clone, Default)]
pub(super) struct PullSecretContent {
    /// Content of pull Secrets, the password included; [`None`] without a credential.
    pub(super) credential: Option<Vec<u8>>,
    /// The images that are pulled with it; [`None`] without a registry.
    pub(super) covered: Option<CoveredImages>,
}

impl PullSecretContent {
    /// Returns the credential of `declaration`.
    pub(super) fn of(declaration: Option<&Declaration>) -> Self {
        Self {
            credential: declaration.and_then(pull_secret::content),
            covered: declaration.and_then(CoveredImages::of),
        }
    }
}

/// The memory of a registration that may be deleted.
#[derive(Default)]
pub(super) struct Uninstallation {
    /// True once the memory of the previous leader was read.
    pub(super) is_read: bool,
    /// True if the registration had entries when it was last read, or if a previous leader
    /// may have registered.
    pub(super) registered: bool,
    /// The UID of the last mark; `None` if none was seen.
    pub(super) mark: Option<String>,
    /// The end of the quiet time; `None` if there is none.
    pub(super) until: Option<UnixTime>,
}

impl Uninstallation {
    /// Returns true during the quiet time.
    pub(super) fn is_quiet(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Returns the memory of a release that is not registered.
    pub(super) const fn unregistered(mark: Option<String>) -> Self {
        Self { is_read: true, registered: false, mark, until: None }
    }
}
