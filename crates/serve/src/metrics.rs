//! Metrics of a server, and their text for Prometheus.
//!
//! Every label has a fixed set of values: result codes of the server, `success` and
//! `failure`. Nothing that a client sends becomes a label.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use hyper::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::watch;

use crate::connections::OpenConnections;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

/// The counters of a server.
#[derive(Debug)]
pub struct ServerMetrics {
    requests: Family<ByCode, Counter>,
    /// The counter of status 200, which nearly every request has.
    answered: Counter,
    requests_in_flight: Gauge,
    handshake_failures: Counter,
    clients: Arc<OnceLock<Arc<OpenConnections>>>,
}

impl ServerMetrics {
    /// Registers the counters of a server whose requests are for `purpose`.
    pub fn register(registry: &mut Registry, purpose: &str) -> Arc<Self> {
        let requests = Family::<ByCode, Counter>::default();
        let help = format!("Requests for {purpose}, by HTTP status");
        registry.register("requests", help, requests.clone());
        let answered = requests.get_or_create_owned(&ByCode { code: StatusCode::OK.as_u16() });
        let requests_in_flight = Gauge::default();
        let help = "Requests that are not answered yet";
        registry.register("requests_in_flight", help, requests_in_flight.clone());
        let handshake_failures = Counter::default();
        let help = "TLS handshakes that failed, for example because a client does not trust the certificate";
        registry.register("handshake_failures", help, handshake_failures.clone());
        let clients = Arc::<OnceLock<_>>::default();
        registry.register_collector(Box::new(ClientCollector(Arc::clone(&clients))));
        Arc::new(Self { requests, answered, requests_in_flight, handshake_failures, clients })
    }

    /// Reports the clients of the TLS port from now on.
    pub(crate) fn watch_clients(&self, connections: &Arc<OpenConnections>) {
        let _ = self.clients.set(Arc::clone(connections));
    }

    /// Counts a request as in flight until the guard drops.
    pub(crate) fn request(&self) -> InFlightGuard<'_> {
        self.requests_in_flight.inc();
        InFlightGuard(&self.requests_in_flight)
    }

    /// Counts an answer.
    pub(crate) fn answer(&self, status: StatusCode) {
        if status == StatusCode::OK {
            self.answered.inc();
        } else {
            self.requests.get_or_create(&ByCode { code: status.as_u16() }).inc();
        }
    }

    /// Counts a TLS handshake that failed.
    pub(crate) fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }
}

/// The gauge of requests in flight, raised by one until this drops.
pub(crate) struct InFlightGuard<'m>(&'m Gauge);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The connections of the TLS port and the memory charged to them.
#[derive(Debug)]
struct ClientCollector(Arc<OnceLock<Arc<OpenConnections>>>);

impl Collector for ClientCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(connections) = self.0.get() else { return Ok(()) };
        gauge(&mut encoder, "connections", "Open connections", connections.memory.len())?;
        let help = "Memory used by clients: connections, bodies and unread answers";
        gauge(&mut encoder, "client_memory_bytes", help, connections.memory.used())?;
        let help = "Connections that were closed to make room for others";
        let evicted = u64::try_from(connections.evicted()).unwrap_or(u64::MAX);
        counter(&mut encoder, "connections_evicted", help, evicted)
    }
}

/// Counts of reloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Reloads after which the new content was in force.
    pub success: u64,
    /// Reloads of unusable content: the last good one stayed.
    pub failure: u64,
}

/// A counter of reloads that can be awaited: a handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<watch::Sender<ReloadCounts>>);

impl Reloads {
    /// Counts new content that is in force.
    pub fn succeeded(&self) {
        self.0.send_modify(|counts| counts.success += 1);
    }

    /// Counts new content that was unusable.
    pub fn failed(&self) {
        self.0.send_modify(|counts| counts.failure += 1);
    }

    /// Follows the counts.
    pub fn subscribe(&self) -> watch::Receiver<ReloadCounts> {
        self.0.subscribe()
    }

    /// Writes the counts as a metric.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> fmt::Result {
        let counts = *self.0.borrow();
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (result, count) in [("success", counts.success), ("failure", counts.failure)] {
            family
                .encode_family(&[("result", result)])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

/// Returns all metrics of `registry` in the text format of `OpenMetrics`.
///
/// # Errors
/// If a metric cannot be formatted: never, in fact.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// Writes a gauge without labels. A value beyond `i64` is written as its greatest one.
///
/// # Errors
/// If the encoder fails.
pub fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl TryInto<i64>,
) -> fmt::Result {
    let value = value.try_into().unwrap_or(i64::MAX);
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

/// Writes a counter without labels.
///
/// # Errors
/// If the encoder fails.
pub fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}
