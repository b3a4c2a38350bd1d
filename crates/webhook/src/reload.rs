//! Reloads of rules and certificates from files. A valid change is put in force. An invalid one
//! is logged and counted, and the last good one stays in force.
//!
//! Each file has a thread of its own, so that neither a large declaration nor a slow disk
//! takes time from requests.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

use image_swap_core::rule::RuleSet;
use image_swap_serve::pki::{Certificate, CertificateInForce};
use tracing::{error, info, warn};

use crate::{
    metrics::AdmissionMetrics,
    rules::RulesInForce,
    watch::{Contents, Watch},
};

/// A valid declaration.
#[derive(Debug)]
pub struct Accepted {
    /// The rules of the declaration.
    pub rules: RuleSet,
    /// Warnings about the declaration. They are logged, so they must not contain a credential.
    pub warnings: Vec<String>,
}

/// A thread that follows files. It ends when the value drops.
#[derive(Debug)]
pub struct FileFollower {
    _stop: mpsc::Sender<()>,
}

/// Reads the declaration in `contents`. Errors name `file`, its path.
///
/// # Errors
/// Returns a message for the user if the file cannot be read, is not UTF-8, or is rejected by
/// `accept`.
pub fn read_declaration(
    file: &Path,
    contents: &io::Result<Vec<u8>>,
    accept: &impl Fn(&str) -> Result<Accepted, String>,
) -> Result<Accepted, String> {
    let bytes = contents
        .as_ref()
        .map_err(|error| format!("cannot read the declaration {}: {error}", file.display()))?;
    let text = str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to() + 1;
        format!("{}: byte {place} is not valid UTF-8", file.display())
    })?;
    accept(text)
}

/// Reads the certificate and its key in `contents`. Errors name `chain` and `key`, their paths.
///
/// # Errors
/// Returns a message for the user if either file cannot be read or the key is not the
/// certificate's.
pub fn read_certificate(
    [chain, key]: [&Path; 2],
    contents: &Contents,
) -> Result<Certificate, String> {
    let [chain_content, key_content] = contents.as_slice() else {
        return Err("two files are needed: a certificate and a private key".to_owned());
    };
    let chain_content = chain_content
        .as_ref()
        .map_err(|error| format!("cannot read the certificate {}: {error}", chain.display()))?;
    let key_content = key_content
        .as_ref()
        .map_err(|error| format!("cannot read the private key {}: {error}", key.display()))?;
    Certificate::from_pem(chain_content, key_content)
        .map_err(|error| format!("{}, {}: {error}", chain.display(), key.display()))
}

/// Replaces `rules` whenever the content of the watched `file` changes, if `accept` returns rules.
///
/// # Errors
/// Returns the system's error if no thread can be started.
pub fn follow_declaration(
    watch: Watch,
    file: PathBuf,
    accept: impl Fn(&str) -> Result<Accepted, String> + Send + 'static,
    rules: RulesInForce,
    metrics: Arc<AdmissionMetrics>,
) -> io::Result<FileFollower> {
    follow("declaration", watch, move |contents| {
        let Some(content) = contents.first() else { return };
        match read_declaration(&file, content, &accept) {
            Ok(accepted) => {
                for warning in &accepted.warnings {
                    warn!("{warning}");
                }
                info!(rules = accepted.rules.rules().len(), "reloaded the declaration");
                rules.replace(accepted.rules);
                metrics.declaration_reloads.succeeded();
            }
            Err(reason) => {
                error!("the declaration is invalid, the last good one stays in force: {reason}");
                metrics.declaration_reloads.failed();
            }
        }
    })
}

/// Replaces `certificate` whenever the content of the watched files `chain` and `key` changes and
/// is a pair.
///
/// # Errors
/// Returns the system's error if no thread can be started.
pub fn follow_certificate(
    watch: Watch,
    [chain, key]: [PathBuf; 2],
    certificate: CertificateInForce,
    metrics: Arc<AdmissionMetrics>,
) -> io::Result<FileFollower> {
    follow("certificate", watch, move |contents| match read_certificate([&chain, &key], contents) {
        Ok(new) => {
            info!(expires = new.expires(), "reloaded the certificate");
            certificate.replace(new);
            metrics.certificate_reloads.succeeded();
        }
        Err(reason) => {
            error!("the certificate is unusable, the last good one stays in force: {reason}");
            metrics.certificate_reloads.failed();
        }
    })
}

/// Starts a thread `name` that passes each change to `take`.
fn follow(
    name: &str,
    mut watch: Watch,
    take: impl Fn(&Contents) + Send + 'static,
) -> io::Result<FileFollower> {
    let (stop, stopped) = mpsc::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        while stopped.recv_timeout(watch.interval) == Err(RecvTimeoutError::Timeout) {
            if let Some(contents) = watch.changed() {
                take(&contents);
            }
        }
    })?;
    Ok(FileFollower { _stop: stop })
}
