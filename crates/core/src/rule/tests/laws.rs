//! Properties of rules, over random maps and references.

use proptest::{collection::vec, prelude::*};

use crate::{
    reference::Reference,
    rule::{ImageSwap, MapForm, Reason, RuleKind, RuleSet, RuleSource, Target, parse},
};

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "docker.io",
        "index.docker.io",
        "gcr.io",
        "quay.io",
        "h.io",
        "h.io:5000",
        "quay.io:443",
        "localhost",
        "localhost:5000",
        "[::1]",
        "[::1]:5000",
        "Foo",
        "Quay.IO",
        "Docker.io",
    ])
}

fn path() -> impl Strategy<Value = String> {
    vec(
        prop::sample::select(vec![
            "library",
            "nginx",
            "a",
            "b",
            "team",
            "d",
            "x-docker.io",
            "docker.io",
        ]),
        1..4,
    )
    .prop_map(|parts| parts.join("/"))
}

fn end() -> impl Strategy<Value = String> {
    let digest = ["@sha256:", &"a".repeat(64)].concat();
    let both = [":1", &digest].concat();
    prop::sample::select(vec![String::new(), ":1".to_owned(), ":latest".to_owned(), digest, both])
}

fn image() -> impl Strategy<Value = String> {
    (prop::option::of(host()), path(), end()).prop_map(|(host, path, end)| {
        let host = host.map_or_else(String::new, |host| [host, "/"].concat());
        [host, path, end].concat()
    })
}

fn target() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["", "", "", "http://", "https://"]);
    let version = prop::sample::select(vec!["", "", "v2/"]);
    let finish = prop::sample::select(vec!["", "", "/", "-", "-/", "/UP", ":1"]);
    prop_oneof![
        1 => Just(String::new()),
        1 => Just("nohost/d".to_owned()),
        1 => host().prop_map(str::to_owned),
        6 => (scheme, host(), version, path(), finish)
            .prop_map(|(scheme, host, version, path, finish)| [scheme, host, "/", version, &path, finish].concat()),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let pattern = prop::sample::select(vec![
        "*",
        "quay.io/*",
        "*/nginx*",
        "*:1",
        "d?cker.io/[a-l]*",
        "h.io/*",
        "a",
    ]);
    let source = prop_oneof![
        4 => host().prop_map(str::to_owned),
        3 => (host(), path()).prop_map(|(host, path)| [host, "/", &path].concat()),
        1 => Just("*".to_owned()),
        2 => Just("default".to_owned()),
        2 => image().prop_map(|image| ["[EXACT]", &image].concat()),
        2 => pattern.prop_map(|pattern| ["[REPLACE]", pattern].concat()),
    ];
    let exact_target = (image(), any::<bool>())
        .prop_map(|(image, whole)| if whole { image } else { String::new() });
    prop_oneof![
        10 => (source, target(), exact_target).prop_map(|(source, target, exact)| {
            let target = if source.starts_with("[EXACT]") { exact } else { target };
            [&source, "::", &target].concat()
        }),
        1 => prop::sample::select(vec!["noswap_wildcards::team,x", "noswap_wildcards::,library", "junk"])
            .prop_map(str::to_owned),
    ]
}

fn lines() -> impl Strategy<Value = String> {
    vec(line(), 0..8).prop_map(|lines| lines.join("\n"))
}

fn compile(text: &str) -> RuleSet {
    RuleSet::new(parse::rules(text, MapForm::Lines).0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // guarantee: 2a
    #[test]
    fn second_swap_changes_nothing(map in lines(), image in image()) {
        let rules = compile(&map);
        if let Ok(once) = rules.swap(&image) {
            let twice = rules.swap(&once.image).unwrap();
            prop_assert_eq!(&twice.image, &once.image);
            if once.changed() {
                prop_assert_eq!(twice.reason, Reason::AlreadyMirrored);
            }
        }
    }

    // guarantee: 2a
    #[test]
    fn result_parses_and_keeps_tag_and_digest(map in lines(), image in image()) {
        let rules = compile(&map);
        if let (Ok(before), Ok(decision)) = (Reference::parse(&image), rules.swap(&image)) {
            let after = Reference::parse(&decision.image).unwrap();
            if decision.reason != Reason::Exact {
                prop_assert_eq!(after.tag(), before.tag());
                prop_assert_eq!(after.digest(), before.digest());
            }
            prop_assert_eq!(decision.changed(), decision.image != image);
        }
    }

    #[test]
    fn imageswap_results_are_valid_references(map in lines(), image in image()) {
        for form in [MapForm::Lines, MapForm::List] {
            let rules = ImageSwap::new(&map, form);
            if let Ok(decision) = rules.swap(&image) {
                prop_assert!(Reference::parse(&decision.image).is_ok());
            }
        }
    }

    #[test]
    fn converted_map_parses_without_findings(map in lines()) {
        let converted = ImageSwap::new(&map, MapForm::Lines).to_canonical();
        let (_, findings) = parse::rules(&converted.text, MapForm::Lines);
        prop_assert_eq!(findings, []);
    }

    #[test]
    fn any_text_parses_as_a_map(text in "\\PC{0,200}", image in image()) {
        for form in [MapForm::Lines, MapForm::List] {
            let _ = RuleSet::new(parse::rules(&text, form).0).swap(&image);
            let _ = ImageSwap::new(&text, form).swap(&image);
        }
    }

    /// Compares with the longest key by linear search.
    #[test]
    fn longest_key_decides(map in vec((host(), prop::option::of(path())), 1..8), image in image()) {
        let text: Vec<String> = map
            .iter()
            .enumerate()
            .map(|(n, (host, path))| match path {
                Some(path) => format!("{host}/{path}::t{n}.example"),
                None => format!("{host}::t{n}.example"),
            })
            .collect();
        let rules = compile(&text.join("\n"));
        let Ok(reference) = Reference::parse(&image) else { return Ok(()) };
        let is_hub = reference.domain() == "Docker.io" && !reference.path().contains('/');
        let library = if is_hub { "docker.io/library/" } else { "docker.io/" };
        let name = reference.name().to_lowercase();
        let name = if is_hub { name.replacen("docker.io/", library, 1) } else { name };
        let domain = reference.domain().to_lowercase();
        let keys: Vec<(usize, RuleSource)> =
            text.iter().enumerate().map(|(n, line)| (n, RuleSource::parse(line.split("::t").next().unwrap()).unwrap())).collect();
        let port_is_own = keys.iter().any(|(_, key)| key.has_port() && key.domain() == domain);
        let matches = |key: &RuleSource| {
            let host = if key.has_port() || port_is_own || key.domain() == domain {
                key.domain().to_owned()
            } else {
                // A key without a port also matches with the reference's port.
                domain.rsplit_once(':').filter(|(host, _)| *host == key.host()).map_or_else(
                    || key.domain().to_owned(), |_| domain.clone())
            };
            let path = if key.path().is_empty() { String::new() } else { ["/", key.path()].concat() };
            let whole = [host, path].concat();
            name == whole || name.starts_with(&[&whole, "/"].concat())
        };
        let expected = keys.iter().filter(|(_, key)| matches(key))
            .max_by_key(|(n, key)| (key.path().len(), std::cmp::Reverse(*n))).map(|(n, _)| *n);
        let decision = rules.swap(&image).unwrap();
        prop_assert_eq!(decision.rule, expected);
    }
}

#[test]
fn hundred_thousand_rules_decide_like_few() {
    let many: String = (0..100_000)
        .map(|n| ["r", &n.to_string(), ".io::h.io/", &n.to_string(), "\n"].concat())
        .collect();
    let rules = compile(&many);
    assert_eq!(rules.swap("r99999.io/a:1").unwrap().image, "h.io/99999/a:1");
    assert!(rules.rules().iter().all(|rule| rule.kind == RuleKind::Prefix));
    assert_eq!(rules.target(7).map(Target::as_str), Some("h.io/7"));
}
