//! What is counted, and how it is told to Prometheus.
//!
//! Every label has a fixed set of values: reasons, result codes of our own,
//! `success` and `failure`. Nothing that a client sends becomes a label.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use hyper::StatusCode;
use image_swap_core::admission::{Outcome, Tally};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use tokio::sync::watch;

use crate::{certificate::CertificateInForce, memory::Memory, rules::RulesInForce};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: u16,
}

/// The server's counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// One for each outcome: found by looking, not by hashing.
    decisions: Vec<(Outcome, Counter)>,
    requests: Family<ByCode, Counter>,
    /// The one of them that nearly every request counts under.
    answered: Counter,
    requests_in_flight: Gauge,
    handshake_failures: Counter,
    admission: Histogram,
    memory: Arc<OnceLock<Arc<Memory>>>,
    /// Reloads of the declaration.
    pub declaration_reloads: Reloads,
    /// Reloads of the certificate.
    pub certificate_reloads: Reloads,
}

impl Metrics {
    /// Counters at zero. What is in force is read from the handles whenever
    /// the metrics are.
    pub fn new(rules: &RulesInForce, certificate: &CertificateInForce) -> Arc<Self> {
        let mut registry = Registry::with_prefix("image_swap");
        let decisions = Family::<ByReason, Counter>::default();
        registry.register("decisions", "Images decided on, by reason", decisions.clone());
        let of_outcome = |outcome: Outcome| {
            (outcome, decisions.get_or_create_owned(&ByReason { reason: outcome.as_str() }))
        };
        let decisions = Outcome::all().map(of_outcome).collect();
        let requests = Family::<ByCode, Counter>::default();
        registry.register("requests", "Requests for a review, by HTTP status", requests.clone());
        let answered = requests.get_or_create_owned(&ByCode { code: StatusCode::OK.as_u16() });
        let requests_in_flight = Gauge::<i64, AtomicI64>::default();
        registry.register(
            "requests_in_flight",
            "Requests that have no answer yet",
            requests_in_flight.clone(),
        );
        let handshake_failures = Counter::<u64, AtomicU64>::default();
        registry.register(
            "handshake_failures",
            "TLS handshakes that failed: a client that does not trust the certificate, or is none",
            handshake_failures.clone(),
        );
        // 10 us to 0.33 s: a common review takes some 15 us, the largest some 10 ms.
        let admission = Histogram::new(exponential_buckets(10e-6, 2.0, 16));
        registry.register(
            "admission_duration_seconds",
            "Time that reviews take once they are read",
            admission.clone(),
        );
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", version);
        let declaration_reloads = Reloads::default();
        let certificate_reloads = Reloads::default();
        let memory = Arc::<OnceLock<_>>::default();
        registry.register_collector(Box::new(Clients(Arc::clone(&memory))));
        registry.register_collector(Box::new(InForce {
            rules: rules.clone(),
            certificate: certificate.clone(),
            declaration_reloads: declaration_reloads.clone(),
            certificate_reloads: certificate_reloads.clone(),
        }));
        Arc::new(Self {
            registry,
            decisions,
            requests,
            answered,
            requests_in_flight,
            handshake_failures,
            admission,
            memory,
            declaration_reloads,
            certificate_reloads,
        })
    }

    /// Reports the clients of the TLS port from now on.
    pub(crate) fn watch_memory(&self, memory: &Arc<Memory>) {
        let _ = self.memory.set(Arc::clone(memory));
    }

    /// Everything, in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// If it cannot be formatted: never, in fact.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A request has come; it is in flight until the guard drops.
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.requests_in_flight.inc();
        InFlight(&self.requests_in_flight)
    }

    pub(crate) fn answer(&self, status: StatusCode) {
        if status == StatusCode::OK {
            self.answered.inc();
        } else {
            self.requests.get_or_create(&ByCode { code: status.as_u16() }).inc();
        }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }

    pub(crate) fn admission(&self, time: Duration, decisions: &Tally) {
        self.admission.observe(time.as_secs_f64());
        for (outcome, counter) in &self.decisions {
            let count = decisions.of(*outcome);
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }
}

/// A request without an answer.
pub(crate) struct InFlight<'m>(&'m Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How often something was reloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// The new one was put in force.
    pub success: u64,
    /// The new one was unusable: the last good one stayed.
    pub failure: u64,
}

/// Counts reloads, and tells whoever waits for one: a handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<watch::Sender<ReloadCounts>>);

impl Reloads {
    /// The new one is in force.
    pub fn succeeded(&self) {
        self.0.send_modify(|counts| counts.success += 1);
    }

    /// The new one was unusable.
    pub fn failed(&self) {
        self.0.send_modify(|counts| counts.failure += 1);
    }

    /// Follows the counts.
    pub fn subscribe(&self) -> watch::Receiver<ReloadCounts> {
        self.0.subscribe()
    }
}

/// What is in force, read when it is asked for, so that it is right whoever put
/// it there.
#[derive(Debug)]
struct InForce {
    rules: RulesInForce,
    certificate: CertificateInForce,
    declaration_reloads: Reloads,
    certificate_reloads: Reloads,
}

impl Collector for InForce {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(rules) = self.rules.current() {
            let count = u64::try_from(rules.rules().len()).unwrap_or(u64::MAX);
            gauge(&mut encoder, "rules", "Rules in force", count)?;
        }
        if let Some(certificate) = self.certificate.current() {
            gauge(
                &mut encoder,
                "certificate_expiry_timestamp_seconds",
                "When the serving certificate expires, in seconds since 1970",
                certificate.expires(),
            )?;
        }
        reloads(
            &mut encoder,
            "declaration_reloads",
            "Reloads of the declaration; at a failure the last good one stays",
            &self.declaration_reloads,
        )?;
        reloads(
            &mut encoder,
            "certificate_reloads",
            "Reloads of the serving certificate; at a failure the last good one stays",
            &self.certificate_reloads,
        )
    }
}

/// The connections of the TLS port and the memory charged to them.
#[derive(Debug)]
struct Clients(Arc<OnceLock<Arc<Memory>>>);

impl Collector for Clients {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(memory) = self.0.get() else { return Ok(()) };
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        gauge(&mut encoder, "connections", "Open connections", number(memory.len()))?;
        gauge(
            &mut encoder,
            "client_memory_bytes",
            "Memory charged to clients: connections, bodies and unread answers",
            number(memory.used()),
        )?;
        encoder
            .encode_descriptor(
                "connections_evicted",
                "Connections that were closed to make room for others",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&number(memory.evicted()), None)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn reloads(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    reloads: &Reloads,
) -> fmt::Result {
    let counts = *reloads.0.borrow();
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (result, count) in [("success", counts.success), ("failure", counts.failure)] {
        family
            .encode_family(&[("result", result)])?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
