//! An admission replica: the real server, with the rules and the certificate of the cluster's
//! Secrets.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use image_swap_cluster::{ReplicaSink, ReplicaState};
use image_swap_core::admission::Settings;
use image_swap_serve::{
    Limits, RunningServer, metrics,
    pki::{Certificate, CertificateInForce},
};
use image_swap_webhook::{
    AdmissionMetrics, Revision, RulesInForce, SettingsInForce, TemplateNamespaces, Webhook,
};
use tokio::sync::watch;

pub(crate) struct Replica {
    served: watch::Sender<Option<ReplicaState>>,
    rules: RulesInForce,
    settings: SettingsInForce,
    templates: TemplateNamespaces,
    certificate: CertificateInForce,
    certificates: watch::Sender<u32>,
    metrics: Arc<AdmissionMetrics>,
    port: u16,
    admin_port: u16,
    running: Mutex<Option<RunningServer>>,
}

impl Replica {
    #[expect(clippy::unused_async, reason = "a socket needs a runtime")]
    pub(crate) async fn start() -> Arc<Self> {
        let (rules, certificate) = (RulesInForce::default(), CertificateInForce::default());
        let settings = SettingsInForce::default();
        let templates = TemplateNamespaces::default();
        let metrics = AdmissionMetrics::new(&rules, &certificate);
        let webhook = Webhook {
            listen: ([0, 0, 0, 0], 0).into(),
            admin_listen: ([0, 0, 0, 0], 0).into(),
            limits: Limits::default(),
            templates: templates.clone(),
            settings: settings.clone(),
            metrics: Arc::clone(&metrics),
            rules: rules.clone(),
            certificate: certificate.clone(),
        };
        let bound = webhook.bind().unwrap();
        let port = bound.address.port();
        let admin_port = bound.admin_address.port();
        Arc::new(Self {
            served: watch::Sender::new(None),
            rules,
            settings,
            templates,
            certificate,
            certificates: watch::Sender::new(0),
            metrics,
            port,
            admin_port,
            running: Mutex::new(Some(bound.run())),
        })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) const fn admin_port(&self) -> u16 {
        self.admin_port
    }

    pub(crate) fn served(&self) -> watch::Receiver<Option<ReplicaState>> {
        self.served.subscribe()
    }

    /// Returns the namespaces whose machine templates get the bootstrap script.
    pub(crate) fn templates(&self) -> TemplateNamespaces {
        self.templates.clone()
    }

    /// Returns the number of certificates that the replica has received.
    pub(crate) fn certificates(&self) -> watch::Receiver<u32> {
        self.certificates.subscribe()
    }

    /// Returns the metrics of the replica.
    pub(crate) fn metrics(&self) -> String {
        metrics::text(&self.metrics.registry).unwrap()
    }

    /// Marks the replica as leaving. It still responds.
    pub(crate) fn deregister(&self) {
        if let Some(running) = self.running.lock().unwrap().as_ref() {
            running.leave();
        }
    }

    /// Ends the replica after it has answered open requests; new ones are refused.
    pub(crate) async fn drain(&self, patience: Duration) {
        let running = self.running.lock().unwrap().take().unwrap();
        assert_eq!(running.drain(patience).await.cut, 0);
    }

    /// Ends the replica at once.
    pub(crate) fn stop(&self) {
        drop(self.running.lock().unwrap().take());
    }
}

impl ReplicaSink for Replica {
    fn serve(&self, served: ReplicaState) {
        let mode = served.mode.unwrap_or_default();
        let pull_secret = served.pull_secret.clone();
        self.settings.replace(Settings { mode, pull_secret, ..Settings::default() });
        let (source, hash) = (served.origin.as_str().to_owned(), served.hash.clone());
        self.rules.replace_by(served.rules.clone(), Revision { source, hash });
        self.served.send_replace(Some(served));
    }

    fn refuse(&self) {}

    fn certificate(&self, chain: &[u8], key: &[u8]) -> bool {
        self.certificate.replace(Certificate::from_pem(chain, key).unwrap());
        self.certificates.send_modify(|count| *count += 1);
        true
    }
}
