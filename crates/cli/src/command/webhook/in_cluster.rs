//! A webhook that serves what the controller keeps in the cluster.

use std::{path::PathBuf, sync::Arc};

use image_swap_cluster::{self as cluster, Release, Served, client, follow};
use image_swap_core::admission::Settings;
use image_swap_serve::pki::Certificate;
use image_swap_webhook::Revision;
use tracing::error;

use super::InForce;
use crate::failure::Failure;

/// Which release of which cluster.
pub(super) struct InCluster {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) tls_secret: Option<String>,
    pub(super) kubeconfig: Option<PathBuf>,
}

impl InCluster {
    /// Follows the release, and adds to what the user is told.
    pub(super) async fn put_in_force(
        self,
        in_force: InForce,
        told: &mut Vec<String>,
    ) -> Result<cluster::Following, Failure> {
        let Self { namespace, name, tls_secret, kubeconfig } = self;
        let release = Release { namespace: namespace.unwrap_or_default(), name };
        let client = client(kubeconfig.as_deref())
            .await
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let certificate = tls_secret.unwrap_or_else(|| release.certificate());
        let Release { namespace, .. } = &release;
        told.push(format!("declaration: Secret {namespace}/{}, followed", release.effective()));
        told.push(format!("certificate: Secret {namespace}/{certificate}, followed"));
        let in_force: Arc<dyn cluster::InForce> = Arc::new(in_force);
        Ok(follow(&client, &release, &certificate, &in_force))
    }
}

impl cluster::InForce for InForce {
    fn serve(&self, served: Served) {
        let Served { rules, mode, origin, hash, pull_secret } = served;
        // Before the rules: a pod must not be changed by new rules in the old mode.
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
                error!(%error, "the certificate cannot be used");
                self.metrics.certificate_reloads.failed();
                false
            }
        }
    }
}
