use image_swap_text::redact::without_userinfo;

use super::*;
use crate::{
    declaration::Registry,
    diagnostic::Severity,
    mirror::MirrorTable,
    rule::{MapForm, RuleSet, parse},
};

/// Returns the diagnostics about `rules`, which were parsed from `text`.
fn lint(rules: &RuleSet, text: &str, registry: Option<&Registry>) -> Vec<Diagnostic> {
    let mirrors = &MirrorTable::new(rules);
    Linter { rules, mirrors, text, key: None, registry }.findings()
}

/// Returns code, severity, line and column of each diagnostic about `text`.
fn found(text: &str, domain: Option<&str>) -> Vec<(&'static str, &'static str, usize, usize)> {
    let form = if text.contains('\n') { MapForm::Lines } else { MapForm::List };
    let rules = RuleSet::new(parse::rules(text, form).0);
    let registry = domain.map(|domain| Registry { domain: domain.into(), ..Registry::default() });
    let findings = lint(&rules, text, registry.as_ref());
    let row = |f: &Diagnostic| (f.code.as_str(), f.severity.as_str(), f.place.line, f.place.column);
    findings.iter().map(row).collect()
}

#[track_caller]
fn finds(text: &str, expected: &[(&str, usize, usize)]) {
    let found: Vec<_> =
        found(text, None).into_iter().map(|(code, _, line, column)| (code, line, column)).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn valid_list_has_no_findings() {
    finds("docker.io::h.io/d,gcr.io::h.io/g,ghcr.io::", &[]);
}

#[test]
fn invalid_target_is_an_error() {
    assert_eq!(
        found("docker.io::nohost/d,gcr.io::h.io/g", None),
        [("invalid-target", "error", 1, 12)]
    );
    finds("gcr.io::h.io/g:1,docker.io::h.io", &[("invalid-target", 1, 9)]);
    finds("default::x-,docker.io::h.io", &[("invalid-target", 1, 10)]);
    finds(
        "[EXACT]nginx::bitnami/nginx,docker.io::h.io",
        &[("node-inexpressible", 1, 1), ("invalid-target", 1, 15)],
    );
}

// guarantee: 6b
#[test]
fn password_in_target_is_not_repeated() {
    for target in ["https://u:hunter2@h.io/d", "u:12,hunter2@h.io", "https://u:hunter2, ,a@h.io/x"]
    {
        let text = format!("gcr.io::h.io/g,docker.io::{target},quay.io::h.io/q");
        let (rules, unreadable) = parse::rules(&text, MapForm::List);
        assert_eq!((rules.len(), unreadable.len()), (3, 0), "{text}");
        let rules = RuleSet::new(rules);
        let findings = lint(&rules, &text, None);
        let messages = format!("{findings:?}");
        assert!(!messages.contains("hunter2") && messages.contains("USERNAME"), "{messages}");
        assert!(!without_userinfo(&text).contains("hunter2"), "{text}");
    }
}

// guarantee: 6b
#[test]
fn cut_password_is_in_no_finding() {
    for (text, code) in [
        ("docker.io::https://robot:Sup3rSecret#9@harbor.example.org/d", "invalid-target"),
        ("docker.io::robot:Sup3rSecret#9@harbor.example.org/d", "invalid-target"),
        ("docker.io::https://robot:123456789#9@harbor.example.org/d", "invalid-target"),
        // The text looks like a host and its port.
        ("docker.io::https://robot:4321#9@harbor.example.org/d", "invalid-target"),
        ("docker.io::https://Sup3rSecret#9@harbor.example.org/d", "invalid-target"),
        ("docker.io::https://robot:4321,Sup3rSecret::9@h.io/d", "invalid-target"),
        ("https://robot:Sup3rSecret::@h.io/d", "invalid-target"),
        ("https://robot:Sup3rSecret::h.io/d", "invalid-target"),
        ("docker.io::robot:Sup3rSecret", "invalid-target"),
        ("docker.io::oci://robot:Sup3rSecret@h.io/d", "invalid-target"),
        ("docker.io::https://robot:Sup3r Secret#9@harbor.example.org/d", "invalid-target"),
    ] {
        // A second rule for the same source makes messages name the first one, too.
        for text in [text.to_owned(), format!("{text}\ndocker.io::h.io/d,quay.io::h.io/q")] {
            let (rules, mut findings) = parse::rules(&text, MapForm::List);
            let rules = RuleSet::new(rules);
            findings.extend(lint(&rules, &text, None));
            assert!(findings.iter().any(|it| it.code.as_str() == code), "{text}: {findings:?}");
            let messages = format!("{findings:?}");
            assert!(!messages.contains("Sup3r") && !messages.contains("robot"), "{messages}");
        }
    }
}

#[test]
fn target_before_a_comment_is_quoted() {
    let text = "docker.io::h.io/D#joe@example.org\nquay.io::nohost/d # joe@example.org";
    let rules = RuleSet::new(parse::rules(text, MapForm::Lines).0);
    let findings = lint(&rules, text, None);
    let messages = format!("{findings:?}");
    assert!(messages.contains("h.io/D") && messages.contains("nohost/d"), "{messages}");
}

#[test]
fn unknown_scheme_has_its_hint() {
    let text = "docker.io::oci://h.io/d";
    let rules = RuleSet::new(parse::rules(text, MapForm::List).0);
    let findings = lint(&rules, text, None);
    let finding = findings.iter().find(|it| it.code == Code::InvalidTarget).unwrap();
    assert!(finding.hint.as_deref().unwrap().contains("scheme"), "{finding}");
    assert!(finding.message.contains("oci://h.io/d"), "{finding}");
}

#[test]
fn chain_is_an_error() {
    assert_eq!(found("docker.io::quay.io/x,quay.io::h.io/q", None), [("chain", "error", 1, 12)]);
    finds("docker.io::docker.io/x", &[("chain", 1, 12)]);
    finds("docker.io::h.io:5000/d,h.io::k.io", &[("chain", 1, 12)]);
    finds("docker.io::h.io/d,h.io:5000::k.io", &[]);
    finds("docker.io::h.io/d,h.io::", &[]);
    // A key with a path makes a chain only if a target is below it.
    finds("docker.io/library::docker.io/mirror", &[("node-inexpressible", 1, 1)]);
    finds(
        "gcr.io::quay.io/team/m,quay.io/team::h.io/t",
        &[("chain", 1, 9), ("node-inexpressible", 1, 24)],
    );
    finds(
        "gcr.io::quay.io,quay.io/team::h.io/t",
        &[("chain", 1, 9), ("dead-rule", 1, 17), ("node-inexpressible", 1, 17)],
    );
    finds(
        "[EXACT]a::quay.io/x:1,quay.io::h.io/q",
        &[("node-inexpressible", 1, 1), ("chain", 1, 11)],
    );
}

#[test]
fn colliding_sources_are_warnings() {
    finds("gcr.io::h.io/g,k8s.gcr.io::h.io/g", &[("collision", 1, 16)]);
    finds("gcr.io::h.io/g,quay.io::h.io", &[("collision", 1, 16)]);
    finds("quay.io::h.io,gcr.io::h.io/g", &[("collision", 1, 15)]);
    finds("gcr.io::h.io/g,k8s.gcr.io::h.io/gg", &[]);
    finds("docker.io::h.io/x-,gcr.io::h.io/x-", &[]);
    finds("docker.io::h.io/d,default::h.io/d", &[("collision", 1, 19)]);
    // The library and the rest of Docker Hub, and a redundant path.
    finds("docker.io::h.io/d,docker.io/library::h.io/d", &[("node-inexpressible", 1, 19)]);
    finds("quay.io::h.io/q,quay.io/team::h.io/q/team", &[]);
    finds(
        "quay.io::h.io/q,quay.io/team::h.io/q/t",
        &[("collision", 1, 17), ("node-inexpressible", 1, 17)],
    );
}

#[test]
fn unmatchable_rule_is_dead() {
    for source in [
        "*",
        "*.gcr.io",
        "registry",
        "quay.io/",
        "https://quay.io",
        "quay.io/a:1",
        "quay.io/Team",
        "[FOO]x",
    ] {
        finds(&[source, "::h.io/x,gcr.io::h.io/g"].concat(), &[("dead-rule", 1, 1)]);
    }
    finds(
        "[EXACT]Nginx::h.io/x,gcr.io::h.io/g",
        &[("dead-rule", 1, 1), ("node-inexpressible", 1, 1)],
    );
    finds("docker.io::h.io/UPPER,gcr.io::h.io/g", &[("dead-rule", 1, 12)]);
}

#[test]
fn rule_for_mirrored_images_is_dead() {
    finds(
        "docker.io::h.io/d,h.io/d/team::k.io/t",
        &[("chain", 1, 12), ("dead-rule", 1, 19), ("node-inexpressible", 1, 19)],
    );
    finds(
        "docker.io::h.io/d,[EXACT]h.io/d/x:1::k.io/x:1",
        &[("dead-rule", 1, 19), ("node-inexpressible", 1, 19)],
    );
    finds(
        "docker.io::h.io/d,[REPLACE]h.io/d/*::k.io/x",
        &[("dead-rule", 1, 19), ("node-inexpressible", 1, 19)],
    );
    // `[EXACT]x::x` exempts one image.
    finds("docker.io::h.io/d,[EXACT]quay.io/a::quay.io/a", &[("node-inexpressible", 1, 19)]);
}

#[test]
fn rule_after_a_covering_rule_is_shadowed() {
    finds("default::h.io/1,default::h.io/2", &[("shadowed", 1, 17)]);
    finds("gcr.io::h.io/1,gcr.io::h.io/2", &[]);
    finds("gcr.io::h.io/1,gcr.io::h.io/1", &[("shadowed", 1, 16)]);
    finds("gcr.io::h.io/1,gcr.io::", &[("shadowed", 1, 16)]);
    finds("docker.io::h.io/1,index.docker.io::h.io/1", &[("shadowed", 1, 19)]);
    let exact = "[EXACT]a::h.io/1,[EXACT]a::h.io/2";
    finds(
        exact,
        &[("node-inexpressible", 1, 1), ("shadowed", 1, 18), ("node-inexpressible", 1, 18)],
    );
    let replace = "[REPLACE]*::h.io/1,quay.io::h.io/2,[REPLACE]a*::h.io/3,default::h.io/4";
    let shadowed: Vec<usize> =
        found(replace, None).into_iter().filter(|f| f.0 == "shadowed").map(|f| f.3).collect();
    assert_eq!(shadowed, [20, 36, 56]);
}

#[test]
fn target_outside_domain_is_reported_once() {
    let found =
        found("docker.io::h.io/d,gcr.io::k.io/g,quay.io::k.io/q,x.io::h.io:443/x", Some("h.io"));
    assert_eq!(found, [("outside-domain", "warning", 1, 27), ("outside-domain", "warning", 1, 56)]);
}

// guarantee: 1b
#[test]
fn inexpressible_rules_are_listed_one_by_one() {
    let map = "docker.io::h.io/d\nquay.io/team::h.io/t\n[EXACT]a::h.io/e\n[REPLACE]b*::h.io/r\n\
               noswap_wildcards::c,d\ndefault::h.io/x-\n";
    let lines: Vec<usize> =
        found(map, None).into_iter().filter(|f| f.0 == "node-inexpressible").map(|f| f.2).collect();
    assert_eq!(lines, [2, 3, 4, 6]);
    // Only a default that nodes can express would match images that `noswap_wildcards` exempts
    // for pods.
    finds(
        "noswap_wildcards::c,d\ndefault::h.io/x\n",
        &[("node-inexpressible", 1, 19), ("node-inexpressible", 1, 21)],
    );
}

#[test]
fn map_without_effect_is_a_warning() {
    for text in ["", "gcr.io::,default::", "noswap_wildcards::a"] {
        assert!(found(text, None).contains(&("silent-no-op", "warning", 1, 1)), "{text}");
    }
    assert!(found("*::h.io/x", None).contains(&("silent-no-op", "warning", 1, 1)));
}

#[test]
fn hundred_thousand_rules_are_checked() {
    let many: String = (0..100_000).map(|n| format!("r{n}.io::h.io/r\n")).collect();
    let rules = RuleSet::new(parse::rules(&many, MapForm::Lines).0);
    let registry = Registry { domain: "h.io".into(), ..Registry::default() };
    let checked = Linter {
        rules: &rules,
        mirrors: &MirrorTable::new(&rules),
        text: &many,
        key: Some("maps"),
        registry: Some(&registry),
    };
    let findings = checked.findings();
    assert_eq!(findings.len(), 99_999);
    assert!(findings.iter().all(|f| f.severity == Severity::Warning && f.key == Some("maps")));
}

/// Returns the hints of the diagnostics about `text`.
fn hints(text: &str) -> String {
    let rules = RuleSet::new(parse::rules(text, MapForm::List).0);
    let findings = lint(&rules, text, None);
    findings.into_iter().filter_map(|finding| finding.hint).collect::<Vec<_>>().join("; ")
}

#[test]
fn sources_in_another_spelling_are_found() {
    for (source, advice) in [
        ("registry-1.docker.io", "write docker.io"),
        ("registry.hub.docker.com", "write docker.io"),
        ("hub.docker.com/library", "write docker.io"),
        ("docker.io-library", "write docker.io/library"),
        ("Docker.io", "write docker.io"),
        ("GCR.io/a", "write gcr.io/a"),
    ] {
        let text = [source, "::h.io/x"].concat();
        let codes: Vec<_> = found(&text, None).iter().map(|finding| finding.0).collect();
        assert!(codes.contains(&"source-spelling"), "{text}: {codes:?}");
        assert!(hints(&text).split("; ").any(|hint| hint == advice), "{text}: {}", hints(&text));
    }
    for text in ["index.docker.io::h.io/x", "docker.io::h.io/d,registry-1.docker.io::h.io/d"] {
        assert!(found(text, None).iter().all(|finding| finding.0 != "source-spelling"), "{text}");
    }
}

#[test]
fn hints_name_the_mistake_in_the_rule() {
    for (text, part) in [
        ("docker.io/::h.io/x", "slash"),
        ("/docker.io::h.io/x", "slash"),
        ("https://docker.io::h.io/x", "scheme"),
        ("docker.io::oci://h.io/x", "scheme"),
        ("docker.io::u:p@h.io/x", "USERNAME"),
    ] {
        assert!(hints(text).contains(part), "{text}: {}", hints(text));
    }
}

#[test]
fn identity_rule_has_no_findings() {
    finds("quay.io::quay.io,docker.io::h.io/d", &[]);
    finds("docker.io::h.io/d,[EXACT]auto::auto", &[("node-inexpressible", 1, 19)]);
    finds("docker.io::h.io/d,[REPLACE]auto::auto", &[("node-inexpressible", 1, 19)]);
    finds("[EXACT]auto::auto", &[("node-inexpressible", 1, 1), ("silent-no-op", 1, 1)]);
}
