//! The registry's password: the places that may contain it, and all output of a controller and two
//! replicas, which must not contain it in any form.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use image_swap_cluster::deregister;
use image_swap_core::{control::policy::FailurePolicy, status::RegistryOutcome};
use image_swap_testbed::{Authority, Credentials, Registry, RegistryOptions};
use serde_json::Value;
use tracing_subscriber::{fmt, fmt::MakeWriter};

use crate::{
    documented,
    install::{Account, Installed},
    stream::Stream,
    test_cluster::{
        JET_SECRETS, SECRETS, controller_by, eventually, intervals, keys, now, parts, pod, release,
        settings, until,
    },
};

const USER: &str = "robot$of-the-company";
/// A password that no other text resembles, with characters that formats escape.
const PASSWORD: &str = "zQ7/unheard+of&word%\"of~the:robot";

const VALUES: &str = "
ociImageRegistry:
  endpoint: chart.example.org
  name: Harbor
  username: robot$of-the-company
  password: 'zQ7/unheard+of&word%\"of~the:robot'
  baseContentPath: airgap
  insecureSkipVerify: false
  mirrorRegistries: docker.io::chart.example.org/airgap/docker.io
";

/// Returns the forms in which the password may be written: plain, escaped, and as part of an
/// encoded text.
fn forms() -> Vec<String> {
    let json = Value::from(PASSWORD).to_string();
    let url: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let partly = PASSWORD.replace('/', "%2F").replace('"', "%22").replace('+', "%2B");
    let mut forms = vec![
        PASSWORD.to_owned(),
        json.trim_matches('"').to_owned(),
        Value::from(json).to_string().trim_matches('"').to_owned(),
        PASSWORD.escape_debug().to_string(),
        url,
        partly,
        // Half of the password must not leak either.
        PASSWORD[..16].to_owned(),
        PASSWORD[16..].to_owned(),
    ];
    for secret in [PASSWORD.to_owned(), Value::from(PASSWORD).to_string()] {
        let once = within_base64(secret.trim_matches('"'));
        forms.extend(once.iter().flat_map(|form| within_base64(form)));
        forms.extend(once);
    }
    forms
}

/// Returns the encodings of `text` within a longer encoded text. Base64 encodes three bytes as four
/// letters, so they depend on the offset. Letters shared with neighbouring bytes are cut off.
fn within_base64(text: &str) -> Vec<String> {
    let at = |before: usize| {
        let encoded = STANDARD_NO_PAD.encode(format!("{}{text}", "x".repeat(before)));
        encoded[(before * 8).div_ceil(6)..(before + text.len()) * 8 / 6].to_owned()
    };
    (0..3).map(at).collect()
}

/// Fails if `text` contains the password in any form.
fn assert_hidden(what: &str, text: &str) {
    for form in forms() {
        if let Some(at) = text.find(&form) {
            // The message shows the text before the password.
            let from = text[..at].char_indices().rev().nth(200).map_or(0, |(i, _)| i);
            panic!("{what} has the password, behind:\n{}", &text[from..at]);
        }
    }
}

fn has(text: &str) -> bool {
    forms().iter().any(|form| text.contains(form))
}

/// A writer that keeps all log messages.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[test]
fn every_form_of_the_password_is_recognised() {
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({ "auths": { "h": { "auth": auth, "password": PASSWORD } } });
    for text in [
        PASSWORD.to_owned(),
        format!("{:?}", Some(PASSWORD)),
        auth.clone(),
        format!("authorization: Basic {auth}"),
        STANDARD.encode(PASSWORD),
        STANDARD.encode(&auth),
        STANDARD.encode(serde_json::json!({ "PASSWORD": PASSWORD }).to_string()),
        STANDARD.encode(config.to_string()),
        serde_json::json!({ "note": config.to_string() }).to_string(),
    ] {
        assert!(has(&text), "{text}");
    }
    assert!(!has("robot$of-the-company"));
}

// guarantee: 6b, 6c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: cargo xtask test"]
async fn password_is_absent_from_all_outputs() {
    let log = Log::default();
    // No other test of this process installs a subscriber.
    let subscriber = fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    subscriber.with_ansi(false).init();
    let authority = Authority::new("the company's").unwrap();
    let login = |password: &str| Credentials { username: USER.into(), password: password.into() };
    let options = RegistryOptions {
        tls: Some(authority.server(&["127.0.0.1"]).unwrap()),
        authority: Some(authority.certificate().to_owned()),
        credentials: Some(login(PASSWORD)),
        ..RegistryOptions::default()
    };
    let mut registry = tokio::task::block_in_place(|| Registry::start(parts(), &options).unwrap());
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    let as_controller = installed.client_as(Account::Controller).await;
    let as_admission = installed.client_as(Account::Admission).await;
    let mut running = controller_by(&as_controller, settings(), "one", intervals(), now);
    let (replica, following) = cluster.replica_by(&as_admission).await;
    let (other, following_too) = cluster.replica_by(&as_admission).await;
    cluster.serve_at_all(&[replica.port(), other.port()]);
    until(&mut running.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;

    // The registry accepts the password first, and refuses it later.
    let domain = registry.address();
    let mut good = keys(&domain);
    good.insert("USERNAME", USER.into());
    good.insert("PASSWORD", PASSWORD.into());
    good.insert("CA_CERT", authority.certificate().into());
    // A misspelt key, and an unknown one.
    good.insert("Password", PASSWORD.into());
    good.insert("TOKEN", PASSWORD.into());
    cluster.declare(JET_SECRETS, "registry-info", &good);
    let outcome = |outcome: RegistryOutcome| {
        move |it: &image_swap_core::status::ControllerReport| {
            it.registry.as_ref().is_some_and(|it| it.outcome == outcome)
        }
    };
    until(&mut running.report, outcome(RegistryOutcome::Ok)).await;
    tokio::task::block_in_place(|| registry.set_credentials(&login("another")).unwrap());
    let mut changed = good.clone();
    changed.insert("BASE_PATH", "elsewhere".into());
    cluster.declare(JET_SECRETS, "registry-info", &changed);
    until(&mut running.report, outcome(RegistryOutcome::Unauthorized)).await;

    // Common mistakes with a password, each of which is refused.
    let userinfo = format!("{USER}:{PASSWORD}@{domain}");
    for (key, value) in [
        ("DOMAIN", format!("https://{userinfo}")),
        ("MIRROR_REGISTRIES", format!("docker.io::{userinfo}/d")),
        ("MIRROR_REGISTRIES", format!("docker.io::https://{USER}:{PASSWORD}#9@{domain}/d")),
        ("MIRROR_REGISTRIES", format!("docker.io::https://{USER}:{PASSWORD},9@{domain}/d")),
        ("MIRROR_REGISTRIES", format!("docker.io::https://{USER}:{PASSWORD}::@{domain}/d")),
        ("MIRROR_REGISTRIES", format!("https://{USER}:{PASSWORD}::@{domain}/d")),
        ("CREDENTIAL_HOSTS", userinfo.clone()),
        ("INSECURE", PASSWORD.to_owned()),
        ("CA_CERT", PASSWORD.to_owned()),
    ] {
        let mut wrong = good.clone();
        wrong.insert(key, value);
        cluster.declare(JET_SECRETS, "registry-info", &wrong);
        until(&mut running.report, |it| !it.declaration.refused.is_empty()).await;
        cluster.declare(JET_SECRETS, "registry-info", &good);
        until(&mut running.report, |it| it.declaration.refused.is_empty()).await;
    }

    // Pods, one of them stored, and their pull Secret.
    let swapped: &'static str = Box::leak(format!("{domain}/").into_boxed_str());
    let mut stream = Stream::begin(&cluster.client, swapped);
    stream.more().await;
    stream.end().await;
    let stored = cluster.request("POST", "/api/v1/namespaces/apps/pods", Some(&pod()));
    eventually(|| cluster.get("/api/v1/namespaces/apps/secrets/image-swap-pull")).await;

    assert_hidden("a pod", &stored.to_string());
    assert_hidden("the report", &format!("{:?}", running.report.borrow()));
    assert_hidden("the controller's metrics", &running.metrics.text().unwrap());
    assert_hidden("a replica's metrics", &replica.metrics());
    for (what, path) in [
        ("an Event", "/apis/events.k8s.io/v1/events"),
        ("a ConfigMap", "/api/v1/configmaps"),
        ("a Lease", "/apis/coordination.k8s.io/v1/leases"),
        ("a registration", crate::test_cluster::REGISTRATIONS),
        ("a ClusterRole", crate::test_cluster::ANCHORS),
        ("a namespace", "/api/v1/namespaces"),
        ("a Deployment", "/apis/apps/v1/deployments"),
    ] {
        let list = cluster.get(path).unwrap();
        assert!(!list["items"].as_array().unwrap().is_empty(), "{path}");
        assert_hidden(what, &list.to_string());
    }
    assert_eq!(secrets_with_it(&installed), KEEPERS.map(str::to_owned));
    for keeper in KEEPERS.iter().filter_map(|keeper| keeper.split('/').nth(1)) {
        let name = documented::secret_name(keeper, "");
        assert!(documented::secrets().contains(&name), "docs/security.md: expected {name}");
    }

    deregister(&as_controller, &release()).await.unwrap();
    drop((running, following, following_too));
    // The audit log contains the annotations of the webhook.
    let audit = installed.audit_log();
    assert!(audit.contains("pods.image-swap.io/decisions"), "decisions are audited");
    assert_hidden("the audit log", &audit);
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("invalid declaration") && logged.contains("reviewed"));
    assert_hidden("the log", &logged);
}

/// The Secrets that contain the password on purpose. The declarations belong to the user, the last
/// good one to the controller, and the pull Secret to the kubelet. The chart's Secret for the image
/// of image-swap is in both namespaces of the release.
const KEEPERS: [&str; 6] = [
    "apps/image-swap-pull",
    "image-swap-agent/image-swap-image",
    "image-swap-system/image-swap-declaration",
    "image-swap-system/image-swap-image",
    "image-swap-system/image-swap-last-good",
    "jet-system/registry-info",
];

fn secrets_with_it(installed: &Installed) -> Vec<String> {
    let list = installed.cluster.get("/api/v1/secrets").unwrap();
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    for secret in list["items"].as_array().unwrap() {
        let text = |key: &str| secret["metadata"][key].as_str().unwrap();
        let data = secret["data"].as_object().into_iter().flatten();
        let mut values = data.map(|(_, value)| STANDARD.decode(value.as_str().unwrap()).unwrap());
        let holds = values.any(|value| has(&String::from_utf8_lossy(&value)));
        found.insert(format!("{}/{}", text("namespace"), text("name")), holds);
    }
    assert!(found.contains_key(&format!("{}/image-swap-effective", &SECRETS[19..36])));
    found.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect()
}
