use image_swap_testkit::registry_info;
use serde_json::Value;

use super::*;
use crate::declaration::DeclarationSource;

fn declared(base_path: &str, user: &str, mirrors: &str) -> Declaration {
    declared_for("", base_path, user, mirrors)
}

fn declared_for(hosts: &str, base_path: &str, user: &str, mirrors: &str) -> Declaration {
    let text = registry_info(&[
        ("DOMAIN", "h.example.org:8443"),
        ("BASE_PATH", base_path),
        ("USERNAME", user),
        ("PASSWORD", "s3cret"),
        ("INSECURE", "false"),
        ("CREDENTIAL_HOSTS", hosts),
        ("MIRROR_REGISTRIES", mirrors),
    ]);
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap()
}

fn keys_of(base_path: &str, mirrors: &str) -> Vec<String> {
    keys_for("", base_path, mirrors)
}

fn keys_for(hosts: &str, base_path: &str, mirrors: &str) -> Vec<String> {
    let content = content(&declared_for(hosts, base_path, "robot", mirrors)).unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    content["auths"].as_object().unwrap().keys().cloned().collect()
}

// guarantee: 6a
#[test]
fn credential_covers_base_path_or_host() {
    let below = "docker.io::h.example.org:8443/airgap/docker.io";
    assert_eq!(keys_of("airgap", below), ["h.example.org:8443/airgap"]);
    assert_eq!(keys_of("", below), ["h.example.org:8443"]);
    for entry in
        ["h.example.org:8443/airgap2/x", "h.example.org:8443", "https://h.example.org:8443/v2/x"]
    {
        assert_eq!(
            keys_of("airgap", &format!("docker.io::{entry}")),
            ["h.example.org:8443", "h.example.org:8443/airgap"],
            "{entry}"
        );
    }
    // The credential is not for hosts outside of the declaration.
    assert_eq!(keys_of("airgap", "docker.io::other.example.org/x"), ["h.example.org:8443/airgap"]);
}

// guarantee: 6a
#[test]
fn declared_hosts_with_rules_get_the_credential() {
    let mirrors = "docker.io::h.example.org:5001/d,quay.io::a.j.example.org,gcr.io::k.io/g,\
                   ghcr.io::h.example.org:5002";
    assert_eq!(
        keys_for("h.example.org:5001,*.j.example.org,unused.example.org", "airgap", mirrors),
        ["a.j.example.org", "h.example.org:5001", "h.example.org:8443/airgap"]
    );
}

#[test]
fn base_path_cut_by_kubelet_covers_host() {
    for path in ["v1/airgap", "v2/airgap"] {
        let mirrors = format!("docker.io::h.example.org:8443/{path}/d");
        assert_eq!(keys_of(path, &mirrors), ["h.example.org:8443"], "{path}");
    }
    let mirrors = "docker.io::h.example.org:8443/v1beta/d";
    assert_eq!(keys_of("v1beta", mirrors), ["h.example.org:8443/v1beta"]);
}

// guarantee: 6a
#[test]
fn forged_record_proves_no_swap() {
    let mirrors = "docker.io::h.example.org:8443/airgap/docker.io";
    let covered = CoveredImages::of(&declared("airgap", "", mirrors)).unwrap();
    let swapped = "h.example.org:8443/airgap/docker.io/library/nginx";
    let pulls =
        |record: &str, key, image| covered.pulls_swapped(record, [(key, image)].into_iter());
    assert!(pulls(r#"{"main":"nginx"}"#, "main", swapped));
    assert!(pulls(r#"{"volume:data":"nginx"}"#, "volume:data", swapped));
    for (record, key, image) in [
        ("anything", "main", swapped),
        ("{}", "main", swapped),
        (r#"{"other":"nginx"}"#, "main", swapped),
        (r#"{"main":1}"#, "main", swapped),
        (r#"{"main":"nginx"}"#, "main", "ghcr.io/tenant/own:1"),
        (r#"{"main":"nginx"}"#, "main", "h.example.org:8443/airgap2/x"),
    ] {
        assert!(!pulls(record, key, image), "{record} {image}");
    }
    assert!(!pulls(&format!(r#"{{"main":"{swapped}"}}"#), "main", swapped));
}

// guarantee: 6a
#[test]
fn covered_images_are_those_of_the_nodes() {
    let below = "docker.io::h.example.org:8443/airgap/docker.io";
    let covered = CoveredImages::of(&declared("airgap", "", below)).unwrap();
    for image in ["airgap/docker.io/library/nginx", "airgap:1", "airgap@sha256:0"] {
        assert!(covered.covers(&format!("h.example.org:8443/{image}")), "{image}");
    }
    for image in ["h.example.org:8443/airgap2/x", "h.example.org:8443/x", "h.example.org/airgap/x"]
    {
        assert!(!covered.covers(image), "{image}");
    }
    // A host does not cover the same host with another port.
    let covered = CoveredImages(["h.example.org".to_owned()].into());
    assert!(covered.covers("h.example.org/x"));
    assert!(!covered.covers("h.example.org:8443/x"));
    assert!(!covered.covers("h.example.org.evil/x"));
}

#[test]
fn content_has_user_password_and_auth() {
    let content = content(&declared("", "robot", "a.io::h.example.org:8443/a")).unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    let auth = &content["auths"]["h.example.org:8443"];
    assert_eq!(auth["username"], "robot");
    assert_eq!(auth["password"], "s3cret");
    assert_eq!(auth["auth"], "cm9ib3Q6czNjcmV0");
}

#[test]
fn anonymous_registry_has_no_secret() {
    assert_eq!(content(&declared("", "", "a.io::h.example.org:8443/a")), None);
}
