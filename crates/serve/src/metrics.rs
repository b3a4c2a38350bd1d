//! Metrics of a server, and their text format for Prometheus.
//!
//! Every label has a fixed set of values: status codes of the server, `success` and `failure`.
//! Input of a client never becomes a label.

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
    /// HTTP status of the answer.
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

    /// Counts a request as in flight. The count ends when the guard drops.
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

/// A guard that counts one request in flight until it drops.
pub(crate) struct InFlightGuard<'m>(&'m Gauge);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A collector of the connections of the TLS port and their memory.
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
    /// Number of reloads after which the new content was in force.
    pub success: u64,
    /// Number of reloads of unusable content, after which the last good one stayed in force.
    pub failure: u64,
}

/// A handle of a counter of reloads that can be awaited, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<watch::Sender<ReloadCounts>>);

impl Reloads {
    /// Counts a reload after which the new content is in force.
    pub fn succeeded(&self) {
        self.0.send_modify(|counts| counts.success += 1);
    }

    /// Counts a reload of unusable content.
    pub fn failed(&self) {
        self.0.send_modify(|counts| counts.failure += 1);
    }

    /// Returns a receiver of the counts and their changes.
    pub fn subscribe(&self) -> watch::Receiver<ReloadCounts> {
        self.0.subscribe()
    }

    /// Writes the counts as the metric `name`.
    ///
    /// # Errors
    /// Returns the error of the encoder.
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
/// Returns an error if a metric cannot be formatted, which does not happen in a string.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode(&mut text, registry)?;
    Ok(text)
}

/// Writes a gauge without labels. A value above `i64::MAX` is written as `i64::MAX`.
///
/// # Errors
/// Returns the error of the encoder.
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
/// Returns the error of the encoder.
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
