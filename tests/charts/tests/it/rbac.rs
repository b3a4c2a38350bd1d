//! Permissions of the service accounts.

use serde_json::Value;

use crate::chart::{EVERYTHING, PAGE, Rendered, chart, file, of_kind, strings};

/// A rule, and the object that has it.
struct Rule<'r> {
    role: &'r str,
    groups: Vec<&'r str>,
    resources: Vec<&'r str>,
    names: Vec<&'r str>,
    verbs: Vec<&'r str>,
}

fn rules(rendered: &Rendered) -> Vec<Rule<'_>> {
    let roles = [of_kind(rendered, "ClusterRole"), of_kind(rendered, "Role")].concat();
    let [agents, restart] = ["agent/role.yaml", "restart/role.yaml"]
        .map(|path| usize::from(rendered.objects.contains_key(path)));
    assert_eq!(roles.len(), 3 + 3 * agents + restart);
    roles
        .into_iter()
        .flat_map(|role| role["rules"].as_array().unwrap().iter().map(move |rule| (role, rule)))
        .filter(|(role, rule)| {
            let urls = rule.get("nonResourceURLs");
            // Before the restart of a control-plane node.
            assert!(urls.is_none() || (role["kind"] == "ClusterRole" && restart == 1));
            urls.is_none_or(|urls| {
                assert_eq!(
                    (strings(urls), strings(&rule["verbs"])),
                    (vec!["/readyz"], vec!["get"])
                );
                false
            })
        })
        .map(|(role, rule)| Rule {
            role: role["metadata"]["name"].as_str().unwrap(),
            groups: strings(&rule["apiGroups"]),
            resources: strings(&rule["resources"]),
            names: strings(&rule["resourceNames"]),
            verbs: strings(&rule["verbs"]),
        })
        .collect()
}

/// Values whose roles differ.
const VALUES: [&str; 6] = [
    "",
    PAGE,
    EVERYTHING,
    "managePullSecrets: false",
    "agent: {enabled: false}",
    "{existingSecret: mine, tls: {existingSecret: serving}}",
];

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn nothing_is_granted_by_wildcard() {
    let chart = chart();
    let known = ["get", "list", "watch", "create", "patch", "update", "delete"];
    for values in VALUES {
        for rule in rules(&chart.with(values)) {
            let all = [&rule.groups, &rule.resources, &rule.names];
            assert!(
                all.iter().all(|list| list.iter().all(|item| !item.contains('*'))),
                "{}",
                rule.role
            );
            assert!(rule.verbs.iter().all(|verb| known.contains(verb)), "{:?}", rule.verbs);
            // The right to write these would imply every other right.
            for never in ["roles", "rolebindings", "clusterrolebindings", "serviceaccounts"] {
                assert!(!rule.resources.contains(&never), "{never}");
            }
            let is_known =
                |resource: &&str| !resource.contains('/') || *resource == "nodemirrors/status";
            assert!(rule.resources.iter().all(is_known), "{:?}", rule.resources);
        }
    }
}

// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn secrets_are_accessed_only_by_name() {
    let chart = chart();
    for values in VALUES {
        for rule in rules(&chart.with(values)) {
            if rule.resources.contains(&"secrets") {
                assert_eq!(rule.resources, ["secrets"]);
                assert!(!rule.names.is_empty(), "{values}: {} {:?}", rule.role, rule.verbs);
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn writes_are_limited_to_named_objects() {
    let chart = chart();
    // The names of these objects depend on Nodes. A policy limits each right.
    let of_nodes = [
        ("image-swap", "nodes"),
        ("image-swap", "nodemirrors"),
        ("image-swap", "nodemirrors/status"),
        ("image-swap-agent", "nodemirrors/status"),
        ("image-swap-trial", "pods"),
        ("image-swap-restart", "pods"),
        ("image-swap-restart", "leases"),
    ];
    for values in VALUES {
        for rule in rules(&chart.with(values)) {
            let writes = ["create", "patch", "update", "delete"];
            let writes = rule.verbs.iter().any(|verb| writes.contains(verb));
            if writes && rule.names.is_empty() {
                let [resource] = rule.resources[..] else { panic!("{:?}", rule.resources) };
                let is_known = resource == "events" || of_nodes.contains(&(rule.role, resource));
                assert!(is_known, "{}: {resource}", rule.role);
            }
        }
    }
}

/// Lists the objects that may be read everywhere without a name. None is secret.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn reads_without_a_name_are_listed() {
    let chart = chart();
    let unnamed = |values| {
        let rendered = chart.with(values);
        let mut found: Vec<String> = rules(&rendered)
            .iter()
            .filter(|rule| rule.names.is_empty() && rule.role == "image-swap")
            .map(|rule| format!("{}: {}", rule.resources.join(" "), rule.verbs.join(" ")))
            .collect();
        found.sort();
        found
    };
    let rest = [
        "endpointslices: list",
        "events: create patch",
        "mutatingwebhookconfigurations: get list watch",
    ];
    let (namespaces, pods) = ("namespaces: list watch", "pods: list watch");
    // The type of the Service of another image swapper.
    let services = "services: get";
    let nodes = [
        "nodemirrors/status: patch",
        "nodemirrors: list watch create patch delete",
        "nodes: list watch patch",
    ];
    let with_nodes = |all: &[&'static str]| -> Vec<&str> {
        let mut all = [&rest[..], &nodes[..], all].concat();
        all.sort_unstable();
        all
    };
    assert_eq!(unnamed(""), with_nodes(&[namespaces, pods, services]));
    // Pods that name a pull Secret keep it from being removed.
    assert_eq!(unnamed("managePullSecrets: false"), with_nodes(&[pods, services]));
    let without = unnamed("agent: {enabled: false}");
    assert_eq!(without, [rest[0], rest[1], rest[2], namespaces, pods, services]);
}

// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn admission_replicas_read_only_two_secrets() {
    let chart = chart();
    for (values, certificate) in
        [(PAGE, "image-swap-tls"), ("tls: {existingSecret: serving}", "serving")]
    {
        let rendered = chart.with(values);
        let bound: Vec<&Value> =
            [of_kind(&rendered, "RoleBinding"), of_kind(&rendered, "ClusterRoleBinding")]
                .concat()
                .into_iter()
                .filter(|binding| binding["subjects"][0]["name"] == "image-swap-admission")
                .collect();
        assert_eq!(bound.len(), 1);
        assert_eq!(bound[0]["kind"], "RoleBinding");
        assert_eq!(bound[0]["roleRef"]["name"], "image-swap-admission");
        let may: Vec<(Vec<&str>, Vec<&str>, Vec<&str>)> = rules(&rendered)
            .into_iter()
            .filter(|rule| rule.role == "image-swap-admission")
            .map(|rule| (rule.resources, rule.names, rule.verbs))
            .collect();
        let reads = vec!["list", "watch"];
        assert_eq!(
            may,
            [
                (vec!["secrets"], vec!["image-swap-effective"], reads.clone()),
                (vec!["secrets"], vec![certificate], reads),
            ]
        );
    }
}

// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn only_the_controller_reads_key_and_declaration() {
    let chart = chart();
    let rendered = chart.with(PAGE);
    for secret in ["image-swap-ca", "image-swap-last-good", "image-swap-declaration"] {
        let roles: Vec<&str> = rules(&rendered)
            .into_iter()
            .filter(|rule| rule.names.contains(&secret))
            .map(|rule| rule.role)
            .collect();
        assert_eq!(roles, ["image-swap-controller"], "{secret}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_take_permissions_away() {
    let chart = chart();
    let names = |values, resource| -> Vec<String> {
        let rendered = chart.with(values);
        let of = |rule: Rule<'_>| rule.names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        rules(&rendered)
            .into_iter()
            .filter(|rule| rule.resources.contains(&resource))
            .flat_map(of)
            .collect()
    };
    let has = |values, resource, name: &str| names(values, resource).iter().any(|n| n == name);
    let pull = |values| -> Vec<String> {
        let rendered = chart.with(values);
        let verbs = |rule: Rule<'_>| rule.verbs.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let is_pull = |rule: &Rule<'_>| rule.names.contains(&"image-swap-pull");
        rules(&rendered).into_iter().filter(is_pull).flat_map(verbs).collect()
    };
    assert_eq!(pull(""), ["list", "watch", "create", "patch", "delete"]);
    // Pull Secrets of an earlier setting are still removed, and none is created.
    assert_eq!(pull("managePullSecrets: false"), ["list", "watch", "patch", "delete"]);
    assert!(has("", "secrets", "image-swap-nodes"));
    assert!(!has("agent: {enabled: false}", "secrets", "image-swap-nodes"));
    assert!(has("", "secrets", "image-swap-ca"));
    assert!(!has("tls: {existingSecret: serving}", "secrets", "image-swap-ca"));
    assert!(has("tls: {existingSecret: serving}", "secrets", "serving"));
    assert!(has("existingSecret: mine", "secrets", "mine"));
    assert!(!has("", "secrets", "image-swap-declaration"));
    let hooks = "mutatingwebhookconfigurations";
    assert!(!has("", hooks, "imageswap-webhook"));
    assert!(has("adopt: true", hooks, "imageswap-webhook"));
    assert!(has("{adopt: true, adoptWebhooks: [other]}", hooks, "other"));
    assert_eq!(names("", "namespaces"), ["somewhere", "jet-system"]);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn registration_policy_names_the_release_or_is_off() {
    let chart = chart();
    let paths = ["registrationpolicy.yaml", "registrationpolicybinding.yaml"];
    let rendered = chart.named("tools", &[""]);
    let [policy, binding] = paths.map(|path| &rendered.objects[path]);
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
    let conditions = policy["spec"]["matchConditions"].as_array().unwrap();
    let users = conditions[0]["expression"].as_str().unwrap();
    // Both accounts of this release, and no other user.
    for account in ["controller", "admission"] {
        let user = format!("'system:serviceaccount:somewhere:tools-image-swap-{account}'");
        assert!(users.contains(&user), "{users}");
    }
    assert_eq!((conditions.len(), users.matches('\'').count()), (1, 4), "{users}");
    let validations = policy["spec"]["validations"].to_string();
    assert!(validations.contains("'tools-image-swap-admission'"), "{validations}");
    let off = chart.with("registrationPolicy: {enabled: false}");
    assert!(paths.iter().all(|path| !off.objects.contains_key(*path)));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agents_read_one_secret_and_report() {
    let rendered = chart().with(PAGE);
    let bound: Vec<&str> = ["RoleBinding", "ClusterRoleBinding"]
        .into_iter()
        .flat_map(|kind| of_kind(&rendered, kind))
        .filter(|binding| binding["subjects"][0]["name"] == "image-swap-agent")
        .map(|binding| {
            assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
            assert_eq!(binding["subjects"][0]["namespace"], "image-swap-agent");
            binding["roleRef"]["kind"].as_str().unwrap()
        })
        .collect();
    assert_eq!(bound, ["Role", "ClusterRole"]);
    let may: Vec<String> = rules(&rendered)
        .into_iter()
        .filter(|rule| rule.role == "image-swap-agent")
        .map(|rule| {
            let parts = [rule.resources, rule.names, rule.verbs].map(|part| part.join(" "));
            parts.join(": ")
        })
        .collect();
    let expected = [
        "nodemirrors: : get",
        "nodemirrors/status: : patch",
        "secrets: image-swap-nodes: get list watch",
    ];
    assert_eq!(may, expected);
}

/// Requires a comment of the template above every rule of a role.
#[test]
fn rules_have_a_comment_above() {
    for path in [
        "clusterrole.yaml",
        "controller/role.yaml",
        "admission/role.yaml",
        "agent/clusterrole.yaml",
        "agent/role.yaml",
        "trial/role.yaml",
        "restart/role.yaml",
        "fleet/clusterrole.yaml",
        "fleet/clustersrole.yaml",
        "fleet/releaserole.yaml",
        "fleet/role.yaml",
        "uninstall/clusterrole.yaml",
        "uninstall/role.yaml",
    ] {
        let template = file(&format!("templates/{path}"));
        let lines: Vec<&str> = template.lines().collect();
        let mut found = 0;
        for (at, line) in lines.iter().enumerate() {
            let line = line.trim_start();
            if line.starts_with("- apiGroups:") || line.starts_with("- nonResourceURLs:") {
                found += 1;
                assert!(
                    lines[at - 1].starts_with("  # "),
                    "{path}: no reason above line {}",
                    at + 1
                );
            }
        }
        assert!(found > 0, "{path}");
    }
}
