//! Secrets in docs/guides/fleet-gitops.md, compared with the objects of workload clusters.

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    fleet::bundle::{Bundle, BundleObject, BundleSlots},
    labels,
};

use crate::{
    bundle::text,
    chart::{EVERYTHING, charts},
};

/// Returns the Secrets of the objects that contain `password`, as `NAMESPACE/NAME`.
fn secrets_with(objects: &[BundleObject], password: &str) -> BTreeSet<String> {
    let pair = STANDARD.encode(format!("robot:{password}"));
    let has_it = |object: &&BundleObject| {
        let data = object.value["data"].as_object().into_iter().flat_map(|it| it.values());
        let mut values = data.map(|it| STANDARD.decode(it.as_str().unwrap()).unwrap());
        values.any(|value| {
            let value = String::from_utf8_lossy(&value);
            value.contains(password) || value.contains(&pair)
        })
    };
    let found = objects.iter().filter(has_it);
    found.map(|it| format!("{}/{}", it.namespace.as_deref().unwrap_or_default(), it.name)).collect()
}

/// Returns the Secrets that the guide lists, as `NAMESPACE/NAME`.
fn listed_secrets() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/fleet-gitops.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("\n| Secret | namespaces |\n| --- | --- |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let mut quoted = row.split('`').skip(1).step_by(2).filter(|word| !word.contains(':'));
        let name = quoted.next().unwrap().to_owned();
        quoted.map(move |namespace| format!("{namespace}/{name}")).collect::<Vec<_>>()
    })
    .collect()
}

// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn guide_lists_secrets_with_the_credential() {
    let keys = [
        ("DOMAIN", "harbor.example.org"),
        ("BASE_PATH", ""),
        ("USERNAME", "robot"),
        ("PASSWORD", "hunter2"),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", "docker.io::harbor.example.org/docker.io"),
    ];
    let data = keys.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let secret = SecretData { kind: "Opaque".to_owned(), data: data.into() };
    let declaration = Effective { origin: Origin::RegistryInfo, secret };
    for chart in charts() {
        let bundle = Bundle::parse(&text(chart, &[EVERYTHING])).unwrap();
        let served = BTreeSet::new();
        let slots = BundleSlots::new(labels::IMAGE_SWAP, (1, &declaration), &served);
        assert_eq!(secrets_with(&bundle.fill(&slots).unwrap(), "hunter2"), listed_secrets());
    }
}
