//! The controller: its settings, and its connections to the cluster.

use std::sync::Arc;

use image_swap_core::{declaration::UnixTime, status::ControllerReport};
use kube::{Client, Config};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::settings::{Intervals, Settings};
use crate::{clock::now, events::Events, helm_mark::HelmMark, nodes::StoredNodes};

/// A controller, which may lead or wait for the leadership.
pub struct Controller {
    pub(super) client: Client,
    /// The way to the API server; `None` if probes use the connections of the client.
    pub(super) config: Option<Config>,
    pub(super) settings: Settings,
    /// The name of this process in Events, and as the holder of Leases.
    pub(super) identity: String,
    pub(super) intervals: Intervals,
    pub(super) events: Events,
    pub(super) report: watch::Sender<ControllerReport>,
    /// Notifies the reconcile loop of a change.
    pub(super) changed: Arc<Notify>,
    /// Helm's mark, since this process started.
    pub(super) mark: watch::Sender<HelmMark>,
    /// The Secret that agents of nodes follow, since this process started.
    pub(super) stored_nodes: watch::Sender<StoredNodes>,
    pub(super) started: Instant,
    pub(super) clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
}

impl Controller {
    /// Creates a controller, which Events and Leases name `identity`.
    pub fn new(client: &Client, settings: Settings, identity: &str, intervals: Intervals) -> Self {
        Self {
            client: client.clone(),
            config: None,
            events: Events::new(client, &settings.release, identity),
            settings,
            identity: identity.to_owned(),
            intervals,
            report: watch::Sender::new(ControllerReport::default()),
            changed: Arc::default(),
            mark: watch::Sender::default(),
            stored_nodes: watch::Sender::default(),
            started: Instant::now(),
            clock: Box::new(now),
        }
    }

    /// Probes over connections of their own by `config`: each API server at its own
    /// address, and the address of `config` over a new connection each time.
    #[must_use]
    pub fn probing_by(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Returns the controller with another clock, for tests of rotations.
    #[must_use]
    pub fn by_clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Returns the report of the controller and its changes.
    pub fn report(&self) -> watch::Receiver<ControllerReport> {
        self.report.subscribe()
    }
}
