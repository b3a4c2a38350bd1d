//! Access by the Secret of an object.

use std::collections::BTreeMap;

use super::*;
use crate::{
    control::effective::SecretData,
    fleet::{
        inventory::{
            ClusterKey, ClusterSettings, ClusterSource, EntryAccess, OriginObject,
            found::{CredentialForm, CredentialSecret},
        },
        kubeconfig::{RemoteCredential, RemoteServer},
    },
    labels::{ENABLED, FLEET_CREDENTIAL},
};

fn kubeconfig(token: &str) -> String {
    format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
         clusters: [{{name: a, cluster: {{server: 'https://inside'}}}}]\n\
         users: [{{name: a, user: {{token: {token}}}}}]\n"
    )
}

fn found(source: ClusterSource, form: CredentialForm) -> FoundCluster {
    FoundCluster {
        key: ClusterKey { namespace: "clusters".into(), source, name: "a".into() },
        origin: OriginObject { api_version: "v1".into(), kind: "Cluster".into(), uid: "1".into() },
        labels: BTreeMap::new(),
        settings: ClusterSettings::default(),
        route: CredentialRoute::Secret { name: "s".into(), form },
    }
}

fn server() -> RemoteServer {
    RemoteServer { server: "https://outside".into(), tls_server_name: None, authority: None }
}

fn secret(kind: &str, version: &str, data: &[(&str, &str)]) -> CredentialSecret {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    let labels = [("cluster.x-k8s.io/cluster-name", "a"), (FLEET_CREDENTIAL, ENABLED)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    CredentialSecret {
        uid: "uid".into(),
        version: version.into(),
        labels: labels.into(),
        secret: SecretData { kind: kind.into(), data: data.collect() },
    }
}

/// Returns server, token and version.
fn used(access: EntryAccess) -> (String, String, String) {
    match access {
        EntryAccess::Usable { access, version } => match access.credential {
            RemoteCredential::Token(token) => (access.server, token, version),
            other @ RemoteCredential::Certificate { .. } => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

const CLUSTER_API: &str = "cluster.x-k8s.io/secret";

#[test]
fn version_changes_with_the_credential() {
    let cluster = found(ClusterSource::ClusterApi, CredentialForm::ClusterApi);
    let access = |version, token| {
        used(cluster.access(Some(&secret(CLUSTER_API, version, &[("value", &kubeconfig(token))]))))
    };
    assert_eq!(access("5", "x"), ("https://inside".into(), "x".into(), "uid/5".into()));
    assert_eq!(access("6", "y"), ("https://inside".into(), "y".into(), "uid/6".into()));
}

#[test]
fn version_changes_with_the_server_of_a_profile() {
    let access = |server: RemoteServer| {
        let profile = found(ClusterSource::ClusterProfile, CredentialForm::Token(server));
        used(profile.access(Some(&secret("Opaque", "5", &[("token", "x")]))))
    };
    let (_, token, first) = access(server());
    assert_eq!((token.as_str(), first.starts_with("uid/5/")), ("x", true));
    assert_eq!(access(server()).2, first);
    assert_ne!(access(RemoteServer { authority: Some(b"ca".into()), ..server() }).2, first);
}

#[test]
fn profile_connects_to_its_own_server() {
    let form = CredentialForm::User { server: server(), key: "k".into(), context: None };
    let profile = found(ClusterSource::ClusterProfile, form);
    let (server, token, _) =
        used(profile.access(Some(&secret("Opaque", "1", &[("k", &kubeconfig("x"))]))));
    assert_eq!((server.as_str(), token.as_str()), ("https://outside", "x"));
}

#[test]
fn profile_uses_only_secrets_that_permit_it() {
    let user = CredentialForm::User { server: server(), key: "value".into(), context: None };
    let text = kubeconfig("hunter2");
    let data = [("token", "hunter2"), ("value", &*text)];
    for form in [CredentialForm::Token(server()), user] {
        let profile = found(ClusterSource::ClusterProfile, form);
        let reason = |secret: &CredentialSecret| match profile.access(Some(secret)) {
            EntryAccess::Refused(reason) => reason,
            other => panic!("{other:?}"),
        };
        for kind in [CLUSTER_API, "kubernetes.io/service-account-token"] {
            let reason = reason(&secret(kind, "1", &data));
            assert!(reason.contains(&format!("found the type {kind}")), "{reason}");
        }
        let mut unlabelled = secret("Opaque", "1", &data);
        unlabelled.labels.insert(FLEET_CREDENTIAL.into(), "disabled".into());
        for _ in 0..2 {
            let reason = reason(&unlabelled);
            assert!(reason.contains("image-swap.io/fleet-credential=enabled"), "{reason}");
            unlabelled.labels.remove(FLEET_CREDENTIAL);
        }
        used(profile.access(Some(&secret("Opaque", "1", &data))));
    }
}

#[test]
fn labelled_secret_has_one_of_three_keys() {
    let labelled = found(ClusterSource::Kubeconfig, CredentialForm::Labelled);
    let text = kubeconfig("x");
    for key in ["value", "kubeconfig", "config"] {
        used(labelled.access(Some(&secret("Opaque", "1", &[(key, &text), ("other", "")]))));
    }
    for data in [&[("other", "x")][..], &[("value", &*text), ("config", &*text)]] {
        let EntryAccess::Refused(reason) = labelled.access(Some(&secret("Opaque", "1", data)))
        else {
            panic!("expected a refusal");
        };
        assert!(
            reason.contains("of the keys value, kubeconfig and config, expected 1"),
            "{reason}"
        );
    }
}

#[test]
fn unusable_secrets_are_refused_without_quotes() {
    let cluster = found(ClusterSource::ClusterApi, CredentialForm::ClusterApi);
    let text = kubeconfig("hunter2");
    let exec = text.replace("token: hunter2", "exec: {command: hunter2}");
    let mut other = secret(CLUSTER_API, "1", &[("value", &text)]);
    other.labels.clear();
    for (secret, expected) in [
        (secret("Opaque", "1", &[("value", &text)]), "expected the type cluster.x-k8s.io/secret"),
        (other, "expected the label cluster.x-k8s.io/cluster-name=a"),
        (secret(CLUSTER_API, "1", &[("config", &text)]), "the key value is missing"),
        (
            secret(CLUSTER_API, "1", &[("value", &exec)]),
            "key value: users[0].user.exec: it runs a program on the management cluster; use a \
             token or a client certificate",
        ),
    ] {
        let access = cluster.access(Some(&secret));
        assert_eq!(access, EntryAccess::Refused(format!("the Secret s: {expected}")));
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
    let profile = found(ClusterSource::ClusterProfile, CredentialForm::Token(server()));
    let access = profile.access(Some(&secret("Opaque", "1", &[("token", "hunter2\n")])));
    let EntryAccess::Refused(reason) = access else { panic!("expected a refusal") };
    assert!(!reason.contains("hunter2"), "{reason}");
}

#[test]
fn missing_secret_is_awaited() {
    let cluster = found(ClusterSource::ClusterApi, CredentialForm::ClusterApi);
    let expected = EntryAccess::Waiting("the Secret s does not exist".into());
    assert_eq!(cluster.access(None), expected);
}
