//! A certificate authority of our own, for a server that was given no
//! certificate.
//!
//! The authority lives ten years in a directory, so that who trusts it need
//! not do so again after a restart; it is replaced when less than a year is
//! left. What it issues lives thirty days, in memory alone, and is replaced
//! after twenty.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tracing::{error, info, warn};

use crate::{
    certificate::{Certificate, CertificateError, CertificateInForce},
    metrics::Reloads,
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
/// How often the clock is read. By the wall, since a timer stands still while
/// the machine sleeps.
const LOOK: Duration = Duration::from_mins(1);

const CERTIFICATE_FILE: &str = "image-swap-ca.crt";
const KEY_FILE: &str = "image-swap-ca.key";
const LOCK_FILE: &str = "image-swap-ca.lock";

/// An authority whose files are in a directory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
    expires: u64,
}

/// Why there is no self-made certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The directory or a file in it cannot be read or written.
    #[error(
        "{}: expected a place for a certificate authority, found: {error}; \
         name another directory",
        path.display()
    )]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Others may put their own authority there.
    #[error(
        "{}: expected a directory that only its owner may write to, found mode {mode:03o}; \
         name another directory, or `chmod go-w` this one",
        path.display()
    )]
    OpenToOthers {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A name cannot stand in a certificate, or the key could not be made.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made is no pair.
    #[error("the certificate that was made is unusable: {0}")]
    Unusable(#[from] CertificateError),
}

impl Authority {
    /// The authority in `directory`: the one that is there, or a new one if
    /// there is none, if it is unusable, or if it expires within a year of `now`.
    ///
    /// Processes that begin at once share it: a lock lets one of them make it.
    ///
    /// # Errors
    /// If the directory or its files cannot be used, or others can write there.
    pub fn open(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let file = |path: &Path, error| AuthorityError::File { path: path.to_owned(), error };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| file(directory, error))?;
        let mode =
            fs::metadata(directory).map_err(|error| file(directory, error))?.permissions().mode()
                & 0o777;
        if mode & 0o022 != 0 {
            return Err(AuthorityError::OpenToOthers { path: directory.to_owned(), mode });
        }
        let lock = directory.join(LOCK_FILE);
        let held = File::create(&lock).map_err(|error| file(&lock, error))?;
        held.lock().map_err(|error| file(&lock, error))?;
        if let Some(authority) = Self::load(directory) {
            if authority.expires >= seconds(now + AUTHORITY_SPARE) {
                return Ok(authority);
            }
            warn!(directory = %directory.display(), "the authority expires soon: replaced");
        }
        Self::make(directory, now)
    }

    /// The authority in `directory`, if it is one of ours and whole.
    fn load(directory: &Path) -> Option<Self> {
        let chain = fs::read(directory.join(CERTIFICATE_FILE)).ok()?;
        let key = fs::read_to_string(directory.join(KEY_FILE)).ok()?;
        let certificate = CertificateDer::from_pem_slice(&chain).ok()?;
        let pair = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
        let expires = Certificate::from_der(vec![certificate], pair).ok()?.expires();
        let issuer = Issuer::new(authority_params(), KeyPair::from_pem(&key).ok()?);
        Some(Self { issuer, directory: directory.to_owned(), expires })
    }

    fn make(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params();
        live(&mut params, now, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?;
        // The key first: a certificate without its key would be trusted in vain.
        write(directory, KEY_FILE, &key.serialize_pem(), 0o600)?;
        write(directory, CERTIFICATE_FILE, &certificate.pem(), 0o644)?;
        let expires = seconds(now + AUTHORITY_LIFE);
        Ok(Self { issuer: Issuer::new(params, key), directory: directory.to_owned(), expires })
    }

    /// The file with the certificate that clients have to trust.
    pub fn certificate_file(&self) -> PathBuf {
        self.directory.join(CERTIFICATE_FILE)
    }

    /// A certificate for `names`, each a DNS name or an IP address.
    ///
    /// # Errors
    /// If a name is neither.
    pub fn issue(&self, names: &[String], now: SystemTime) -> Result<Certificate, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("image-swap");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        live(&mut params, now, LEAF_LIFE);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(Certificate::from_der(vec![certificate.into()], key)?)
    }
}

/// Keeps `in_force` a fresh certificate of `authority` for `names`, for ever.
/// `clock` tells the time of day.
pub async fn renew(
    mut authority: Authority,
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
                info!(expires = certificate.expires(), "the certificate was renewed");
                in_force.replace(certificate);
                reloads.succeeded();
            }
            Err(error) => {
                error!(%error, "the certificate could not be renewed; the last one stays");
                reloads.failed();
            }
        }
    }
}

/// The authority in memory signs as long as it may, whatever has become of its
/// files meanwhile: clients trust it.
fn renewed(
    authority: &mut Authority,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, AuthorityError> {
    if authority.expires < seconds(now + AUTHORITY_SPARE) {
        *authority = Authority::open(&authority.directory, now)?;
        warn!(
            file = %authority.certificate_file().display(),
            "there is a new authority: clients have to trust it"
        );
    }
    authority.issue(names, now)
}

/// Always the same, but for its life: so the issuer of a loaded key is known
/// without parsing its certificate.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("image-swap self-made authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn live(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds(now - BACKDATE));
    params.not_after = epoch + Duration::from_secs(seconds(now + life));
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
