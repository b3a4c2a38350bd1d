//! A local certificate authority, for a server without a configured certificate.
//!
//! The authority is valid for ten years. Its files are in a directory, so that clients still trust
//! the server after a restart. The authority is replaced in its last year. Certificates that it
//! issues are valid for thirty days, are only in memory, and are replaced after twenty days.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::KeyPair;
use tracing::{error, info, warn};

use crate::{
    metrics::Reloads,
    pki::{
        certificate::{Certificate, CertificateError, CertificateInForce},
        pair::{MakeError, Pair},
    },
};

const DAY: Duration = Duration::from_hours(24);
/// Validity of an authority.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// Remaining validity below which an authority is replaced.
const AUTHORITY_SPARE: Duration = DAY.saturating_mul(365);
/// Validity of a serving certificate.
const LEAF_LIFE: Duration = DAY.saturating_mul(30);
/// Remaining validity below which a certificate is replaced: a third, like in cert-manager.
const LEAF_SPARE: Duration = DAY.saturating_mul(10);
/// Time before its creation from which a certificate is valid, because clocks differ.
const BACKDATE: Duration = Duration::from_mins(5);
/// Time between two reads of the wall clock. A longer timer would pause while the machine sleeps.
const CLOCK_INTERVAL: Duration = Duration::from_mins(1);

const AUTHORITY_NAME: &str = "image-swap self-signed authority";
const CERTIFICATE_FILE: &str = "image-swap-ca.crt";
const KEY_FILE: &str = "image-swap-ca.key";
const LOCK_FILE: &str = "image-swap-ca.lock";

/// A certificate authority with its files in a directory.
pub struct LocalAuthority {
    pair: Pair,
    directory: PathBuf,
    expires: u64,
}

/// The error of creating or using a local authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory or a file in it cannot be read or written.
    #[error(
        "cannot store the self-signed CA in {}: {error}; choose another directory",
        path.display()
    )]
    File {
        /// Path of the directory or the file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// Other users may write to the directory, and could replace the authority.
    #[error(
        "{}: other users can write to the directory of the self-signed CA (mode {mode:03o}); \
         choose another one, or run `chmod go-w` on it",
        path.display()
    )]
    OpenToOthers {
        /// Path of the directory.
        path: PathBuf,
        /// Permission bits of the directory.
        mode: u32,
    },
    /// A certificate cannot contain a name, or its key cannot be created.
    #[error("cannot create the certificate: {0}")]
    Make(#[from] MakeError),
    /// The created certificate and key are not a pair.
    #[error("the created certificate is unusable: {0}")]
    Unusable(#[from] CertificateError),
}

impl LocalAuthority {
    /// Returns the authority in `directory`. Creates a new one if there is none, if it is
    /// unusable, or if it expires within a year of `now`.
    ///
    /// Concurrent processes share the authority: a lock lets only one of them create it.
    ///
    /// # Errors
    /// Returns an error if the directory or its files cannot be used, or other users can write to
    /// the directory.
    pub fn open(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| AuthorityError::File { path, error }
        };
        let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let metadata = created.and_then(|()| fs::metadata(directory)).map_err(failed(directory))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(AuthorityError::OpenToOthers { path: directory.to_owned(), mode });
        }
        let lock = directory.join(LOCK_FILE);
        let held = File::create(&lock).map_err(failed(&lock))?;
        held.lock().map_err(failed(&lock))?;
        if let Some(authority) = Self::load(directory) {
            if authority.expires >= seconds(now + AUTHORITY_SPARE) {
                return Ok(authority);
            }
            warn!(directory = %directory.display(), "the CA expires soon, creating a new one");
        }
        Self::make(directory, now)
    }

    /// Reads the authority in `directory`; `None` if there is none that can sign.
    fn load(directory: &Path) -> Option<Self> {
        let read = |name| fs::read_to_string(directory.join(name)).ok();
        let pair = Pair { certificate: read(CERTIFICATE_FILE)?, key: read(KEY_FILE)? };
        KeyPair::from_pem(&pair.key).ok()?;
        let expires = pair.to_serve().ok()?.expires();
        Some(Self { pair, directory: directory.to_owned(), expires })
    }

    /// Creates an authority in `directory`.
    fn make(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let valid = span(now, AUTHORITY_LIFE);
        let expires = valid.end;
        let pair = Pair::authority(AUTHORITY_NAME, valid)?;
        // The key is written first. Otherwise clients could trust a certificate without a key.
        write(directory, KEY_FILE, &pair.key, 0o600)?;
        write(directory, CERTIFICATE_FILE, &pair.certificate, 0o644)?;
        Ok(Self { pair, directory: directory.to_owned(), expires })
    }

    /// Returns the path of the authority's certificate, which clients have to trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.join(CERTIFICATE_FILE)
    }

    /// Issues a certificate for `names`, each a DNS name or an IP address.
    ///
    /// # Errors
    /// Returns an error if a name is neither.
    pub fn issue(&self, names: &[String], now: SystemTime) -> Result<Certificate, AuthorityError> {
        Ok(self.pair.issue(AUTHORITY_NAME, names, span(now, LEAF_LIFE))?.to_serve()?)
    }
}

/// Renews the certificate in force with `names` by `authority`, before it expires. Never returns.
/// `clock` returns the wall-clock time.
pub async fn renew(
    mut authority: LocalAuthority,
    names: Vec<String>,
    in_force: CertificateInForce,
    reloads: Reloads,
    clock: impl Fn() -> SystemTime,
) {
    let names: Arc<[String]> = names.into();
    loop {
        tokio::time::sleep(CLOCK_INTERVAL).await;
        let now = clock();
        let due = in_force.current().is_none_or(|now_served| {
            seconds(now) >= now_served.expires().saturating_sub(LEAF_SPARE.as_secs())
        });
        if !due {
            continue;
        }
        match renewed(&mut authority, &names, now) {
            Ok(certificate) => {
                info!(expires = certificate.expires(), "renewed the certificate");
                in_force.replace(certificate);
                reloads.succeeded();
            }
            Err(error) => {
                error!(%error, "cannot renew the certificate, the last one stays in force");
                reloads.failed();
            }
        }
    }
}

/// Returns a new certificate. The authority in memory signs while it is valid, even if its files
/// have changed, because clients trust it.
fn renewed(
    authority: &mut LocalAuthority,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, AuthorityError> {
    if authority.expires < seconds(now + AUTHORITY_SPARE) {
        *authority = LocalAuthority::open(&authority.directory, now)?;
        warn!(
            file = %authority.certificate_file().display(),
            "created a new CA: clients must trust it"
        );
    }
    authority.issue(names, now)
}

/// Returns the validity of a certificate with the duration `life`, from shortly before `now`, in
/// seconds since 1970.
fn span(now: SystemTime, life: Duration) -> Range<u64> {
    seconds(now - BACKDATE)..seconds(now + life)
}

/// Returns the seconds since 1970; 0 for an earlier time.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes a file atomically.
fn write(directory: &Path, name: &str, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let path = directory.join(name);
    // The file is created with mode 0600, and gets `mode` when it is complete.
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    });
    written.map_err(|error| AuthorityError::File { path, error })
}
