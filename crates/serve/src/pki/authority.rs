//! A local certificate authority, for a server without a configured certificate.
//!
//! The authority lives ten years in a directory, so that clients which trust it still do
//! after a restart. It is replaced when less than a year is left. The certificates that it
//! issues live thirty days, in memory alone, and are replaced after twenty.

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
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// With less than this left, an authority is replaced.
const AUTHORITY_SPARE: Duration = DAY.saturating_mul(365);
const LEAF_LIFE: Duration = DAY.saturating_mul(30);
/// A third of its life, as cert-manager does.
const LEAF_SPARE: Duration = DAY.saturating_mul(10);
/// Clocks differ: a certificate is valid a little before it is made.
const BACKDATE: Duration = Duration::from_mins(5);
/// Time between two looks at the wall clock: a timer pauses while the machine sleeps.
const LOOK: Duration = Duration::from_mins(1);

const NAME: &str = "image-swap self-made authority";
const CERTIFICATE_FILE: &str = "image-swap-ca.crt";
const KEY_FILE: &str = "image-swap-ca.key";
const LOCK_FILE: &str = "image-swap-ca.lock";

/// An authority whose files are in a directory.
pub struct LocalAuthority {
    pair: Pair,
    directory: PathBuf,
    expires: u64,
}

/// A reason why there is no self-signed certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory or a file in it cannot be read or written.
    #[error(
        "cannot store the self-signed CA in {}: {error}; choose another directory",
        path.display()
    )]
    File {
        /// The directory or the file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// Other users may put an authority of their own there.
    #[error(
        "{}: other users can write to the directory of the self-signed CA (mode {mode:03o}); \
         choose another one, or run `chmod go-w` on it",
        path.display()
    )]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A name is not possible in a certificate, or the key could not be made.
    #[error("cannot create the certificate: {0}")]
    Make(#[from] MakeError),
    /// The created certificate and key are not a pair.
    #[error("the created certificate is unusable: {0}")]
    Unusable(#[from] CertificateError),
}

impl LocalAuthority {
    /// Returns the authority in `directory`. Makes a new one if there is none, if it is
    /// unusable, or if it expires within a year of `now`.
    ///
    /// Processes that begin at once share it: a lock lets one of them make it.
    ///
    /// # Errors
    /// If the directory or its files cannot be used, or others can write there.
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

    /// Returns the authority in `directory`; `None` if there is none that can sign.
    fn load(directory: &Path) -> Option<Self> {
        let read = |name| fs::read_to_string(directory.join(name)).ok();
        let pair = Pair { certificate: read(CERTIFICATE_FILE)?, key: read(KEY_FILE)? };
        KeyPair::from_pem(&pair.key).ok()?;
        let expires = pair.to_serve().ok()?.expires();
        Some(Self { pair, directory: directory.to_owned(), expires })
    }

    fn make(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let valid = span(now, AUTHORITY_LIFE);
        let expires = valid.end;
        let pair = Pair::authority(NAME, valid)?;
        // The key first: clients could trust a certificate whose key was never written.
        write(directory, KEY_FILE, &pair.key, 0o600)?;
        write(directory, CERTIFICATE_FILE, &pair.certificate, 0o644)?;
        Ok(Self { pair, directory: directory.to_owned(), expires })
    }

    /// Returns the path of the certificate that clients have to trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.join(CERTIFICATE_FILE)
    }

    /// Issues a certificate for `names`, each a DNS name or an IP address.
    ///
    /// # Errors
    /// If a name is neither.
    pub fn issue(&self, names: &[String], now: SystemTime) -> Result<Certificate, AuthorityError> {
        Ok(self.pair.issue(NAME, names, span(now, LEAF_LIFE))?.to_serve()?)
    }
}

/// Renews the certificate in force by `authority`, for `names`, for ever. `clock` returns
/// the time of day.
pub async fn renew(
    mut authority: LocalAuthority,
    names: Vec<String>,
    in_force: CertificateInForce,
    reloads: Reloads,
    clock: impl Fn() -> SystemTime,
) {
    let names: Arc<[String]> = names.into();
    loop {
        tokio::time::sleep(LOOK).await;
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

/// Returns a new certificate. The authority in memory signs as long as it is valid, even if
/// its files have changed: clients trust it.
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

/// Returns the seconds since 1970 from a little before `now`, for `life`.
fn span(now: SystemTime, life: Duration) -> Range<u64> {
    seconds(now - BACKDATE)..seconds(now + life)
}

/// Seconds since 1970; 0 for a clock that is set before.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes a whole file or none.
fn write(directory: &Path, name: &str, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let path = directory.join(name);
    // Made with mode 0600, and given more only when it is whole.
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    });
    written.map_err(|error| AuthorityError::File { path, error })
}
