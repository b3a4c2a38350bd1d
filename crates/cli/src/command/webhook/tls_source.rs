//! The serving certificate of a webhook: reloaded from files, or issued and renewed here.

use std::{env, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use image_swap_serve::pki::{LocalAuthority, renew};
use image_swap_webhook::{
    curl_example, names,
    reload::{self, FileFollower},
    url,
    watch::Watch,
};
use tempfile::TempDir;

use super::handles::{WebhookHandles, broken};
use crate::failure::{Failure, reason};

/// The source of the serving certificate: configured files, or a local authority.
#[derive(Debug, clap::Args)]
pub(super) struct ServingCertificate {
    /// The serving certificate, PEM, leaf first; reloaded when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = CERTIFICATE)]
    tls_cert: Option<PathBuf>,
    /// The private key of the serving certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = CERTIFICATE)]
    tls_key: Option<PathBuf>,
    /// The directory of the self-signed CA that is used without --tls-cert
    /// [default: $XDG_STATE_HOME/image-swap].
    #[arg(long, value_name = "DIR", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    certificate_dir: Option<PathBuf>,
    /// A further name or IP address of the self-signed certificate, which covers localhost and
    /// the address of --listen; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    dns_name: Vec<String>,
}

/// The heading of these flags.
const CERTIFICATE: &str = "Certificate";

impl ServingCertificate {
    /// Puts a certificate in force and renews or reloads it. Adds lines to `shown`.
    pub(super) fn put_in_force(
        self,
        address: SocketAddr,
        in_force: &WebhookHandles,
        shown: &mut Vec<String>,
    ) -> Result<Option<FileFollower>, Failure> {
        if let Some((chain, key)) = self.tls_cert.zip(self.tls_key) {
            shown.push(format!("listening on https://{address}/mutate"));
            let mut watch = Watch::new(&[&chain, &key]);
            let certificate = reload::read_certificate([&chain, &key], &watch.read())
                .map_err(|reason| unusable(&reason))?;
            in_force.certificate.replace(certificate);
            let following = reload::follow_certificate(
                watch,
                [chain, key],
                in_force.certificate.clone(),
                Arc::clone(&in_force.metrics),
            );
            return following.map(Some).map_err(|error| broken("start a thread", &error));
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
        shown.push(format!("listening on {}", url(address)));
        shown.push(format!("CA certificate (self-signed): {}", file.display()));
        // The command has a whole line, so that it can be pasted.
        shown.push("try it:".to_owned());
        shown.push(curl_example(&file, address));
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

fn unusable(reason: &str) -> Failure {
    Failure::Broken(format!(
        "{reason}; use another --tls-cert and --tls-key, or neither for a self-signed certificate"
    ))
}

/// Returns the directory for state that survives a restart (XDG base directories). Without a
/// home it is a temporary directory, which is removed when the second value is dropped.
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
            "cannot create a directory for the self-signed CA: {}; use --certificate-dir DIR, or \
             --tls-cert FILE and --tls-key FILE",
            reason(&error)
        ))
    })
}
