//! The Secret that values become, read by the program itself.

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    declaration::{Declaration, DeclarationSource, Registry},
    rule::RuleSet,
};
use serde_json::{Value, json};

use crate::chart::{EVERYTHING, PAGE, Rendered, argument, chart, deployment, file};

/// Returns the rendered Secret as the program reads it: under the name `registry-info`.
fn read(rendered: &Rendered) -> Declaration {
    let mut secret = rendered.objects["declaration.yaml"].clone();
    let named = argument(deployment(rendered, "controller"), "chart-secret").unwrap();
    assert_eq!(secret["metadata"]["name"], named);
    secret["metadata"] = json!({"name": "registry-info", "namespace": "jet-system"});
    Declaration::read(DeclarationSource::RegistryInfo, &secret.to_string(), 0).unwrap()
}

/// Returns the registry without its display name, which has no key in the Secret.
fn without_name(declaration: &Declaration) -> Registry {
    Registry { name: None, ..declaration.registry.clone().unwrap() }
}

fn answers(rules: &RuleSet) -> Vec<String> {
    let images = ["nginx", "gcr.io/a/b:1", "k8s.gcr.io/pause:3.9", "quay.io/x/y", "h.io/z"];
    let swapped = |image: &&str| rules.swap(image).unwrap().image.to_string();
    images.iter().map(swapped).collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rendered_secret_declares_the_same_as_the_values() {
    let chart = chart();
    for values in [PAGE, EVERYTHING] {
        let from_secret = read(&chart.with(values));
        let from_values = Declaration::read(DeclarationSource::Values, values, 0).unwrap();
        assert_eq!(without_name(&from_secret), without_name(&from_values));
        assert_eq!(answers(from_secret.rules()), answers(from_values.rules()));
        assert!(from_secret.serving().is_ok());
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rendered_secret_equals_that_of_palette() {
    let chart = chart();
    let rendered = chart.with(PAGE);
    let page = include_str!("../../../testkit/palette/registry-secret.yaml");
    let page = Declaration::read(DeclarationSource::RegistryInfo, page, 0).unwrap();
    let secret = read(&rendered);
    assert_eq!(secret.registry, page.registry);
    assert_eq!(secret.findings(), page.findings());
    assert_eq!(answers(secret.rules()), answers(page.rules()));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn certificate_and_password_survive_byte_for_byte() {
    let chart = chart();
    let pem = include_str!("../../../../crates/core/tests/data/ca-two.pem");
    let password = "p'a\"s:s # {{ .Values }} ü$1";
    let values = json!({"ociImageRegistry": {
        "endpoint": "harbor.example.org", "name": "", "baseContentPath": "", "insecureSkipVerify": false,
        "username": "robot$pull", "password": password, "caCert": pem,
        "mirrorRegistries": "docker.io::harbor.example.org/d",
    }});
    let registry = read(&chart.with(&values.to_string())).registry.unwrap();
    assert_eq!(registry.ca.pem(), pem);
    assert_eq!(registry.password.expose(), password);
    assert_eq!(registry.username.expose(), "robot$pull");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn line_break_behind_the_password_reaches_no_secret() {
    let chart = chart();
    let values = json!({"ociImageRegistry": {
        "endpoint": "harbor.example.org", "name": "", "baseContentPath": "", "insecureSkipVerify": false,
        "username": "robot\n", "password": "s3cret\r\n",
        "mirrorRegistries": "docker.io::harbor.example.org/d",
    }});
    let rendered = chart.with(&values.to_string());
    assert_eq!(read(&rendered).registry.unwrap().basic(), Some(STANDARD.encode("robot:s3cret")));
    let config = rendered.objects["image.yaml"]["data"][".dockerconfigjson"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&STANDARD.decode(config).unwrap()).unwrap();
    let auth = &config["auths"]["harbor.example.org"]["auth"];
    assert_eq!(*auth, STANDARD.encode("robot:s3cret"));
}

// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn only_secrets_contain_credentials() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    let password = read(&rendered).registry.unwrap().password.expose().to_owned();
    let needles = [
        password.clone(),
        STANDARD.encode(&password),
        STANDARD.encode(format!("robot$pull:{password}")),
    ];
    let holds = |text: &str| needles.iter().any(|needle| text.contains(needle.as_str()));
    let secrets: Vec<&String> =
        rendered.texts.iter().filter(|(_, text)| holds(text)).map(|(path, _)| path).collect();
    assert_eq!(secrets, ["declaration.yaml"]);
    assert!(!holds(&chart.notes(&[EVERYTHING])));
    // The other Secret has it two layers down.
    let config = rendered.objects["image.yaml"]["data"][".dockerconfigjson"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&STANDARD.decode(config).unwrap()).unwrap();
    let auth = config["auths"]["harbor.example.org:8443"]["auth"].as_str().unwrap();
    assert_eq!(STANDARD.decode(auth).unwrap(), format!("robot$pull:{password}").into_bytes());
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn keys_are_those_of_palette() {
    let chart = chart();
    let rendered = chart.with(PAGE);
    let secret = &rendered.objects["declaration.yaml"];
    let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
    for key in &keys {
        assert!(
            file("values.yaml").contains(key.as_str()),
            "the comment of existingSecret lacks {key}"
        );
    }
    assert_eq!(keys.len(), 7);
    assert_eq!(secret["type"], "Opaque");
    assert!(secret.get("stringData").is_none());
}
