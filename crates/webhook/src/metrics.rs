//! Metrics of the webhook.
//!
//! Every label has a fixed set of values: the outcomes of a decision, and those of
//! `image_swap_serve::metrics`. Nothing that a client sends becomes a label.

use std::{fmt, sync::Arc, time::Duration};

use image_swap_core::admission::{DecisionCounts, ImageOutcome};
use image_swap_serve::{Reloads, ServerMetrics, metrics::gauge, pki::CertificateInForce};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::rules::RulesInForce;

/// The label of [`AdmissionMetrics::decisions`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// The counters of the webhook.
#[derive(Debug)]
pub struct AdmissionMetrics {
    /// All metrics of the webhook.
    pub registry: Registry,
    pub(crate) server: Arc<ServerMetrics>,
    /// One counter for each outcome. A list is faster than a hash map here.
    decisions: Vec<(ImageOutcome, Counter)>,
    admission: Histogram,
    /// Reloads of the declaration.
    pub declaration_reloads: Reloads,
    /// Reloads of the certificate.
    pub certificate_reloads: Reloads,
}

impl AdmissionMetrics {
    /// Creates counters at zero. Each scrape reads the rules and the certificate in force from
    /// the handles.
    pub fn new(rules: &RulesInForce, certificate: &CertificateInForce) -> Arc<Self> {
        let mut registry = Registry::with_prefix("image_swap");
        let decisions = Family::<ByReason, Counter>::default();
        registry.register("decisions", "Images in reviews, by outcome", decisions.clone());
        let of_outcome = |outcome: ImageOutcome| {
            (outcome, decisions.get_or_create_owned(&ByReason { reason: outcome.as_str() }))
        };
        let decisions = ImageOutcome::all().map(of_outcome).collect();
        let server = ServerMetrics::register(&mut registry, "a review");
        // 10 us to 0.33 s: a common review takes some 15 us, the largest some 10 ms.
        let admission = Histogram::new(exponential_buckets(10e-6, 2.0, 16));
        let help = "Duration of reviews without reading the request, in seconds";
        registry.register("admission_duration_seconds", help, admission.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the program", version);
        let declaration_reloads = Reloads::default();
        let certificate_reloads = Reloads::default();
        registry.register_collector(Box::new(ReloadCollector {
            rules: rules.clone(),
            certificate: certificate.clone(),
            declaration_reloads: declaration_reloads.clone(),
            certificate_reloads: certificate_reloads.clone(),
        }));
        Arc::new(Self {
            registry,
            server,
            decisions,
            admission,
            declaration_reloads,
            certificate_reloads,
        })
    }

    /// Counts one answered review, which took `time`.
    pub(crate) fn admission(&self, time: Duration, decisions: &DecisionCounts) {
        self.admission.observe(time.as_secs_f64());
        for (outcome, counter) in &self.decisions {
            let count = decisions.of(*outcome);
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }
}

/// A collector of the rules and the certificate in force, of any source, and of their reloads.
#[derive(Debug)]
struct ReloadCollector {
    rules: RulesInForce,
    certificate: CertificateInForce,
    declaration_reloads: Reloads,
    certificate_reloads: Reloads,
}

impl Collector for ReloadCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Some(rules) = self.rules.current() {
            gauge(encoder, "rules", "Rules in force", rules.rules().len())?;
        }
        if let Some(certificate) = self.certificate.current() {
            let name = "certificate_expiry_timestamp_seconds";
            let help = "Expiry of the serving certificate, in seconds since 1970";
            gauge(encoder, name, help, certificate.expires())?;
        }
        let help = "Reloads of the declaration; after a failure the last good one stays in force";
        self.declaration_reloads.encode(encoder, "declaration_reloads", help)?;
        let help =
            "Reloads of the serving certificate; after a failure the last good one stays in force";
        self.certificate_reloads.encode(encoder, "certificate_reloads", help)
    }
}
