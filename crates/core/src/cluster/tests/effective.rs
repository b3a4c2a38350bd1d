use proptest::prelude::*;

use super::*;

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
    Effective { origin, text: secret.text() }
}

#[test]
fn registry_info_wins_and_the_difference_is_named_by_key() {
    let (ours, charts) = (good("a.example.org"), good("b.example.org"));
    let decision = decide(Some(&ours), Some(&charts), None, NOW);
    assert_eq!(decision.effective, effective(Origin::RegistryInfo, &ours));
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
fn without_registry_info_the_charts_is_in_force_and_without_both_nothing_is() {
    let charts = good("b.example.org");
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let decision = decide(None, Some(&charts), Some(&last), NOW);
    assert_eq!(decision.effective, effective(Origin::Chart, &charts));
    assert_eq!(decide(None, None, Some(&last), NOW).effective, Effective::none());
}

#[test]
fn an_emptied_registry_info_changes_nothing_and_says_why() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let charts = good("b.example.org");
    let emptied = SecretData { kind: "Opaque".into(), ..SecretData::default() };
    let decision = decide(Some(&emptied), Some(&charts), Some(&last), NOW);
    assert_eq!(decision.effective, last);
    let about = &decision.about[0];
    assert!(about.refused);
    assert!(about.findings[0].message.contains("DOMAIN"), "{}", about.findings[0]);
}

#[test]
fn a_malformed_rule_is_told_with_line_and_column() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let bad = secret("a.example.org", "docker.io::a.example.org/d,\ngcr.io::not a target");
    let decision = decide(Some(&bad), None, Some(&last), NOW);
    assert_eq!(decision.effective, last);
    let errors: Vec<_> = decision.about[0].findings.iter().filter(|f| f.is_error()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].place.line, 2);
    assert_eq!(errors[0].key, Some("MIRROR_REGISTRIES"));
}

#[test]
fn a_registry_info_that_never_was_good_leaves_the_charts_in_force() {
    let bad = secret("a.example.org", "");
    let charts = good("b.example.org");
    for last in [None, Some(effective(Origin::Chart, &good("c.example.org")))] {
        let decision = decide(Some(&bad), Some(&charts), last.as_ref(), NOW);
        assert_eq!(decision.effective, effective(Origin::Chart, &charts));
    }
}

#[test]
fn a_bad_chart_changes_nothing_even_when_registry_info_goes() {
    let last = effective(Origin::RegistryInfo, &good("a.example.org"));
    let bad = secret("b.example.org", "");
    assert_eq!(decide(None, Some(&bad), Some(&last), NOW).effective, last);
}

#[test]
fn bytes_that_are_no_text_are_refused_not_lost() {
    let mut bad = good("a.example.org");
    bad.data.insert("PASSWORD".into(), vec![0xff, 0xfe]);
    let decision = decide(Some(&bad), None, None, NOW);
    assert_eq!(decision.effective, Effective::none());
    assert!(decision.about[0].findings[0].message.contains("PASSWORD"));
}

#[test]
fn what_is_in_force_is_read_back_whole() {
    let declared = good("a.example.org");
    let read = effective(Origin::RegistryInfo, &declared).declaration().unwrap();
    assert_eq!(
        read.rules().swap("nginx").unwrap().image,
        "a.example.org/airgap/docker.io/library/nginx"
    );
    assert!(Effective::none().declaration().is_none());
}

#[test]
fn replicas_get_the_same_rules_without_the_credential() {
    let effective = effective(Origin::RegistryInfo, &good("a.example.org"));
    let text = effective.text_without_credentials().unwrap();
    assert!(!text.contains("s3cret") && !text.contains("robot"), "{text}");
    let read = Effective { text, ..effective.clone() }.declaration().unwrap();
    assert_eq!(read.rules().rules(), effective.declaration().unwrap().rules().rules());
    assert_eq!(Effective::none().text_without_credentials().as_deref(), Some(""));
}

#[test]
fn no_finding_shows_a_credential() {
    let mut bad = secret("robot:s3cret@a.example.org", "docker.io::robot:s3cret@h/x");
    bad.data.insert("INSECURE".into(), b"s3cret".to_vec());
    let shown = format!("{:?}", decide(Some(&bad), Some(&bad), None, NOW).about);
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn replicas_receive_the_known_keys_alone() {
    let mut declared = good("a.example.org");
    for (key, value) in [("Password", "typo-secret"), ("TOKEN", "other-secret")] {
        declared.data.insert(key.into(), value.into());
    }
    declared.data.insert("Username".into(), vec![0xff, 0xfe]);
    let text = effective(Origin::RegistryInfo, &declared).text_without_credentials().unwrap();
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
    let text = effective(Origin::RegistryInfo, &declared).text_without_credentials();
    declared.data.insert("PASSWORD".into(), b"another".to_vec());
    assert_eq!(effective(Origin::RegistryInfo, &declared).text_without_credentials(), text);
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
    /// Over any history, what is in force is nothing or a text that can be
    /// used, and deciding again changes nothing.
    #[test]
    fn what_is_in_force_can_always_be_used(
        history in prop::collection::vec((any_secret(), any_secret()), 1..12)
    ) {
        let mut last: Option<Effective> = None;
        for (ours, charts) in &history {
            let next = decide(ours.as_ref(), charts.as_ref(), last.as_ref(), NOW).effective;
            prop_assert!(next.origin == Origin::None || next.declaration().is_some());
            let again = decide(ours.as_ref(), charts.as_ref(), Some(&next), NOW).effective;
            prop_assert_eq!(&again, &next);
            last = Some(next);
        }
    }
}

#[test]
fn a_declaration_too_large_to_keep_is_refused() {
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
    // Without a last good one the chart's is in force.
    let charts = good("c.example.org");
    let decision = decide(Some(&too_large), Some(&charts), None, NOW);
    assert_eq!(decision.effective, effective(Origin::Chart, &charts));
}
