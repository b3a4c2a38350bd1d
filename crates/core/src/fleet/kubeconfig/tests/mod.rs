mod properties;

use image_swap_text::base64;
use serde_json::{Value, json};

use super::*;

const CA: &str = include_str!("../../../../tests/data/ca-one.pem");
const SECRET: &str = "hunter2-hunter2";

/// Returns a private key that no program can use.
fn key(label: &str) -> String {
    let body = base64::encode([0x30, 0x03, 1, 2, 3]);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// Returns a kubeconfig with a token and an authority.
fn kubeconfig() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "admin@a",
        "contexts": [
            { "name": "other", "context": { "cluster": "b", "user": "b" } },
            { "name": "admin@a", "context": { "cluster": "a", "user": "admin" } },
        ],
        "clusters": [{ "name": "a", "cluster": {
            "server": "https://a.example.org:6443",
            "certificate-authority-data": base64::encode(CA),
        } }],
        "users": [
            { "name": "b", "user": { "exec": { "command": "sh" } } },
            { "name": "admin", "user": { "token": SECRET } },
        ],
    })
}

/// Returns a kubeconfig with a field of the chosen cluster, user or context.
fn with(part: &str, field: &str, value: Value) -> Value {
    let mut config = kubeconfig();
    let target = match part {
        "cluster" => &mut config["clusters"][0]["cluster"],
        "user" => &mut config["users"][1]["user"],
        _ => &mut config["contexts"][1]["context"],
    };
    target[field] = value;
    config
}

fn parse(config: &Value) -> Result<RemoteAccess, KubeconfigError> {
    RemoteAccess::parse(config.to_string().as_bytes())
}

/// Returns the message of a refused kubeconfig.
fn refusal(config: &Value) -> String {
    parse(config).unwrap_err().to_string()
}

#[test]
fn token_and_authority_are_read() {
    let access = parse(&kubeconfig()).unwrap();
    assert_eq!(access.server, "https://a.example.org:6443");
    assert_eq!(access.authority.as_deref(), Some(CA.as_bytes()));
    assert_eq!(access.credential, RemoteCredential::Token(SECRET.to_owned()));
    assert!(!format!("{access:?}").contains(SECRET));
}

#[test]
fn kubeconfig_of_cluster_api_is_read() {
    let text = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    \
         server: https://10.0.0.1:6443/\n  name: a\ncontexts:\n- context:\n    cluster: a\n    \
         user: a-admin\n  name: a-admin@a\ncurrent-context: a-admin@a\nkind: Config\n\
         preferences: {{}}\nusers:\n- name: a-admin\n  user:\n    client-certificate-data: {ca}\n    \
         client-key-data: {key}\n",
        ca = base64::encode(CA),
        key = base64::encode(key("RSA PRIVATE KEY")),
    );
    let access = RemoteAccess::parse(text.as_bytes()).unwrap();
    assert_eq!(access.server, "https://10.0.0.1:6443");
    let RemoteCredential::Certificate { chain, key: found } = access.credential else {
        panic!("expected a certificate");
    };
    assert_eq!((chain, found), (CA.into(), key("RSA PRIVATE KEY").into_bytes()));
}

#[test]
fn fields_without_effect_are_accepted() {
    for (part, field, value) in [
        ("cluster", "insecure-skip-tls-verify", json!(false)),
        ("cluster", "disable-compression", json!(true)),
        ("cluster", "extensions", json!([{ "name": "minikube.sigs.k8s.io" }])),
        ("cluster", "proxy-url", json!("")),
        ("cluster", "tls-server-name", json!("kubernetes")),
        ("user", "exec", json!(null)),
        ("user", "as", json!("")),
        ("context", "namespace", json!("default")),
    ] {
        parse(&with(part, field, value)).unwrap();
    }
}

#[test]
fn dangerous_fields_are_refused_with_remedy() {
    for (part, field, value, message) in [
        (
            "cluster",
            "insecure-skip-tls-verify",
            json!(true),
            "clusters[0].cluster.insecure-skip-tls-verify: it skips the check of the certificate; \
             use certificate-authority-data",
        ),
        (
            "cluster",
            "insecure-skip-tls-verify",
            json!("false"),
            "clusters[0].cluster.insecure-skip-tls-verify: it skips the check of the certificate; \
             use certificate-authority-data",
        ),
        (
            "cluster",
            "proxy-url",
            json!("http://proxy"),
            "clusters[0].cluster.proxy-url: the fleet controller connects directly; remove it",
        ),
        (
            "cluster",
            "certificate-authority",
            json!("/ca.crt"),
            "clusters[0].cluster.certificate-authority: it names a file; use \
             certificate-authority-data",
        ),
        (
            "user",
            "exec",
            json!({ "command": "sh" }),
            "users[1].user.exec: it runs a program on the management cluster; use a token or a \
             client certificate",
        ),
        (
            "user",
            "auth-provider",
            json!({ "name": "gcp" }),
            "users[1].user.auth-provider: it runs a program on the management cluster; use a token \
             or a client certificate",
        ),
        ("user", "tokenFile", json!("/t"), "users[1].user.tokenFile: it names a file; use token"),
        (
            "user",
            "client-certificate",
            json!("/c"),
            "users[1].user.client-certificate: it names a file; use client-certificate-data",
        ),
        (
            "user",
            "client-key",
            json!("/k"),
            "users[1].user.client-key: it names a file; use client-key-data",
        ),
        (
            "user",
            "as",
            json!("root"),
            "users[1].user.as: it acts as another user; use the credential of that user",
        ),
        (
            "user",
            "as-groups",
            json!(["system:masters"]),
            "users[1].user.as-groups: it acts as another user; use the credential of that user",
        ),
        (
            "user",
            "password",
            json!("p"),
            "users[1].user.password: API servers accept no password; use a token, or \
             client-certificate-data and client-key-data",
        ),
        ("user", "Exec", json!({}), "users[1].user: unknown field at line 1; remove it"),
        ("context", "as", json!("x"), "contexts[1].context: unknown field at line 1; remove it"),
    ] {
        assert_eq!(refusal(&with(part, field, value)), message);
    }
}

#[test]
fn invalid_values_are_refused_without_quotes() {
    let encoded = base64::encode(CA);
    for (part, field, value, expected) in [
        ("cluster", "server", json!("http://a"), "clusters[0].cluster.server: expected a URL that"),
        ("cluster", "server", json!(null), "clusters[0].cluster.server: missing; set it"),
        ("cluster", "server", json!([]), "clusters[0].cluster.server: expected a text"),
        (
            "cluster",
            "tls-server-name",
            json!("a b"),
            "clusters[0].cluster.tls-server-name: expected",
        ),
        (
            "cluster",
            "certificate-authority-data",
            json!("hunter2!"),
            "clusters[0].cluster.certificate-authority-data: invalid base64",
        ),
        (
            "cluster",
            "certificate-authority-data",
            json!(base64::encode(SECRET)),
            "clusters[0].cluster.certificate-authority-data: invalid PEM",
        ),
        ("user", "token", json!("hunter2 hunter2"), "users[1].user.token: expected a token"),
        ("user", "token", json!(null), "users[1].user: no credential; set"),
        ("user", "client-key-data", json!(encoded), "users[1].user: found a token and"),
        ("context", "user", json!("c"), "contexts[1].context.user: no entry has this name"),
        ("context", "cluster", json!(""), "contexts[1].context.cluster: missing; set it"),
    ] {
        let message = refusal(&with(part, field, value));
        assert!(message.starts_with(expected), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn client_certificate_needs_one_usable_key() {
    let with_key = |text: &str| {
        let mut config = with("user", "token", json!(null));
        config["users"][1]["user"] = json!({
            "client-certificate-data": base64::encode(CA),
            "client-key-data": base64::encode(text),
        });
        config
    };
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for text in [key("PRIVATE KEY"), format!("{curve}{}", key("EC PRIVATE KEY"))] {
        parse(&with_key(&text)).unwrap();
    }
    for (text, expected) in [
        (key("ENCRYPTED PRIVATE KEY"), "expected a private key that is not encrypted"),
        (key("PRIVATE KEY").repeat(2), "expected exactly one private key"),
        (curve.to_owned(), "expected exactly one private key"),
        (String::new(), "users[1].user.client-key-data: missing; set it"),
        ("-----BEGIN PRIVATE KEY-----\nMA==".to_owned(), "the last line of a block is missing"),
        (key("PRIVATE KEY").replace("MAM", "!!!"), "the key is encrypted or not base64"),
    ] {
        let message = refusal(&with_key(&text));
        assert!(message.contains(expected), "{message}");
    }
    let mut alone = with("user", "token", json!(null));
    alone["users"][1]["user"] = json!({ "client-certificate-data": base64::encode(CA) });
    assert_eq!(refusal(&alone), "users[1].user.client-key-data: missing; set it");
}

#[test]
fn ambiguous_texts_are_refused() {
    let config = kubeconfig().to_string();
    let twice = config.replacen("\"token\":", "\"token\":\"a\",\"token\":", 1);
    let two_users =
        config.replacen("\"name\":\"b\",\"user\":{", "\"name\":\"admin\",\"user\":{", 1);
    let merged = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
                  clusters: [{name: a, cluster: {server: 'https://a'}}]\n\
                  users: [{name: a, user: {token: t, <<: {exec: {}}}}]\n";
    for (text, expected) in [
        (twice, "users[1].user: found twice, the second time at line 1"),
        (two_users, "users[1].name: found twice"),
        (merged.to_owned(), "users[0].user: unknown field at line 4"),
        (format!("{merged}---\n{merged}"), "found 2 YAML documents"),
        (String::new(), "found 0 YAML documents"),
        ("a: [".to_owned(), "invalid YAML at line "),
        ("- a".to_owned(), "expected a mapping"),
        ("kind: Secret".to_owned(), "kind: expected a kubeconfig"),
        ("kind: Config".to_owned(), "current-context: missing"),
        ("#".repeat(KUBECONFIG_MAX + 1), "found 262145 bytes, expected at most 262144"),
    ] {
        let message = RemoteAccess::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let message = RemoteAccess::parse(b"\xFF").unwrap_err().to_string();
    assert!(message.starts_with("invalid UTF-8"), "{message}");
}

#[test]
fn servers_have_only_host_port_and_path() {
    for (server, stored) in [
        ("https://a", "https://a"),
        ("https://[::1]:6443", "https://[::1]:6443"),
        (
            "https://rancher.example.org/k8s/clusters/c-m-x/",
            "https://rancher.example.org/k8s/clusters/c-m-x",
        ),
    ] {
        assert_eq!(parse(&with("cluster", "server", json!(server))).unwrap().server, stored);
    }
    for server in [
        "a:6443",
        "HTTPS://a",
        "https://",
        "https:///path",
        "https://user:hunter2@a",
        "https://a:0",
        "https://a:65536",
        "https://a:",
        "https://a?x",
        "https://a#x",
        "https://a/../b",
        "https://a/%2e",
        "https://a\n",
        "https://a b",
        "https://ä.example.org",
        "https://169.254.169.254\\@a",
    ] {
        let message = refusal(&with("cluster", "server", json!(server)));
        assert!(message.starts_with("clusters[0].cluster.server: expected"), "{server}: {message}");
    }
}

#[test]
fn named_context_chooses_the_user() {
    let mut config = kubeconfig();
    config["users"][0]["user"] = json!({ "token": "of-b" });
    let of = |context| RemoteCredential::parse(config.to_string().as_bytes(), context);
    assert_eq!(of(Some("other")), Ok(RemoteCredential::Token("of-b".to_owned())));
    assert_eq!(of(None), Ok(RemoteCredential::Token(SECRET.to_owned())));
    let missing = of(Some("absent")).unwrap_err().to_string();
    assert!(missing.contains("no entry has this name"), "{missing}");
}
