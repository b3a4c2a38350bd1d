//! Makes each API server call a replica.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderValue, WARNING},
};
use image_swap_core::{
    control::policy::{
        ApiServer, FailurePolicy, FailurePolicyGate, Probe, ProbePace, RequestedPolicy,
    },
    labels,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Client, Config, Resource,
    api::{Patch, PatchParams, Request},
    client::Body,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::{context::Controller, settings::Intervals};
use crate::{
    api::MANAGER,
    client::connect_apart,
    endpoints::{api_servers, has_endpoints},
    error::{Error, reason},
    release::Release,
};

/// The time, beside the webhook's own, after which an API server is silent.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// Far away: nothing is due.
const NEVER: Duration = Duration::from_hours(24);

/// The probes of all API servers: when each is due, and those that run. An interval is
/// counted from a probe's beginning, and no probe waits for another one.
pub(super) struct Prober {
    target: Arc<ProbeTarget>,
    intervals: Intervals,
    started: Instant,
    due: BTreeMap<ApiServer, Instant>,
    running: Vec<ApiServer>,
    outcomes: JoinSet<ProbeOutcome>,
}

/// The result of one probe.
pub(super) struct ProbeOutcome {
    server: ApiServer,
    probe: Probe,
    began: Instant,
    ended: Instant,
    /// The addresses of all API servers; `None` if they were not looked up.
    addresses: Option<Vec<SocketAddr>>,
}

/// The release that API servers have to reach.
pub(super) struct ProbeTarget {
    client: Client,
    /// The way to the API server, for connections of its own to each; without it all
    /// probes use the client's connections.
    config: Option<Config>,
    release: Release,
    service: String,
    /// The time after which an API server is silent.
    patience: Duration,
}

impl Prober {
    pub(super) fn new(controller: &Controller) -> Self {
        let mut due = BTreeMap::new();
        due.insert(ApiServer::Shared, Instant::now());
        Self {
            target: Arc::new(ProbeTarget::of(controller)),
            intervals: controller.intervals,
            started: Instant::now(),
            due,
            running: Vec::new(),
            outcomes: JoinSet::new(),
        }
    }

    /// Returns the time of the next probe.
    pub(super) fn due(&self) -> Instant {
        self.due.values().min().copied().unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// Begins all probes that are due.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        let due = self.due.extract_if(.., |_, at| *at <= now);
        for server in due.map(|(server, _)| server).collect::<Vec<_>>() {
            self.running.push(server);
            let target = Arc::clone(&self.target);
            self.outcomes.spawn(async move { target.outcome(server).await });
        }
    }

    /// Waits for the next result; `None` if no probe runs.
    pub(super) async fn finished(&mut self) -> Option<ProbeOutcome> {
        match self.outcomes.join_next().await? {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                warn!(%error, "a probe failed unexpectedly");
                self.running.clear();
                None
            }
        }
    }

    /// Notes a result, and schedules the next probes. Returns true if the policy or the
    /// summary changed.
    pub(super) fn note(&mut self, outcome: &ProbeOutcome, gate: &mut FailurePolicyGate) -> bool {
        let summary = |gate: &FailurePolicyGate| (gate.summary(), gate.unreached());
        let before = summary(gate);
        let mut changed = false;
        if let Some(addresses) = &outcome.addresses {
            changed |= gate.set_servers(addresses).is_some();
        }
        let at = |moment: Instant| moment.saturating_duration_since(self.started);
        let (began, ended) = (at(outcome.began), at(outcome.ended));
        changed |= gate.observe(outcome.server, outcome.probe, began, ended).is_some();
        self.running.retain(|server| *server != outcome.server);
        let next = outcome.began + self.interval(gate, outcome.server);
        self.due.insert(outcome.server, next);
        // New API servers are probed at once, and those that are gone never.
        let servers: Vec<ApiServer> = gate.servers().collect();
        self.due.retain(|server, _| servers.contains(server));
        for server in servers {
            if !self.running.contains(&server) {
                self.due.entry(server).or_insert_with(Instant::now);
            }
        }
        changed || summary(gate) != before
    }

    fn interval(&self, gate: &FailurePolicyGate, server: ApiServer) -> Duration {
        match gate.pace(server) {
            ProbePace::Soon => self.intervals.retry,
            ProbePace::Often => self.intervals.probe / 5,
            // Of several API servers behind one address each is met now and then.
            ProbePace::Steady
                if gate.servers().count() == 1
                    && gate.policy(RequestedPolicy::Fail) == FailurePolicy::Fail =>
            {
                self.intervals.probe / 2
            }
            ProbePace::Steady => self.intervals.probe,
        }
    }
}

impl ProbeTarget {
    pub(super) fn of(controller: &Controller) -> Self {
        let settings = &controller.settings;
        let webhook = Duration::from_secs(settings.timeout_seconds.into());
        Self {
            client: controller.client.clone(),
            config: controller.config.clone(),
            release: settings.release.clone(),
            service: settings.service.clone(),
            patience: webhook + SILENT_AFTER,
        }
    }

    async fn outcome(&self, server: ApiServer) -> ProbeOutcome {
        let began = Instant::now();
        let (probe, addresses) = tokio::join!(
            timeout(self.patience, self.probe(server)),
            timeout(self.patience, self.addresses(server)),
        );
        ProbeOutcome {
            server,
            probe: probe.unwrap_or(Probe::Silent),
            began,
            ended: Instant::now(),
            addresses: addresses.unwrap_or_default(),
        }
    }

    /// Returns the addresses of all API servers, looked up with each probe of the shared
    /// one.
    async fn addresses(&self, server: ApiServer) -> Option<Vec<SocketAddr>> {
        if server != ApiServer::Shared || self.config.is_none() {
            return None;
        }
        api_servers(&self.client).await.ok()
    }

    /// Returns a client that opens a connection of its own to `server`.
    fn client(&self, server: ApiServer) -> Result<Client, Error> {
        let Some(config) = &self.config else { return Ok(self.client.clone()) };
        let address = match server {
            ApiServer::At(address) => Some(address),
            ApiServer::Shared => None,
        };
        connect_apart(config, address, self.patience)
    }

    /// Creates, as a dry run, an object that the probe's entry matches. Success proves
    /// nothing, since an API server that has not yet read the entry accepts the object
    /// too. The replica's answer has to show, in the object or as a warning. The warning
    /// shows even if a quota or a policy refuses the object afterwards.
    pub(super) async fn probe(&self, server: ApiServer) -> Probe {
        match self.send(server).await {
            Ok(Ok(probe)) => probe,
            Ok(Err((status, message))) if is_about_the_webhook(&message) => {
                debug!(?server, %status, message, "the API server cannot call a replica");
                let Release { namespace, .. } = &self.release;
                match has_endpoints(&self.client, namespace, &self.service).await {
                    Ok(true) => Probe::Unreached,
                    Ok(false) => Probe::NoEndpoints,
                    Err(_) => Probe::Unknown,
                }
            }
            Ok(Err((status, message))) => {
                debug!(?server, %status, message, "the API server rejected the probe");
                // At an address of its own this may be any server.
                if server == ApiServer::Shared { Probe::Unknown } else { Probe::Silent }
            }
            Err(error) => {
                debug!(?server, error, "the API server did not respond to a probe");
                Probe::Silent
            }
        }
    }

    async fn send(&self, server: ApiServer) -> Result<ProbeAnswer, String> {
        let Release { namespace, name, .. } = &self.release;
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.release.probe(),
                "labels": { labels::PROBE: name },
                "annotations": { labels::PROBE_REACHED: labels::NOT_REACHED },
            },
        });
        let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
        let maps = Request::new(ConfigMap::url_path(&(), Some(namespace)));
        let request = maps
            .patch(&self.release.probe(), &params, &Patch::Apply(&object))
            .map_err(|error| error.to_string())?;
        let client = self.client(server).map_err(|error| error.to_string())?;
        let answer = client.send(request.map(Body::from)).await.map_err(|error| reason(&error))?;
        let (head, body) = answer.into_parts();
        let body = body.collect_bytes().await.map_err(|error| reason(&error))?;
        Ok(read(head.status, &head.headers, &body))
    }
}

/// The answer of an API server to a probe: [`Probe::Reached`] if a replica's answer shows in it,
/// and [`Probe::Unknown`] if the object was accepted without one. An error contains the reason why
/// the object was refused.
type ProbeAnswer = Result<Probe, (StatusCode, String)>;

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProbeAnswer {
    let warning = labels::REACHED_WARNING.as_bytes();
    let is_reached =
        |value: &HeaderValue| value.as_bytes().windows(warning.len()).any(|it| it == warning);
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if headers.get_all(WARNING).iter().any(is_reached)
        || body["metadata"]["annotations"][labels::PROBE_REACHED] == labels::REACHED
    {
        return Ok(Probe::Reached);
    }
    if status.is_success() {
        return Ok(Probe::Unknown);
    }
    Err((status, body["message"].as_str().unwrap_or_default().to_owned()))
}

/// Returns true for the API server's words for a webhook of image-swap that it could not
/// call (`failed calling webhook "probe.image-swap.io": …`).
fn is_about_the_webhook(message: &str) -> bool {
    message.contains("failed calling webhook") && message.contains("probe.image-swap.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, warning: &str, body: &Value) -> ProbeAnswer {
        let mut headers = HeaderMap::new();
        headers.append(WARNING, "299 - \"something else\"".parse().unwrap());
        headers.append(WARNING, format!("299 - \"{warning}\"").parse().unwrap());
        read(StatusCode::from_u16(status).unwrap(), &headers, body.to_string().as_bytes())
    }

    #[test]
    fn replica_shows_in_object_or_warning() {
        let map =
            |value| json!({ "metadata": { "annotations": { labels::PROBE_REACHED: value } } });
        let refused = json!({ "message": "exceeded quota" });
        assert_eq!(answer(200, "", &map(labels::REACHED)), Ok(Probe::Reached));
        assert_eq!(
            answer(200, labels::REACHED_WARNING, &map(labels::NOT_REACHED)),
            Ok(Probe::Reached)
        );
        assert_eq!(answer(200, "", &map(labels::NOT_REACHED)), Ok(Probe::Unknown));
        assert_eq!(answer(403, labels::REACHED_WARNING, &refused), Ok(Probe::Reached));
        let (_, message) = answer(403, "", &refused).unwrap_err();
        assert!(!is_about_the_webhook(&message));
    }
}
