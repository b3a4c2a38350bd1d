use image_swap_text::yaml::Tree;
use proptest::prelude::*;

use super::*;
use crate::declaration::DeclarationSource;

const NOW: UnixTime = 1_700_000_000;

fn secret(domain: &str, mirrors: &str) -> SecretData {
    let data = [
        ("DOMAIN", domain),
        ("BASE_PATH", "airgap"),
        ("USERNAME", "robot"),
        ("PASSWORD", "s3cret"),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", mirrors),
    ];
    SecretData {
        kind: "Opaque".into(),
        data: data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into(),
    }
}

fn good(domain: &str) -> SecretData {
    secret(domain, &format!("docker.io::{domain}/airgap/docker.io"))
}

fn effective(origin: Origin, secret: &SecretData) -> Effective {
    Effective { origin, secret: secret.clone() }
}

#[test]
fn registry_info_wins_and_differing_keys_are_named() {
    let (registry_info, charts) = (good("a.example.org"), good("b.example.org"));
    let decision = decide(Some(&registry_info), Some(&charts), None, NOW);
    assert_eq!(decision.effective, effective(Origin::RegistryInfo, &registry_info));
    assert_eq!(decision.differs, ["DOMAIN", "MIRROR_REGISTRIES"]);
}

#[test]
fn equal_declarations_do_not_differ() {
    let mut charts = good("a.example.org");
    charts.data.insert("CA_CERT".into(), Vec::new());
    let decision = decide(Some(&good("a.example.org")), Some(&charts), None, NOW);
    assert!(decision.differs.is_empty(), "{:?}", decision.differs);
}

#[test]
fn missing_registry_info_makes_the_charts_effective() {
    let charts = good("b.example.org");
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let decision = decide(None, Some(&charts), Some(&last), NOW);
    assert_eq!(decision.effective, effective(Origin::Chart, &charts));
    assert_eq!(decide(None, None, Some(&last), NOW).effective, Effective::none());
}

// guarantee: 3b
#[test]
fn emptied_registry_info_changes_nothing() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let charts = good("b.example.org");
    let emptied = SecretData { kind: "Opaque".into(), ..SecretData::default() };
    let decision = decide(Some(&emptied), Some(&charts), Some(&last), NOW);
    assert_eq!(decision.effective, last);
    let about = &decision.about[0];
    assert!(about.refused);
    assert!(about.findings[0].message.contains("DOMAIN"), "{}", about.findings[0]);
}

// guarantee: 3a, 3b
#[test]
fn malformed_rule_is_reported_with_line_and_column() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let bad = secret("a.example.org", "docker.io::a.example.org/d,\ngcr.io::not a target");
    let decision = decide(Some(&bad), None, Some(&last), NOW);
    assert_eq!(decision.effective, last);
    let errors: Vec<_> = decision.about[0].findings.iter().filter(|f| f.is_error()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].place.line, 2);
    assert_eq!(errors[0].key, Some("MIRROR_REGISTRIES"));
}

// guarantee: 3b
#[test]
fn invalid_registry_info_keeps_the_charts_effective() {
    let bad = secret("a.example.org", "");
    let charts = good("b.example.org");
    for last in [None, Some(effective(Origin::Chart, &good("c.example.org")))] {
        let decision = decide(Some(&bad), Some(&charts), last.as_ref(), NOW);
        assert_eq!(decision.effective, effective(Origin::Chart, &charts));
    }
}

// guarantee: 3b
#[test]
fn invalid_chart_changes_nothing_without_registry_info() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let bad = secret("b.example.org", "");
    assert_eq!(decide(None, Some(&bad), Some(&last), NOW).effective, last);
}

// guarantee: 3b
#[test]
fn invalid_utf8_is_rejected_and_kept() {
    let mut bad = good("a.example.org");
    bad.data.insert("PASSWORD".into(), vec![0xff, 0xfe]);
    let decision = decide(Some(&bad), None, None, NOW);
    assert_eq!(decision.effective, Effective::none());
    assert!(decision.about[0].findings[0].message.contains("PASSWORD"));
}

#[test]
fn effective_declaration_is_read_back() {
    let declared = good("a.example.org");
    let read = effective(Origin::RegistryInfo, &declared).declaration().unwrap();
    assert_eq!(
        read.rules().swap("nginx").unwrap().image,
        "a.example.org/airgap/docker.io/library/nginx"
    );
    assert!(Effective::none().declaration().is_none());
}

// guarantee: 6c
#[test]
fn replicas_get_rules_without_credential() {
    let effective = effective(Origin::RegistryInfo, &good("a.example.org"));
    let text = effective.without_credentials().text();
    assert!(!text.contains("s3cret") && !text.contains("robot"), "{text}");
    let read = Effective::parse(effective.origin, &text).declaration().unwrap();
    assert_eq!(read.rules().rules(), effective.declaration().unwrap().rules().rules());
    assert_eq!(Effective::none().without_credentials().text(), "");
}

// guarantee: 6b
#[test]
fn findings_show_no_credential() {
    let mut bad = secret("robot:s3cret@a.example.org", "docker.io::robot:s3cret@h/x");
    bad.data.insert("INSECURE".into(), b"s3cret".to_vec());
    let shown = format!("{:?}", decide(Some(&bad), Some(&bad), None, NOW).about);
    assert!(!shown.contains("s3cret"), "{shown}");
}

// guarantee: 6c
#[test]
fn replicas_receive_only_the_known_keys() {
    let mut declared = good("a.example.org");
    for (key, value) in [("Password", "typo-secret"), ("TOKEN", "other-secret")] {
        declared.data.insert(key.into(), value.into());
    }
    declared.data.insert("Username".into(), vec![0xff, 0xfe]);
    let text = effective(Origin::RegistryInfo, &declared).without_credentials().text();
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = |block: &str| -> Vec<String> {
        object[block].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(keys("stringData"), ["BASE_PATH", "DOMAIN", "INSECURE", "MIRROR_REGISTRIES"]);
    assert!(keys("data").is_empty() && !text.contains("secret\""), "{text}");
}

#[test]
fn credential_change_leaves_the_served_text() {
    let mut declared = good("a.example.org");
    let text = effective(Origin::RegistryInfo, &declared).without_credentials().text();
    declared.data.insert("PASSWORD".into(), b"another".to_vec());
    assert_eq!(effective(Origin::RegistryInfo, &declared).without_credentials().text(), text);
}

/// Compares with the form that replicas and controllers of other releases read.
#[test]
fn stored_text_never_changes() {
    let mut declared = good("a.example.org");
    declared.data.insert("binary".into(), vec![0xff, 0xfe]);
    let stored = effective(Origin::Chart, &declared);
    let written = r#"{
  "apiVersion": "v1",
  "data": {
    "binary": "//4="
  },
  "kind": "Secret",
  "metadata": {
    "name": "registry-info",
    "namespace": "jet-system"
  },
  "stringData": {
    "BASE_PATH": "airgap",
    "DOMAIN": "a.example.org",
    "INSECURE": "false",
    "MIRROR_REGISTRIES": "docker.io::a.example.org/airgap/docker.io",
    "PASSWORD": "s3cret",
    "USERNAME": "robot"
  },
  "type": "Opaque"
}
"#;
    assert_eq!(stored.text(), written);
    assert_eq!(Effective::parse(Origin::Chart, written), stored);
    assert!(Effective::parse(Origin::Chart, "garbage").declaration().is_none());
}

fn any_data() -> impl Strategy<Value = SecretData> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "DOMAIN",
            "BASE_PATH",
            "USERNAME",
            "PASSWORD",
            "INSECURE",
            "CA_CERT",
            "CREDENTIAL_HOSTS",
            "MIRROR_REGISTRIES",
            "DOMIAN",
            "endpoint",
        ])
        .prop_map(str::to_owned),
        "[A-Za-z_.-]{1,12}",
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "a.example.org",
            "http://a.example.org",
            "true",
            "false",
            "robot\n",
            "",
            "REPLACE_WITH_X",
            "*.a.example.org",
            "docker.io::a.example.org/d,x",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        ".{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    let kind = prop::sample::select(vec!["", "Opaque", "other"]).prop_map(str::to_owned);
    let changes = prop::collection::btree_map(key, value, 0..5);
    (kind, any::<bool>(), changes).prop_map(|(kind, is_good, changes)| {
        let mut data = if is_good { good("a.example.org").data } else { BTreeMap::new() };
        data.extend(changes);
        SecretData { kind, data }
    })
}

proptest! {
    #[test]
    fn stored_text_is_read_back(secret in any_data()) {
        let kind = if secret.kind.is_empty() { "Opaque".to_owned() } else { secret.kind.clone() };
        let stored = effective(Origin::Chart, &secret);
        let read = Effective::parse(Origin::Chart, &stored.text());
        prop_assert_eq!(read.secret, SecretData { kind, data: secret.data });
    }

    /// Compares with the text, which is also a manifest that an administrator may apply.
    #[test]
    fn data_and_its_text_declare_the_same(secret in any_data()) {
        let codes = |findings: &[Diagnostic]| -> Vec<String> {
            let mut codes: Vec<_> =
                findings.iter().map(|it| format!("{:?} {}", it.code, it.message)).collect();
            codes.sort();
            codes
        };
        let of_data = Declaration::from_data(&secret.kind, &secret.data, NOW);
        let text = effective(Origin::Chart, &secret).text();
        // YAML has no DEL and no C1 control characters, not even in quotes.
        prop_assume!(Tree::parse(&text).is_ok());
        match (of_data, Declaration::read(DeclarationSource::RegistryInfo, &text, NOW)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(&one.registry, &other.registry);
                prop_assert_eq!(one.rules().rules(), other.rules().rules());
                prop_assert_eq!(codes(one.findings()), codes(other.findings()));
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.findings.len(), other.findings.len()),
            (one, other) => prop_assert!(false, "{one:?} {other:?}"),
        }
    }
}

fn any_secret() -> impl Strategy<Value = Option<SecretData>> {
    prop_oneof![
        Just(None),
        Just(Some(good("a.example.org"))),
        Just(Some(good("b.example.org"))),
        Just(Some(secret("a.example.org", ""))),
        Just(Some(SecretData::default())),
    ]
}

proptest! {
    /// Asserts over any history that the effective declaration is empty or usable, and that a
    /// second decision changes nothing.
    // guarantee: 3b
    #[test]
    fn effective_declaration_is_always_usable(
        history in prop::collection::vec((any_secret(), any_secret()), 1..12)
    ) {
        let mut last: Option<Effective> = None;
        for (registry_info, charts) in &history {
            let next = decide(registry_info.as_ref(), charts.as_ref(), last.as_ref(), NOW).effective;
            prop_assert!(next.origin == Origin::None || next.declaration().is_some());
            let again = decide(registry_info.as_ref(), charts.as_ref(), Some(&next), NOW).effective;
            prop_assert_eq!(&again, &next);
            last = Some(next);
        }
    }
}

// guarantee: 3b
#[test]
fn oversized_declaration_is_rejected() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    // Each line break takes one byte in the Secret, and two as JSON.
    let padding = |count: usize| {
        let mut mirrors = "docker.io::b.example.org/airgap/docker.io".to_owned();
        mirrors.push_str(&"\n".repeat(count));
        secret("b.example.org", &mirrors)
    };
    let fits = padding((LONGEST - padding(0).text().len()) / 2);
    let decision = decide(Some(&fits), None, Some(&last), NOW);
    assert_eq!(decision.effective, effective(Origin::RegistryInfo, &fits));

    let too_large = padding((LONGEST - padding(0).text().len()) / 2 + 1);
    let bytes: usize = too_large.data.values().map(Vec::len).sum();
    assert!(bytes < 1024 * 1024 * 3 / 4, "the API server takes it: {bytes}");
    let decision = decide(Some(&too_large), None, Some(&last), NOW);
    assert_eq!(decision.effective, last);
    let about = &decision.about[0];
    assert!(about.refused && about.findings[0].message.contains("bytes"), "{about:?}");
    // Without a last valid declaration the chart's is effective.
    let charts = good("c.example.org");
    let decision = decide(Some(&too_large), Some(&charts), None, NOW);
    assert_eq!(decision.effective, effective(Origin::Chart, &charts));
}

// guarantee: 6a
#[test]
fn credential_is_lent_to_the_same_hosts_only() {
    let with = |domain: &str, hosts: &str, password: &str| {
        let mut secret = good(domain);
        for (key, value) in [("CREDENTIAL_HOSTS", hosts), ("PASSWORD", password)] {
            secret.data.insert(key.to_owned(), value.as_bytes().to_vec());
        }
        effective(Origin::RegistryInfo, &secret)
    };
    let new = with("a.example.org", "", "new");
    let lent = with("a.example.org", "", "old").without_credentials().with_credential_of(&new);
    assert_eq!(lent, Some(new.clone()));
    for other in [with("b.example.org", "", "old"), with("a.example.org", "c.example.org", "old")] {
        assert_eq!(other.with_credential_of(&new), None);
    }
    let mut bare = new.clone();
    bare.secret.data.remove("PASSWORD");
    assert!(!new.with_credential_of(&bare).unwrap().secret.data.contains_key("PASSWORD"));
}
