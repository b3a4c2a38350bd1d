//! Tests of the serving certificate: handshakes, replacement, files and the local authority.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use image_swap_serve::pki::{
    AuthorityError, Certificate, CertificateInForce, LocalAuthority, renew,
};
use image_swap_webhook::{AdmissionMetrics, RulesInForce, reload, watch::Watch};
use rcgen::{CertificateParams, KeyPair};
use rustls::HandshakeKind;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, H1, WebhookServer, client_config, connect, mount, try_tls};

const DAY: Duration = Duration::from_hours(24);

/// Returns the certificate that the server presented, in DER.
fn presented<S>(stream: &TlsStream<S>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A self-signed certificate and its key, both PEM.
struct Pair {
    chain: String,
    key: String,
}

fn mk_pair() -> Pair {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    Pair { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

#[tokio::test]
async fn new_certificate_applies_to_new_connections_only() {
    let site = WebhookServer::start().await;
    let stream = site.tls(&[H1]).await;
    let first = presented(&stream);
    let mut open = Client::h1(stream).await;
    assert!(open.review("nginx").await.swapped().is_some());

    site.certificate.replace(site.issue());
    let second = presented(&site.tls(&[H1]).await);
    assert_ne!(first, second);
    assert!(open.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn handshakes_fail_without_a_certificate() {
    let site = WebhookServer::start_empty(|_| ());
    assert!(site.try_tls(&[H1]).await.is_err());
    site.certificate.replace(site.issue());
    assert!(site.try_tls(&[H1]).await.is_ok());
}

#[tokio::test]
async fn tls_1_2_client_is_served() {
    let site = WebhookServer::start().await;
    let file = site.authority.certificate_file();
    let config = client_config(&file, &[], &[&rustls::version::TLS12]);
    let stream = connect(site.tcp().await, &config).await.unwrap();
    assert!(Client::h1(stream).await.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn tls_sessions_are_not_resumed() {
    let site = WebhookServer::start().await;
    let file = site.authority.certificate_file();
    for version in rustls::ALL_VERSIONS {
        // This client would resume a session if the server issued a ticket.
        let config = client_config(&file, &[], &[version]);
        for _ in 0..2 {
            let stream = connect(site.tcp().await, &config).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert!(Client::h1(stream).await.review("nginx").await.swapped().is_some());
        }
    }
}

/// Certificate files that a server follows.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    _following: reload::FileFollower,
}

impl Files {
    /// Writes `pair` into two files and follows them.
    fn follow(site: &WebhookServer, pair: &Pair) -> Self {
        let directory = site.directory.path();
        fs::write(directory.join("tls.crt"), &pair.chain).unwrap();
        fs::write(directory.join("tls.key"), &pair.key).unwrap();
        Self::follow_in(site, directory)
    }

    /// Follows `tls.crt` and `tls.key` in `directory`.
    fn follow_in(site: &WebhookServer, directory: &Path) -> Self {
        let (chain, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        let mut watch = Watch::new(&[&chain, &key]).looking_every(Duration::from_millis(5));
        let first = reload::read_certificate([&chain, &key], &watch.read()).unwrap();
        site.certificate.replace(first);
        let following = reload::follow_certificate(
            watch,
            [chain.clone(), key.clone()],
            site.certificate.clone(),
            Arc::clone(&site.metrics),
        );
        Self { chain, key, _following: following.unwrap() }
    }

    fn write(&self, pair: &Pair) {
        let directory = self.chain.parent().unwrap();
        for (file, text) in [(&self.key, &pair.key), (&self.chain, &pair.chain)] {
            let mut new = tempfile::NamedTempFile::new_in(directory).unwrap();
            std::io::Write::write_all(&mut new, text.as_bytes()).unwrap();
            new.persist(file).unwrap();
        }
    }
}

/// Returns true if a client that trusts only `pair` completes a handshake.
async fn serves_pair(site: &WebhookServer, pair: &Pair) -> bool {
    let root = site.directory.path().join("root.pem");
    fs::write(&root, &pair.chain).unwrap();
    try_tls(site.tcp().await, &root, &[H1]).await.is_ok()
}

#[tokio::test]
async fn certificate_files_are_followed() {
    let site = WebhookServer::start().await;
    let (one, two) = (mk_pair(), mk_pair());
    let files = Files::follow(&site, &one);
    assert!(serves_pair(&site, &one).await);
    let mut reloads = site.metrics.certificate_reloads.subscribe();
    files.write(&two);
    // Key and chain are two files: a poll between the writes finds no pair.
    reloads.wait_for(|counts| counts.success == 1).await.unwrap();
    assert!(serves_pair(&site, &two).await);
    assert!(!serves_pair(&site, &one).await);
}

#[tokio::test]
async fn mounted_secret_is_never_read_half_replaced() {
    let site = WebhookServer::start().await;
    let root = site.directory.path().join("mount");
    fs::create_dir(&root).unwrap();
    let mut pair = mk_pair();
    mount(&root, "0", &[("tls.crt", &pair.chain), ("tls.key", &pair.key)]);
    let _files = Files::follow_in(&site, &root);
    assert!(serves_pair(&site, &pair).await);
    let mut reloads = site.metrics.certificate_reloads.subscribe();
    for count in 1..=3 {
        pair = mk_pair();
        mount(&root, &count.to_string(), &[("tls.crt", &pair.chain), ("tls.key", &pair.key)]);
        let counts = *reloads.wait_for(|counts| counts.success == count).await.unwrap();
        assert_eq!(counts.failure, 0);
        assert!(serves_pair(&site, &pair).await);
    }
}

// guarantee: 4e
#[tokio::test]
async fn broken_pair_is_counted_and_not_used() {
    let site = WebhookServer::start().await;
    let (one, two) = (mk_pair(), mk_pair());
    let files = Files::follow(&site, &one);
    let mut reloads = site.metrics.certificate_reloads.subscribe();
    let half = two.chain[..two.chain.len() / 2].to_owned();
    let broken: [(&Path, &str); 4] = [
        (&files.key, &two.key),
        (&files.chain, &half),
        (&files.chain, ""),
        (&files.chain, "no certificate"),
    ];
    for (number, (file, text)) in (1..).zip(broken) {
        fs::write(file, text).unwrap();
        reloads.wait_for(|counts| counts.failure >= number).await.unwrap();
        assert!(serves_pair(&site, &one).await, "{text}");
    }
    fs::remove_file(&files.chain).unwrap();
    reloads.wait_for(|counts| counts.failure >= 5).await.unwrap();
    assert!(serves_pair(&site, &one).await);
    files.write(&two);
    reloads.wait_for(|counts| counts.success == 1).await.unwrap();
    assert!(serves_pair(&site, &two).await);
}

#[tokio::test]
async fn certificate_expiry_is_a_metric() {
    let site = WebhookServer::start().await;
    let expires = site.certificate.current().unwrap().expires();
    let days = (expires - now()) / DAY.as_secs();
    assert!((29..=30).contains(&days), "{days}");
    #[expect(clippy::cast_precision_loss, reason = "exact for a date")]
    let expected = Some(expires as f64);
    assert_eq!(site.metric("image_swap_certificate_expiry_timestamp_seconds").await, expected);
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn certificate_errors_never_contain_the_key() {
    let (one, two) = (mk_pair(), mk_pair());
    let secret = one.key.lines().nth(1).unwrap();
    let cases = [
        (one.chain.as_str(), two.key.as_str(), "expected a pair"),
        ("", one.key.as_str(), "expected at least one `BEGIN CERTIFICATE` block"),
        (one.chain.as_str(), "", "expected one unencrypted PEM block"),
        (one.key.as_str(), one.key.as_str(), "expected at least one `BEGIN CERTIFICATE` block"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            one.key.as_str(),
            "the first block is not X.509",
        ),
    ];
    for (chain, key, expected) in cases {
        let error = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
    let fine = Certificate::from_pem(one.chain.as_bytes(), one.key.as_bytes()).unwrap();
    assert!(!format!("{fine:?}").contains(secret));
}

#[test]
fn authority_outlives_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = LocalAuthority::open(directory.path(), SystemTime::now()).unwrap();
    let pem = fs::read(first.certificate_file()).unwrap();
    let second = LocalAuthority::open(directory.path(), SystemTime::now()).unwrap();
    assert_eq!(fs::read(second.certificate_file()).unwrap(), pem);
}

#[tokio::test]
async fn reopened_authority_issues_trusted_certificates() {
    let mut site = WebhookServer::start().await;
    site.authority = LocalAuthority::open(site.directory.path(), SystemTime::now()).unwrap();
    site.certificate.replace(site.issue());
    assert!(site.swapped("nginx").await.is_some());
}

#[test]
fn concurrent_opens_return_one_authority() {
    let directory = tempfile::tempdir().unwrap();
    let pems = std::thread::scope(|scope| {
        let open = || {
            let authority = LocalAuthority::open(directory.path(), SystemTime::now()).unwrap();
            fs::read(authority.certificate_file()).unwrap()
        };
        let threads = [scope.spawn(open), scope.spawn(open), scope.spawn(open)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(pems[0], pems[1]);
    assert_eq!(pems[1], pems[2]);
}

#[test]
fn authority_key_is_readable_only_by_owner() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state/image-swap");
    let authority = LocalAuthority::open(&directory, SystemTime::now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("image-swap-ca.key")), 0o600);
    assert_eq!(mode(&authority.certificate_file()), 0o644);
}

#[test]
fn world_writable_directory_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = LocalAuthority::open(directory.path(), SystemTime::now()).err().unwrap();
    assert!(matches!(refused, AuthorityError::OpenToOthers { mode: 0o777, .. }), "{refused}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn error_names_path_that_is_not_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = LocalAuthority::open(file.path(), SystemTime::now()).err().unwrap().to_string();
    assert!(refused.contains(&file.path().display().to_string()), "{refused}");
}

#[test]
fn broken_or_expiring_authority_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let open = |now| {
        let authority = LocalAuthority::open(directory.path(), now).unwrap();
        fs::read_to_string(authority.certificate_file()).unwrap()
    };
    let first = open(now);
    assert_eq!(open(now + 9 * 365 * DAY - DAY), first);
    let second = open(now + 9 * 365 * DAY + DAY);
    assert_ne!(second, first);
    let other = mk_pair();
    fs::write(directory.path().join("image-swap-ca.key"), &other.key).unwrap();
    assert_ne!(open(now), second);
    for name in ["image-swap-ca.key", "image-swap-ca.crt"] {
        let before = open(now);
        fs::write(directory.path().join(name), "nothing").unwrap();
        assert_ne!(open(now), before, "{name}");
    }
}

#[test]
fn non_ascii_certificate_name_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::open(directory.path(), SystemTime::now()).unwrap();
    assert!(authority.issue(&["schlüssel.example".to_owned()], SystemTime::now()).is_err());
}

/// The runtime's clock is paused: it advances when every task waits. The test sets the wall clock.
// guarantee: 4e
#[tokio::test(start_paused = true)]
async fn certificate_is_renewed_after_two_thirds_of_life() {
    let directory = tempfile::tempdir().unwrap();
    let begin = SystemTime::now();
    let authority = LocalAuthority::open(directory.path(), begin).unwrap();
    let in_force = CertificateInForce::default();
    in_force.replace(authority.issue(&["localhost".to_owned()], begin).unwrap());
    let first = in_force.current().unwrap().expires();

    let metrics = AdmissionMetrics::new(&RulesInForce::default(), &in_force);
    let mut reloads = metrics.certificate_reloads.subscribe();
    let days = Arc::new(AtomicU64::new(19));
    let clock = {
        let days = Arc::clone(&days);
        move || begin + DAY * u32::try_from(days.load(SeqCst)).unwrap()
    };
    let renewing = tokio::spawn(renew(
        authority,
        vec!["localhost".to_owned()],
        in_force.clone(),
        metrics.certificate_reloads.clone(),
        clock,
    ));
    // The clock is read many times. The nineteenth day is too early.
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(in_force.current().unwrap().expires(), first);
    days.store(20, SeqCst);
    reloads.wait_for(|counts| counts.success == 1).await.unwrap();
    assert_eq!(in_force.current().unwrap().expires(), first + 20 * DAY.as_secs());
    // The authority, too, is replaced near its expiry.
    let before = fs::read(directory.path().join("image-swap-ca.crt")).unwrap();
    days.store(9 * 365 + 1, SeqCst);
    reloads.wait_for(|counts| counts.success == 2).await.unwrap();
    assert_ne!(fs::read(directory.path().join("image-swap-ca.crt")).unwrap(), before);
    renewing.abort();
}
