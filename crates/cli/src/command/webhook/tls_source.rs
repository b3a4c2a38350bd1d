//! The serving certificate of a webhook, followed or renewed.

use std::{env, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use image_swap_serve::pki::{LocalAuthority, renew};
use image_swap_webhook::{
    curl_example, names,
    reload::{self, FileFollower},
    watch::Watch,
};
use tempfile::TempDir;

use super::handles::{WebhookHandles, broken};
use crate::failure::Failure;

/// The source of the serving certificate: configured files, or a local authority.
#[derive(Debug, clap::Args)]
pub(super) struct ServingCertificate {
    /// The serving certificate, PEM, leaf first; followed when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = CERTIFICATE)]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = CERTIFICATE)]
    tls_key: Option<PathBuf>,
    /// Where a self-made certificate authority is kept, when no certificate is
    /// given [default: $XDG_STATE_HOME/image-swap].
    #[arg(long, value_name = "DIR", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    certificate_dir: Option<PathBuf>,
    /// A further name or address for the self-made certificate, beside those of
    /// this machine; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    dns_name: Vec<String>,
}

/// The heading of these flags.
const CERTIFICATE: &str = "Certificate";

impl ServingCertificate {
    /// Puts a certificate in force, keeps it fresh, and adds lines to the output.
    pub(super) fn put_in_force(
        self,
        address: SocketAddr,
        in_force: &WebhookHandles,
        told: &mut Vec<String>,
    ) -> Result<Option<FileFollower>, Failure> {
        if let Some((chain, key)) = self.tls_cert.zip(self.tls_key) {
            let mut watch = Watch::new(&[&chain, &key]);
            let certificate = reload::read_certificate([&chain, &key], &watch.read())
                .map_err(|why| unusable(&why))?;
            in_force.certificate.replace(certificate);
            let following = reload::follow_certificate(
                watch,
                [chain, key],
                in_force.certificate.clone(),
                Arc::clone(&in_force.metrics),
            );
            return following.map(Some).map_err(|error| broken("a thread", &error));
        }
        let (directory, temporary) = match self.certificate_dir {
            Some(directory) => (directory, None),
            None => default_directory()?,
        };
        let now = SystemTime::now();
        let authority = LocalAuthority::open(&directory, now).map_err(Failure::broken)?;
        let names = names(address, &self.dns_name);
        in_force.certificate.replace(authority.issue(&names, now).map_err(Failure::broken)?);
        let file = authority.certificate_file();
        told.push(format!("certificate: self-made; clients trust {}", file.display()));
        // On a line of its own, to be pasted whole.
        told.push("try it:".to_owned());
        told.push(curl_example(&file, address));
        let renewals = renew(
            authority,
            names,
            in_force.certificate.clone(),
            in_force.metrics.certificate_reloads.clone(),
            SystemTime::now,
        );
        tokio::spawn(async move {
            // Removed when the runtime ends.
            let _temporary = temporary;
            renewals.await;
        });
        Ok(None)
    }
}

fn unusable(why: &str) -> Failure {
    Failure::Broken(format!(
        "{why}; give another --tls-cert and --tls-key, or neither for a self-made certificate"
    ))
}

/// Returns the directory for what should survive a restart (XDG base directories). Without a
/// home it is a temporary one, which is removed when the second value is dropped.
fn default_directory() -> Result<(PathBuf, Option<TempDir>), Failure> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    if let Some(state) = state {
        return Ok((state.join("image-swap"), None));
    }
    let made = tempfile::Builder::new().prefix("image-swap-").tempdir();
    made.map(|made| (made.path().to_owned(), Some(made))).map_err(|error| {
        Failure::Broken(format!(
            "expected a place for a certificate authority, found: {error}; give --certificate-dir \
             DIR, or --tls-cert FILE and --tls-key FILE"
        ))
    })
}
