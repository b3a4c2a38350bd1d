//! The rules and certificate of a webhook from Secrets of a release.

use std::{path::PathBuf, sync::Arc};

use image_swap_cluster::{self as cluster, Release, ReplicaState, client, follow};
use image_swap_core::{admission::Settings, labels::BOOTSTRAP_SECRET};
use image_swap_serve::pki::Certificate;
use image_swap_webhook::Revision;
use tracing::error;

use super::handles::WebhookHandles;
use crate::failure::Failure;

/// A release in a cluster.
#[derive(Debug, clap::Args)]
pub(super) struct InCluster {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE", requires = "in_cluster", help_heading = CLUSTER)]
    namespace: Option<String>,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = CLUSTER)]
    name: String,
    /// The Secret with the serving certificate [default: NAME-tls].
    #[arg(long, value_name = "SECRET", requires = "in_cluster", help_heading = CLUSTER)]
    tls_secret: Option<String>,
    /// The namespaces whose new machine templates of Cluster API get the bootstrap script, if they
    /// contain the Secret image-swap-bootstrap.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "in_cluster", help_heading = CLUSTER)]
    template_namespaces: Vec<String>,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE", requires = "in_cluster", help_heading = CLUSTER)]
    kubeconfig: Option<PathBuf>,
}

/// The heading of the flags of a webhook in a cluster.
pub(super) const CLUSTER: &str = "In a cluster";

impl InCluster {
    /// Follows the release. Adds lines to `shown`.
    pub(super) async fn put_in_force(
        self,
        in_force: WebhookHandles,
        shown: &mut Vec<String>,
    ) -> Result<cluster::ReplicaTasks, Failure> {
        let Self { namespace, name, tls_secret, template_namespaces, kubeconfig } = self;
        let release = Release { namespace: namespace.unwrap_or_default(), name };
        let client = client(kubeconfig.as_deref()).await.map_err(Failure::broken)?;
        let certificate = tls_secret.unwrap_or_else(|| release.certificate());
        let Release { namespace, .. } = &release;
        shown.push(format!("declaration: Secret {namespace}/{}", release.effective()));
        shown.push(format!("certificate: Secret {namespace}/{certificate}"));
        let templates = in_force.templates.clone();
        let in_force: Arc<dyn cluster::ReplicaSink> = Arc::new(in_force);
        let mut tasks = follow(&client, &release, &certificate, &in_force);
        for namespace in template_namespaces.into_iter().filter(|name| !name.is_empty()) {
            let templates = templates.clone();
            let client = client.clone();
            tasks.spawn(async move {
                let take = |is_present| templates.set(&namespace, is_present);
                cluster::follow_presence(&client, &namespace, BOOTSTRAP_SECRET, take).await;
            });
        }
        Ok(tasks)
    }
}

impl cluster::ReplicaSink for WebhookHandles {
    fn serve(&self, served: ReplicaState) {
        let ReplicaState { rules, mode, origin, hash, pull_secret } = served;
        // Before the rules: new rules must not change a pod in the old mode.
        let settings = self.settings.current();
        let mode = mode.unwrap_or(settings.mode);
        self.settings.replace(Settings { mode, pull_secret, ..Settings::clone(&settings) });
        let revision = Revision { source: origin.as_str().to_owned(), hash };
        self.rules.replace_by(rules, revision);
        self.metrics.declaration_reloads.succeeded();
    }

    fn refuse(&self) {
        self.metrics.declaration_reloads.failed();
    }

    fn certificate(&self, chain: &[u8], key: &[u8]) -> bool {
        match Certificate::from_pem(chain, key) {
            Ok(certificate) => {
                self.certificate.replace(certificate);
                self.metrics.certificate_reloads.succeeded();
                true
            }
            Err(error) => {
                error!(%error, "the certificate is unusable, the last good one stays in force");
                self.metrics.certificate_reloads.failed();
                false
            }
        }
    }
}
