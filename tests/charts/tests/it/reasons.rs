//! The reasons for permissions in the tables of `docs/security.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::chart::{FLEET, Rendered, chart, strings, top_level_block};

/// Account, namespace, resource, name and verb of a permission.
type Right = [String; 5];

const CONTROLLER: &str = "### The controller";
const REPLICAS: &str = "### The replicas";
const AGENTS: &str = "### The agents";
const FLEET_CONTROLLER: &str = "### The fleet controller";

/// Returns every right that a row of the tables gives a reason for.
fn reasons() -> BTreeSet<Right> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
    let text = fs::read_to_string(path).unwrap();
    let mut heading = "";
    let mut rights = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line;
        }
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [_, place, what, which, verbs, reason, _] = &cells[..] else { continue };
        let known = [CONTROLLER, REPLICAS, AGENTS, FLEET_CONTROLLER];
        if !known.contains(&heading) || place == "where" || place == "---" {
            continue;
        }
        assert!(reason.len() > 10, "a reason for {line}");
        for verb in verbs.split(", ") {
            let right = [heading, place, what, which, verb].map(str::to_owned);
            assert!(rights.insert(right), "two reasons for {verb}: {line}");
        }
    }
    rights
}

/// Returns every right that the roles grant, in the tables' words.
fn granted(rendered: &Rendered, words: &BTreeMap<&str, &str>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for (path, heading) in [
        ("clusterrole.yaml", CONTROLLER),
        ("controller/role.yaml", CONTROLLER),
        ("trial/role.yaml", CONTROLLER),
        ("restart/role.yaml", CONTROLLER),
        ("admission/role.yaml", REPLICAS),
        ("agent/clusterrole.yaml", AGENTS),
        ("agent/role.yaml", AGENTS),
        ("fleet/clusterrole.yaml", FLEET_CONTROLLER),
        ("fleet/role.yaml", FLEET_CONTROLLER),
        ("fleet/releaserole.yaml", FLEET_CONTROLLER),
        ("fleet/clustersrole.yaml", FLEET_CONTROLLER),
        ("fleet/templatesrole.yaml", REPLICAS),
    ] {
        let Some(role) = rendered.objects.get(path) else { continue };
        let place = match (role["kind"].as_str(), heading, path) {
            (Some("ClusterRole"), ..) => "everywhere",
            (_, _, "trial/role.yaml") => "the trial namespace",
            (_, _, "restart/role.yaml") => "the restart namespace",
            (_, AGENTS, _) | (_, _, "fleet/releaserole.yaml") => "the release's namespace",
            (_, _, "fleet/clustersrole.yaml" | "fleet/templatesrole.yaml") => "fleet.namespaces",
            _ => "its own namespace",
        };
        for rule in role["rules"].as_array().unwrap() {
            for [what, which, verb] in of_rule(rule, words) {
                rights.insert([heading.to_owned(), place.to_owned(), what, which, verb]);
            }
        }
    }
    rights
}

fn of_rule(rule: &Value, words: &BTreeMap<&str, &str>) -> Vec<[String; 3]> {
    let mut which: BTreeSet<String> = BTreeSet::new();
    for name in strings(&rule["resourceNames"]) {
        let of_release = name.strip_prefix("image-swap").map(|rest| format!("N{rest}"));
        let named = words.get(name).map(|word| (*word).to_owned());
        // These are called so in every release.
        let is_fixed = ["image-swap-pull", "image-swap-bootstrap"].contains(&name);
        let fixed = is_fixed.then(|| name.to_owned());
        which.insert(named.or(fixed).or(of_release).unwrap_or_else(|| name.to_owned()));
    }
    if which.is_empty() {
        which.insert("any".to_owned());
    }
    let mut found = Vec::new();
    for url in strings(&rule["nonResourceURLs"]) {
        for verb in strings(&rule["verbs"]) {
            found.push([url, "any", verb].map(str::to_owned));
        }
    }
    for group in strings(&rule["apiGroups"]) {
        for resource in strings(&rule["resources"]) {
            let what =
                if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            for name in &which {
                for verb in strings(&rule["verbs"]) {
                    found.push([what.clone(), name.clone(), verb.to_owned()]);
                }
            }
        }
    }
    found
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn documentation_names_a_reason_for_every_verb() {
    let chart = chart();
    let more = "adopt: true\nmanagePullSecrets: true\nagent: {restart: rolling}\n";
    let most = format!("{}{more}{FLEET}", top_level_block());
    let words = BTreeMap::from([
        ("imageswap-webhook", "adoptWebhooks"),
        ("serving", "tls.existingSecret"),
        ("somewhere", "the release's"),
    ]);
    let mut rights = granted(&chart.with(&most), &words);
    rights.extend(granted(&chart.with("tls: {existingSecret: serving}"), &words));
    let templates = "fleet: {bootstrap: {enabled: true}}";
    rights.extend(granted(&chart.named("image-swap", &[FLEET, templates]), &words));
    assert_eq!(rights, reasons());
}
