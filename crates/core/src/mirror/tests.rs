use image_swap_testkit::lists;
use proptest::prelude::*;

use super::{Fallback, HOSTS_TOML, MirrorTable};
use crate::{
    reference::Reference,
    rule::{MapForm, Reason, RuleKind, RuleSet, parse},
};

fn rules(text: &str) -> RuleSet {
    let form = if text.contains('\n') { MapForm::Lines } else { MapForm::List };
    RuleSet::new(parse::rules(text, form).0)
}

#[track_caller]
fn pulls(text: &str, image: &str, fallback: Fallback, expected: &[&str]) {
    let reference = Reference::parse(image).unwrap();
    let found = MirrorTable::new(&rules(text)).pulls(&reference, fallback);
    assert_eq!(found, expected, "{text} {image}");
}

#[test]
fn mirrors_are_tried_before_the_registry() {
    let list = "docker.io::h.io/1,docker.io::http://k.io:5000/v2/2,gcr.io::h.io";
    pulls(
        list,
        "nginx:1",
        Fallback::Upstream,
        &[
            "https://h.io/v2/1/library/nginx/manifests/1",
            "http://k.io:5000/v2/2/library/nginx/manifests/1",
            "https://registry-1.docker.io/v2/library/nginx/manifests/1",
        ],
    );
    pulls(list, "gcr.io/a", Fallback::Never, &["https://h.io/v2/a/manifests/latest"]);
    pulls(list, "quay.io/a", Fallback::Never, &["https://quay.io/v2/a/manifests/latest"]);
}

#[test]
fn digest_is_requested_before_tag() {
    let digest = ["sha256:", &"0".repeat(64)].concat();
    let url = ["https://quay.io/v2/a/b/manifests/", &digest].concat();
    pulls("gcr.io::h.io", &["quay.io/a/b:1@", &digest].concat(), Fallback::Upstream, &[&url]);
}

#[test]
fn default_excludes_targets_and_exempt_hosts() {
    let list = "default::h.io/x,gcr.io::,docker.io::k.io/d";
    let of = |image: &str, expected: &[&str]| pulls(list, image, Fallback::Never, expected);
    of("quay.io:443/a", &["https://h.io/v2/x/a/manifests/latest"]);
    of("gcr.io/a", &["https://gcr.io/v2/a/manifests/latest"]);
    of("h.io/x/a", &["https://h.io/v2/x/a/manifests/latest"]);
    of("k.io/a", &["https://k.io/v2/a/manifests/latest"]);
}

#[test]
fn hyphen_target_works_for_hosts_only() {
    let url = "https://h.io/v2/x-docker.io/library/nginx/manifests/latest";
    pulls("docker.io::h.io/x-", "nginx", Fallback::Never, &[url]);
    let upstream = "https://registry-1.docker.io/v2/library/nginx/manifests/latest";
    pulls("default::h.io/x-", "nginx", Fallback::Never, &[upstream]);
}

#[test]
fn plain_http_is_for_declared_hosts_and_localhost() {
    pulls(
        "gcr.io::http://h.io/g",
        "h.io/other",
        Fallback::Never,
        &["http://h.io/v2/other/manifests/latest"],
    );
    pulls(
        "gcr.io::h.io",
        "localhost:5000/a",
        Fallback::Never,
        &["http://localhost:5000/v2/a/manifests/latest"],
    );
    pulls(
        "gcr.io::h.io",
        "127.0.0.1/a",
        Fallback::Never,
        &["http://127.0.0.1/v2/a/manifests/latest"],
    );
    pulls(
        "gcr.io::h.io",
        "[::1]:5000/a",
        Fallback::Never,
        &["http://[::1]:5000/v2/a/manifests/latest"],
    );
    pulls(
        "gcr.io::localhost:5000/g",
        "gcr.io/a",
        Fallback::Never,
        &["https://localhost:5000/v2/g/a/manifests/latest"],
    );
}

// guarantee: 1a
#[test]
fn first_rule_decides_for_nodes_and_pods() {
    let url = "https://gcr.io/v2/a/manifests/latest";
    pulls("gcr.io::,gcr.io::h.io", "gcr.io/a", Fallback::Never, &[url]);
    pulls(
        "gcr.io::h.io,gcr.io::",
        "gcr.io/a",
        Fallback::Never,
        &["https://h.io/v2/a/manifests/latest"],
    );
}

fn list() -> impl Strategy<Value = String> {
    let host = || {
        prop::sample::select(vec![
            "docker.io",
            "gcr.io",
            "quay.io",
            "index.docker.io",
            "quay.io:443",
        ])
    };
    let source = prop_oneof![
        6 => host().prop_map(str::to_owned),
        2 => (host(), "[ab]").prop_map(|(host, path)| [host, "/", &path].concat()),
        1 => Just("default".to_owned()),
        1 => Just("[REPLACE]*a*".to_owned()),
        1 => Just("noswap_wildcards".to_owned()),
    ];
    let targets = &["h.io/d", "h.io", "http://k.io:5000/v2/x", "h.io/x-", "", "h.io/d/a"];
    let rule = |rule: &str| {
        let wildcards = rule.starts_with("noswap_wildcards::");
        if wildcards { "noswap_wildcards::b".to_owned() } else { rule.to_owned() }
    };
    let lists = lists(source, targets, "\n");
    lists.prop_map(move |list| list.lines().map(rule).collect::<Vec<_>>().join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Tests guarantee 1a: all renderings of a rule set agree.
    // guarantee: 1a, 7
    #[test]
    fn nodes_request_the_swapped_url_first(
        list in list(),
        host in prop::sample::select(vec!["", "gcr.io/", "quay.io/", "quay.io:443/", "mcr.com/"]),
        path in "[ab](/[ab]){0,2}(:1)?",
    ) {
        let rules = rules(&list);
        let mirrors = MirrorTable::new(&rules);
        let image = [host, &path].concat();
        let reference = Reference::parse(&image).unwrap();
        let decision = rules.swap(&image).unwrap();
        let unsupported = HOSTS_TOML.inexpressible(&rules, &mirrors, Fallback::Upstream);
        let is_supported = |id| !unsupported.iter().any(|row| row.rule == id);
        // Only rules that nodes can express are compared.
        let expressible = decision.rule.is_some_and(|id| {
            is_supported(id) && matches!(rules.rules()[id].kind, RuleKind::Prefix | RuleKind::Default)
                && decision.reason != Reason::AlreadyMirrored
                && decision.reason != Reason::InvalidResult
        });
        // A key without a port is the directory of a host, whatever the port.
        let with_port = reference.domain().contains(':')
            && decision.rule.is_some_and(|id| !rules.rules()[id].key().contains(':'));
        if expressible && !with_port {
            let swapped = Reference::parse(&decision.image).unwrap();
            for fallback in [Fallback::Upstream, Fallback::Never] {
                let pulls = mirrors.pulls(&reference, fallback);
                prop_assert_eq!(&pulls[0], &mirrors.own_url(&swapped));
                let upstream = pulls.contains(&mirrors.own_url(&reference));
                prop_assert_eq!(upstream, fallback == Fallback::Upstream || !decision.changed());
            }
        }
    }
}
