//! Checks of the declared registry, and the Events, metrics and status that report them.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use image_swap_core::status::RegistryStatus;
use image_swap_testbed::{Authority, Credentials, Registry, RegistryOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::test_cluster::{JET_SECRETS, Running, TestCluster, keys, parts, settings, until};

const USER: &str = "robot";
const PASSWORD: &str = "s3cret-of-the-robot";

fn credentials(password: &str) -> Credentials {
    Credentials { username: USER.into(), password: password.into() }
}

/// Returns a declaration of the registry at `domain`, whose certificate `authority` has signed.
pub(crate) fn declared(domain: &str, authority: &str) -> BTreeMap<&'static str, String> {
    let mut keys = keys(domain);
    keys.insert("CA_CERT", authority.to_owned());
    keys
}

/// Waits until the check of `domain` has the result `outcome`, and asserts that metrics and the
/// stored status report the same.
async fn comes_to(
    cluster: &TestCluster,
    controller: &mut Running,
    domain: &str,
    outcome: &str,
) -> RegistryStatus {
    let report = until(&mut controller.report, |it| {
        it.registry.as_ref().is_some_and(|it| it.domain == domain && it.outcome.as_str() == outcome)
    })
    .await;
    let row = format!(r#"image_swap_controller_registry_check{{outcome="{outcome}"}} 1"#);
    let metrics = controller.metrics.text().unwrap();
    assert!(metrics.contains(&row), "{metrics}");
    let status = cluster.get("/api/v1/namespaces/image-swap-system/configmaps/image-swap-status");
    let status = status.unwrap();
    let stored: Value =
        serde_json::from_str(status["data"]["status.json"].as_str().unwrap()).unwrap();
    assert_eq!(stored["registry"]["outcome"], outcome);
    for text in [&metrics, &status.to_string()] {
        assert!(!text.contains(PASSWORD) && !text.contains(&STANDARD.encode(PASSWORD)));
    }
    report.registry.unwrap()
}

/// Returns the notes of the Events with `reason`.
fn notes(cluster: &TestCluster, reason: &str) -> Vec<String> {
    let events = cluster.events("image-swap-system", reason);
    events.iter().map(|event| event["note"].as_str().unwrap().to_owned()).collect()
}

fn assert_event(cluster: &TestCluster, reason: &str, part: &str) {
    let notes = notes(cluster, reason);
    assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    assert!(!notes.iter().any(|note| note.contains(PASSWORD)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: cargo xtask test"]
async fn registry_health_is_reported_everywhere() {
    let authority = Authority::new("the company's").unwrap();
    let options = RegistryOptions {
        tls: Some(authority.server(&["127.0.0.1"]).unwrap()),
        authority: Some(authority.certificate().to_owned()),
        credentials: Some(credentials(PASSWORD)),
        ..RegistryOptions::default()
    };
    let mut registry = tokio::task::block_in_place(|| Registry::start(parts(), &options).unwrap());
    let cluster = TestCluster::set().await;
    let second = Duration::from_secs(1);
    let mut controller = cluster.controller_that_checks(settings(), second);
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let domain = registry.address();
    let mut keys = declared(&domain, authority.certificate());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let health = comes_to(&cluster, &mut controller, &domain, "ok").await;
    assert!(health.expires.is_some() && !health.expires_soon && !health.is_bad());
    let report = controller.report.borrow().clone();
    assert_eq!(report.nodes, [format!("nodes must trust the authority of {domain} (CA_CERT)")]);
    assert!(
        controller.metrics.text().unwrap().contains("image_swap_controller_node_requirements 1")
    );

    // The registry gets a new password, which is declared later.
    tokio::task::block_in_place(|| registry.set_credentials(&credentials("new")).unwrap());
    let health = comes_to(&cluster, &mut controller, &domain, "unauthorized").await;
    assert!(health.is_bad());
    assert_event(
        &cluster,
        "RegistryUnhealthy",
        "is unauthorized: it rejects USERNAME and PASSWORD",
    );
    keys.insert("PASSWORD", "new".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    comes_to(&cluster, &mut controller, &domain, "ok").await;
    assert_event(&cluster, "RegistryHealthy", "is ok");

    // Without a user the registry refuses the request.
    let anonymous: BTreeMap<_, _> = keys
        .clone()
        .into_iter()
        .filter(|(key, _)| !matches!(*key, "USERNAME" | "PASSWORD"))
        .collect();
    cluster.declare(JET_SECRETS, "registry-info", &anonymous);
    comes_to(&cluster, &mut controller, &domain, "unauthorized").await;
    assert_event(&cluster, "RegistryUnhealthy", "USERNAME is empty");

    // Another authority has not signed the registry's certificate.
    let other = Authority::new("another").unwrap();
    cluster.declare(JET_SECRETS, "registry-info", &declared(&domain, other.certificate()));
    comes_to(&cluster, &mut controller, &domain, "untrusted").await;
    assert_event(&cluster, "RegistryUnhealthy", "is untrusted: invalid peer certificate");

    // With INSECURE, the certificate is not verified and the credential is not tried.
    keys.insert("INSECURE", "true".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    comes_to(&cluster, &mut controller, &domain, "unverified").await;
    let needs = format!("nodes must not verify the certificate of {domain} (INSECURE)");
    until(&mut controller.report, |it| it.nodes == [needs.as_str()]).await;

    // The registry stops and starts again.
    keys.insert("INSECURE", "false".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    comes_to(&cluster, &mut controller, &domain, "ok").await;
    tokio::task::block_in_place(|| registry.process().stop().unwrap());
    comes_to(&cluster, &mut controller, &domain, "unreachable").await;
    assert_event(&cluster, "RegistryUnhealthy", "is unreachable");
    tokio::task::block_in_place(|| registry.wait_ready().unwrap());
    comes_to(&cluster, &mut controller, &domain, "ok").await;
    assert!(controller.metrics.text().unwrap().contains("registry_unhealthy 0"));

    // The host name does not exist.
    cluster.declare(JET_SECRETS, "registry-info", &declared("nobody.invalid", ""));
    comes_to(&cluster, &mut controller, "nobody.invalid", "unresolved").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn expiring_registry_certificate_is_reported() {
    let cluster = TestCluster::set().await;
    let second = Duration::from_secs(1);
    let mut controller = cluster.controller_that_checks(settings(), second);
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let day = Duration::from_hours(24);
    let now = std::time::SystemTime::now();
    for (from, to, outcome) in
        [(now - 60 * day, now - day, "expired"), (now - 360 * day, now + 5 * day, "ok")]
    {
        let params = |mut params: CertificateParams| {
            (params.not_before, params.not_after) = (from.into(), to.into());
            params
        };
        let faulty = Faulty::start(params, |_| Response::default()).await;
        let keys = declared(&faulty.domain, &faulty.authority);
        cluster.declare(JET_SECRETS, "registry-info", &keys);
        let health = comes_to(&cluster, &mut controller, &faulty.domain, outcome).await;
        assert_eq!(health.expires_soon, outcome == "ok");
        let reason =
            if health.is_bad() { "RegistryUnhealthy" } else { "RegistryCertificateExpires" };
        assert_event(&cluster, reason, &faulty.domain);
    }
    let metrics = controller.metrics.text().unwrap();
    assert!(metrics.contains("registry_certificate_expiry_timestamp_seconds "), "{metrics}");
}

/// Registries such as Harbor refuse every request to `/v2/`. Their token service accepts a
/// credential or refuses it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn credential_is_tried_at_the_token_service() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let good = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let faulty = Faulty::start(
        |params| params,
        move |request| {
            let host = request.headers()["host"].to_str().unwrap();
            let is_good =
                request.headers().get("authorization").is_some_and(|it| it == good.as_str());
            let mut reply = Response::default();
            if request.uri().path() == "/v2/" {
                *reply.status_mut() = hyper::StatusCode::UNAUTHORIZED;
                let challenge =
                    format!(r#"Bearer realm="https://{host}/token",service="registry""#);
                reply.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            } else if request.uri() != "/token?service=registry" || !is_good {
                *reply.status_mut() = hyper::StatusCode::UNAUTHORIZED;
            }
            reply
        },
    )
    .await;
    let mut keys = declared(&faulty.domain, &faulty.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let health = comes_to(&cluster, &mut controller, &faulty.domain, "ok").await;
    assert!(health.detail.contains("issues a token"), "{}", health.detail);
    keys.insert("PASSWORD", "wrong".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let health = comes_to(&cluster, &mut controller, &faulty.domain, "unauthorized").await;
    assert!(health.detail.contains("token service"), "{}", health.detail);
}

/// A server that responds in ways that no real registry can be configured for.
pub(crate) struct Faulty {
    pub(crate) domain: String,
    /// The authority that signed the server's certificate, PEM.
    pub(crate) authority: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) type Reply = Response<http_body_util::Empty<bytes::Bytes>>;

impl Faulty {
    pub(crate) async fn start(
        params: impl FnOnce(CertificateParams) -> CertificateParams,
        answer: impl Fn(&Request<Incoming>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signer = KeyPair::generate().unwrap();
        let trusted = authority.self_signed(&signer).unwrap().pem();
        let issuer = Issuer::new(authority, signer);
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params(names).signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let domain = socket.local_addr().unwrap().to_string();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let Ok(tls) = acceptor.accept(stream).await else { continue };
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request| {
                    let reply = answer(&request);
                    async move { Ok::<_, Infallible>(reply) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
            }
        });
        Self { domain, authority: trusted, task }
    }
}

// guarantee: 6a
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: cargo xtask test"]
async fn plain_http_registry_gets_no_credential() {
    let options = RegistryOptions::default();
    let registry = tokio::task::block_in_place(|| Registry::start(parts(), &options).unwrap());
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let domain = registry.address();
    let mut declared = keys(&domain);
    declared.insert("MIRROR_REGISTRIES", format!("docker.io::http://{domain}/airgap/docker.io"));
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let health = comes_to(&cluster, &mut controller, &domain, "ok").await;
    assert_eq!(health.detail, "reachable over plain HTTP");
    let report = controller.report.borrow().clone();
    let codes = report.declaration.findings.iter().map(|it| it.code.as_str());
    assert_eq!(codes.collect::<Vec<_>>(), ["credential-over-http"]);

    // A scheme in DOMAIN has the same effect. A registry that requires a password receives none.
    let options = RegistryOptions { credentials: Some(credentials(PASSWORD)), ..options };
    let registry = tokio::task::block_in_place(|| Registry::start(parts(), &options).unwrap());
    let domain = registry.address();
    let mut declared = keys(&domain);
    declared.insert("DOMAIN", format!("http://{domain}"));
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let health = comes_to(&cluster, &mut controller, &domain, "ok").await;
    assert!(health.detail.contains("the credential was not tried"), "{}", health.detail);
    declared.remove("USERNAME");
    declared.remove("PASSWORD");
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    comes_to(&cluster, &mut controller, &domain, "unauthorized").await;
}
