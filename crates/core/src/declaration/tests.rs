use super::*;
use crate::diagnostic::Severity;

const SECRET: &str = include_str!("../../../../tests/testkit/palette/registry-secret.yaml");
const VALUES: &str = include_str!("../../../../tests/testkit/palette/values.yaml");
/// Two certificates, valid until 2126 and until 2036.
const CA_ONE: &str = include_str!("../../tests/data/ca-one.pem");
const CA_TWO: &str = include_str!("../../tests/data/ca-two.pem");
const IN_2030: UnixTime = 1_900_000_000;
const IN_2040: UnixTime = 2_210_000_000;
const IN_2200: UnixTime = 7_270_000_000;

fn secret(text: &str) -> Result<Declaration, DeclarationError> {
    Declaration::read(DeclarationSource::RegistryInfo, text, IN_2030)
}

fn values(text: &str) -> Result<Declaration, DeclarationError> {
    Declaration::read(DeclarationSource::Values, text, IN_2030)
}

/// Returns the Secret of Palette's documentation with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(SECRET.contains(line), "{line}");
    SECRET.replacen(line, replacement, 1)
}

#[track_caller]
fn refused(
    result: Result<Declaration, DeclarationError>,
    line: usize,
    column: usize,
    message: &str,
) {
    let refused = result.expect_err("it should be refused");
    let finding = &refused.findings[0];
    assert_eq!(
        (finding.place, finding.severity),
        (Position { line, column }, Severity::Error),
        "{finding}"
    );
    assert!(finding.message.contains(message), "{finding}");
}

fn codes(declaration: &Declaration) -> Vec<&'static str> {
    declaration.findings().iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn documented_secret_and_values_declare_the_same() {
    let (secret, values) = (secret(SECRET).unwrap(), values(VALUES).unwrap());
    assert_eq!(codes(&secret), ["collision", "collision"]);
    assert_eq!(codes(&secret), codes(&values));
    assert_eq!((secret.key(), values.key()), (Some("MIRROR_REGISTRIES"), Some("mirrorRegistries")));
    assert_eq!(secret.rules().rules(), values.rules().rules());
    assert_eq!(secret.rules().rules().len(), 7);
    let (secret, values) = (secret.registry.unwrap(), values.registry.unwrap());
    assert_eq!(
        (secret.domain.as_str(), secret.base_path.as_str()),
        ("harbor.example.org", "airgap-images")
    );
    assert_eq!((secret.name, values.name.as_deref()), (None, Some("Internal Registry")));
    assert!(secret.username.is_empty() && secret.ca.is_empty() && !secret.insecure);
    assert_eq!(values.domain, secret.domain);
}

#[test]
fn block_may_be_at_top_level() {
    let block: String = VALUES
        .lines()
        .skip_while(|line| !line.contains("ociImageRegistry"))
        .map(|line| format!("{}\n", line.strip_prefix("  ").unwrap()))
        .collect();
    assert_eq!(values(&block).unwrap().rules().rules().len(), 7);
    let both = format!("{VALUES}\n{block}");
    refused(values(&both), 10, 5, "expected ociImageRegistry once");
}

#[test]
fn base64_data_of_kubectl_is_decoded() {
    let text = "apiVersion: v1\ndata:\n  BASE_PATH: YWlyZ2Fw\n  DOMAIN: aC5pbwo=\n  INSECURE: dHJ1ZQo=\n  \
                MIRROR_REGISTRIES: ZG9ja2VyLmlvOjpoLmlvL2QK\n  PASSWORD: cHc=\n  USERNAME: QVdT\nkind: Secret\nmetadata:\n  \
                creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: registry-info\n  namespace: jet-system\n  \
                uid: x\ntype: Opaque\n";
    let declaration = secret(text).unwrap();
    let registry = declaration.registry.as_ref().unwrap();
    assert_eq!((registry.domain.as_str(), registry.insecure), ("h.io", true));
    assert_eq!(registry.password.expose(), "pw");
    assert_eq!(declaration.rules().swap("nginx").unwrap().image, "h.io/d/library/nginx");
    assert_eq!(codes(&declaration), [] as [&str; 0]);
    refused(secret(&text.replace("aC5pbwo=", "h.io")), 4, 11, "invalid base64");
    refused(secret(&text.replace("aC5pbwo=", "/w==")), 4, 11, "invalid UTF-8");
    // `stringData` wins, as in the API server.
    let both = text.replace("kind:", "stringData:\n  DOMAIN: k.io\nkind:");
    assert_eq!(secret(&both).unwrap().registry.unwrap().domain, "k.io");
}

#[test]
fn json_is_read() {
    let text = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"registry-info","namespace":"jet-system"},
        "stringData":{"DOMAIN":"h.io","BASE_PATH":"","INSECURE":"false","MIRROR_REGISTRIES":"gcr.io::h.io/g"}}"#;
    assert_eq!(secret(text).unwrap().rules().rules().len(), 1);
}

// guarantee: 3a
#[test]
fn other_objects_are_rejected() {
    refused(secret(""), 1, 1, "found an empty document");
    refused(secret("---\n---\n"), 1, 1, "found an empty document");
    refused(
        secret(&with("kind: Secret", "kind: ConfigMap")),
        11,
        7,
        "expected kind: Secret, found ConfigMap",
    );
    refused(
        secret(&with("name: registry-info", "name: other")),
        13,
        9,
        "metadata.name: registry-info",
    );
    refused(secret(&with("namespace: jet-system", "namespace: default")), 14, 14, "found default");
    refused(
        secret(&with("  namespace: jet-system\n", "")),
        13,
        3,
        "metadata.namespace is missing: expected jet-system",
    );
    refused(
        secret(&with("type: Opaque", "type: kubernetes.io/tls")),
        15,
        7,
        "expected type: Opaque",
    );
    refused(secret(&with("apiVersion: v1", "apiVersion: v2")), 2, 13, "apiVersion");
    assert!(secret(&with("type: Opaque\n", "")).is_ok());
    refused(secret(&[SECRET, SECRET].concat()), 18, 1, "expected one Secret");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: jet-system\n";
    assert!(secret(&[namespace, SECRET].concat()).is_ok());
}

// guarantee: 6b
#[test]
fn yaml_error_has_position_but_no_text() {
    let broken = with("PASSWORD: \"\"", "PASSWORD: \"hunter2");
    let error = secret(&broken).unwrap_err().findings[0].clone();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    for text in [
        "a: [",
        "a: b: c",
        "\t- x",
        "key: *hunter2",
        "key: !<hunter2 x",
        "%hunter2 x\n---\n",
        "a: @hunter2",
        "a: `hunter2",
    ] {
        let error = secret(text).unwrap_err().findings[0].clone();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

// guarantee: 3a
#[test]
fn required_keys_must_be_present() {
    for (line, key) in [
        ("  DOMAIN: \"harbor.example.org\"\n", "DOMAIN"),
        ("  BASE_PATH: \"airgap-images\"\n", "BASE_PATH"),
        ("  INSECURE: \"false\"\n", "INSECURE"),
    ] {
        refused(secret(&with(line, "")), 4, 3, &format!("the required key {key} is missing"));
    }
    for key in ["endpoint", "name", "baseContentPath", "insecureSkipVerify", "mirrorRegistries"] {
        let without: Vec<&str> =
            VALUES.lines().filter(|line| !line.trim_start().starts_with(key)).collect();
        refused(values(&without.join("\n")), 10, 5, &format!("the required key {key} is missing"));
    }
    // A mistyped key is named.
    refused(secret(&with("  DOMAIN:", "  DOMIAN:")), 4, 3, "DOMAIN is missing, found DOMIAN");
    refused(
        values(&VALUES.replace("mirrorRegistries:", "mirrorRegistrys:")),
        17,
        5,
        "mirrorRegistrys",
    );
    let optional = with("  USERNAME: \"\"\n  PASSWORD: \"\"\n", "");
    assert!(secret(&optional.replace("  CA_CERT: \"\"\n", "")).is_ok());
    refused(
        secret(&with("DOMAIN: \"harbor.example.org\"", "DOMAIN: \"\"")),
        4,
        11,
        "the required key DOMAIN is empty",
    );
    refused(
        secret(&with("DOMAIN: \"harbor.example.org\"", "DOMAIN:")),
        4,
        9,
        "the required key DOMAIN is empty",
    );
    // The root of a registry is a base path too.
    assert!(secret(&with("airgap-images", "")).is_ok());
}

#[test]
fn placeholder_is_rejected() {
    for (line, column) in
        [("DOMAIN: \"harbor.example.org\"", 11), ("USERNAME: \"\"", 13), ("CA_CERT: \"\"", 12)]
    {
        let key = line.split(':').next().unwrap();
        let text = with(line, &format!("{key}: \"REPLACE_WITH_CUSTOM_REGISTRY_{key}\""));
        let place = secret(&text).unwrap_err().findings[0].place;
        assert_eq!(place.column, column, "{key}");
        refused(secret(&text), place.line, column, "placeholder REPLACE_WITH_");
    }
}

#[test]
fn text_without_indentation_is_rejected_with_hint() {
    let flat: String = SECRET.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let error = secret(&flat).unwrap_err().findings[0].clone();
    assert!(error.message.contains("expected DOMAIN below stringData"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("indentation"), "{error}");
    let flat: String = VALUES.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let error = values(&flat).unwrap_err().findings[0].clone();
    assert!(error.hint.as_deref().unwrap().contains("indentation"), "{error}");
    // A `password` that belongs to another chart is not checked.
    assert!(values(&[VALUES, "password: x\n"].concat()).is_ok());
}

#[test]
fn boolean_is_true_or_false() {
    for (text, insecure) in
        [("\"true\"", true), ("'True'", true), ("\"FALSE\"", false), ("\"false\"", false)]
    {
        let declaration = secret(&with("\"false\"", text)).unwrap();
        assert_eq!(declaration.registry.unwrap().insecure, insecure, "{text}");
    }
    // Kubernetes takes only strings in a Secret.
    for text in ["\"no\"", "0", "\"\"", "[]", "true", "False"] {
        assert!(secret(&with("\"false\"", text)).is_err(), "{text}");
    }
}

#[test]
fn domain_allows_only_scheme_and_trailing_slash() {
    for (text, domain) in [
        ("https://h.io", "h.io"),
        ("http://h.io:5000/", "h.io:5000"),
        ("h.io//", "h.io"),
        (" h.io ", "h.io"),
        ("[::1]:5000", "[::1]:5000"),
        ("harbor", "harbor"),
        ("index.docker.io", "docker.io"),
    ] {
        let declaration = secret(&with("\"harbor.example.org\"", &format!("\"{text}\""))).unwrap();
        assert_eq!(declaration.registry.unwrap().domain, domain);
    }
    for text in ["h.io/path", "user:hunter2@h.io", "h_.io", "h.io:port"] {
        let error = secret(&with("\"harbor.example.org\"", &format!("\"{text}\""))).unwrap_err();
        assert!(!error.findings[0].to_string().contains("hunter2"));
    }
}

#[test]
fn base_path_is_a_path_or_root() {
    let line = SECRET.lines().find(|line| line.contains("BASE_PATH")).unwrap();
    for (text, path) in [("/", ""), ("/airgap-images/", "airgap-images"), (" a/b_c ", "a/b_c")] {
        let declaration = secret(&with(line, &format!("  BASE_PATH: \"{text}\""))).unwrap();
        assert_eq!(declaration.registry.unwrap().base_path, path);
    }
    // The second text is the result of a missing quote over two lines.
    for text in ["a//b", "d  PASSWORD: hunter2", "https://h.io/d", "Team", "d-"] {
        let refused = secret(&with(line, &format!("  BASE_PATH: \"{text}\""))).unwrap_err();
        let error = refused.findings[0].to_string();
        assert!(error.contains("BASE_PATH: expected a path in the registry"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn line_break_after_password_is_removed() {
    for (text, password) in
        [("pw\n", "pw"), ("pw\r\n", "pw"), ("p w \n\n", "p w "), ("\npw", "\npw"), ("pw ", "pw ")]
    {
        let line = format!("  PASSWORD: {}\n", serde_json::json!(text));
        let declaration = secret(&with("  PASSWORD: \"\"\n", &line)).unwrap();
        let is_warned = codes(&declaration).contains(&"trailing-newline");
        assert_eq!(is_warned, text != password, "{text:?}");
        assert_eq!(declaration.registry.unwrap().password.expose(), password);
    }
    // The value is the output of `echo robot | base64`.
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: registry-info, namespace: jet-system}\n\
                data: {DOMAIN: aC5pbwo=, BASE_PATH: YQo=, INSECURE: ZmFsc2UK, USERNAME: cm9ib3QK, \
                PASSWORD: cHcK, MIRROR_REGISTRIES: ZG9ja2VyLmlvOjpoLmlvL2QK}\n";
    let declaration = secret(text).unwrap();
    assert_eq!(codes(&declaration), ["trailing-newline"]);
    assert_eq!(declaration.registry.unwrap().basic().as_deref(), Some("cm9ib3Q6cHc="));
}

// guarantee: 6a, 6b
#[test]
fn hosts_of_one_account_are_declared() {
    let hosts = |text: &str| {
        let line = format!("  CREDENTIAL_HOSTS: \"{text}\"\n  DOMAIN");
        secret(&with("  DOMAIN", &line)).map(|it| it.registry.unwrap())
    };
    let registry = hosts("harbor.example.org:8082, *.jfrog.example.org,").unwrap();
    for host in ["harbor.example.org", "harbor.example.org:8082", "docker.jfrog.example.org"] {
        assert!(registry.covers(host), "{host}");
    }
    for host in ["harbor.example.org:8083", "jfrog.example.org", "other.example.org"] {
        assert!(!registry.covers(host), "{host}");
    }
    assert!(hosts("").unwrap().hosts.is_empty());
    for text in ["*", "*.com", "robot:hunter2@h.io", "h.io/path", "h.io,hunter2 x"] {
        let error = hosts(text).unwrap_err().findings[0].clone();
        assert!(error.message.starts_with("CREDENTIAL_HOSTS: item "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let text = VALUES.replace("    caCert", "    credentialHosts: h.io:5001\n    caCert");
    assert!(values(&text).unwrap().registry.unwrap().covers("h.io:5001"));
}

#[test]
fn covered_hosts_are_not_outside() {
    let nexus = |hosts: &str| {
        let text = with("\"harbor.example.org\"", "\"nexus.example.org\"");
        let line = text.lines().find(|line| line.contains("MIRROR_REGISTRIES")).unwrap();
        let rules = "  MIRROR_REGISTRIES: \"docker.io::nexus.example.org:8082,\
                     quay.io::nexus.example.org:8083\"";
        let text = text.replace(line, rules);
        let text = text.replace("  DOMAIN", &format!("  CREDENTIAL_HOSTS: \"{hosts}\"\n  DOMAIN"));
        secret(&text).unwrap()
    };
    assert_eq!(codes(&nexus("")), ["outside-domain", "outside-domain"]);
    let hint = nexus("").findings()[0].hint.clone().unwrap();
    assert!(hint.contains("CREDENTIAL_HOSTS"), "{hint}");
    assert_eq!(codes(&nexus("nexus.example.org:8082")), ["outside-domain"]);
    assert!(codes(&nexus("nexus.example.org:8082,nexus.example.org:8083")).is_empty());
}

#[test]
fn target_without_scheme_of_registry_is_a_warning() {
    let declared = |mirrors: &str| {
        let text = with("DOMAIN: \"", "DOMAIN: \"http://");
        let line = text.lines().find(|line| line.contains("MIRROR_REGISTRIES")).unwrap();
        secret(&text.replace(line, &format!("  MIRROR_REGISTRIES: \"{mirrors}\""))).unwrap()
    };
    let declaration = declared("quay.io::other.example.org/q,docker.io::harbor.example.org/d");
    let finding = declaration.findings().iter().find(|it| it.code == Code::SchemeDiffers).unwrap();
    assert_eq!((finding.place.column, finding.severity), (41, Severity::Warning));
    let hint = finding.hint.as_deref().unwrap();
    assert!(hint.contains("http://harbor.example.org"), "{hint}");
    for mirrors in ["docker.io::http://harbor.example.org/d", "docker.io::other.example.org/d"] {
        assert!(!codes(&declared(mirrors)).contains(&"scheme-differs"), "{mirrors}");
    }
}

// guarantee: 6b
#[test]
fn password_without_username_is_a_warning() {
    let text = with("PASSWORD: \"\"", "PASSWORD: \"hunter2\"");
    for text in [&text, &text.replace("  USERNAME: \"\"\n", "")] {
        let declaration = secret(text).unwrap();
        let finding = declaration.findings()[0].to_string();
        assert!(finding.starts_with("warning[password-without-username]"), "{finding}");
        assert!(finding.contains("PASSWORD has no effect, because USERNAME is empty"), "{finding}");
        assert!(finding.contains("set USERNAME") && !finding.contains("hunter2"), "{finding}");
    }
    let named = text.replace("USERNAME: \"\"", "USERNAME: \"AWS\"");
    assert!(!codes(&secret(&named).unwrap()).contains(&"password-without-username"));
}

#[test]
fn credential_over_plain_http_is_a_warning() {
    let declared = |username: &str, mirrors: &str| {
        let text = with("USERNAME: \"\"", &format!("USERNAME: \"{username}\""));
        let line = text.lines().find(|line| line.contains("MIRROR_REGISTRIES")).unwrap();
        secret(&text.replace(line, &format!("  MIRROR_REGISTRIES: \"{mirrors}\""))).unwrap()
    };
    let plain = "docker.io::http://harbor.example.org/d,quay.io::http://harbor.example.org/q";
    let declaration = declared("robot", plain);
    assert_eq!(codes(&declaration), ["credential-over-http"]);
    let finding = &declaration.findings()[0];
    assert!(finding.hint.as_deref().unwrap().contains("--header-over-http"), "{finding}");
    assert!(declaration.registry.unwrap().plain_http);
    let anonymous = declared("", plain);
    assert!(codes(&anonymous).is_empty() && anonymous.registry.unwrap().plain_http);
    let other = declared("robot", "docker.io::http://other.example.org/d");
    assert_eq!(codes(&other), ["outside-domain"]);
    assert!(!other.registry.unwrap().plain_http);
    let encrypted = declared("robot", "docker.io::harbor.example.org/d");
    assert!(codes(&encrypted).is_empty() && !encrypted.registry.unwrap().plain_http);
}

/// Returns the Secret of Palette's documentation with `pem` for `CA_CERT`.
fn with_ca(pem: &str) -> String {
    let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    with("CA_CERT: \"\"\n", &format!("CA_CERT: |\n{indented}"))
}

#[test]
fn several_certificates_are_read() {
    let text = ["subject: /CN=one\n", CA_ONE, "\n", CA_TWO].concat();
    let registry = secret(&with_ca(&text)).unwrap().registry.unwrap();
    assert_eq!(registry.ca.not_after().len(), 2);
    assert!(registry.ca.not_after()[0] > IN_2040 && registry.ca.not_after()[1] < IN_2040);
    assert_eq!(registry.ca.pem().trim(), text.trim());
}

// guarantee: 6b
#[test]
fn invalid_pem_is_rejected_without_its_text() {
    let key = CA_ONE.replace("CERTIFICATE", "PRIVATE KEY");
    let cut = CA_ONE.replace("-----END CERTIFICATE-----", "");
    let wrong = CA_ONE.replacen("\nMII", "\n!!!", 1);
    let bytes = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, message) in [
        ("hunter2", "`-----BEGIN CERTIFICATE-----` is missing"),
        (&key, "expected a CERTIFICATE"),
        (&cut, "`-----END CERTIFICATE-----` is missing"),
        (&wrong, "invalid base64"),
        (bytes, "not an X.509 certificate"),
        (&[CA_ONE, bytes].concat(), "certificate 2: not an X.509 certificate"),
    ] {
        let error = secret(&with_ca(pem)).unwrap_err().findings[0].to_string();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("MII") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn expired_ca_is_error_unless_another_is_valid() {
    let both = [CA_ONE, CA_TWO].concat();
    let of = |pem: &str, now| {
        let read = Declaration::read(DeclarationSource::RegistryInfo, &with_ca(pem), now);
        let declaration = read.unwrap();
        let expired = declaration.findings().iter().find(|f| f.code == Code::ExpiredCa);
        (expired.map(|finding| finding.severity), declaration.serving().is_ok())
    };
    assert_eq!(of(CA_TWO, IN_2030), (None, true));
    assert_eq!(of(CA_TWO, IN_2040), (Some(Severity::Error), false));
    assert_eq!(of(&both, IN_2040), (Some(Severity::Warning), true));
    assert_eq!(of(&both, IN_2200), (Some(Severity::Error), false));
}

#[test]
fn unknown_keys_are_warnings() {
    let text = with("  INSECURE", "  insecure: x\n  EXTRA: y\n  INSECURE");
    let declaration = secret(&text).unwrap();
    let findings = declaration.findings().iter();
    let unknown: Vec<_> = findings.filter(|finding| finding.code == Code::UnknownKey).collect();
    assert_eq!(unknown.len(), 2);
    assert_eq!(unknown[0].hint.as_deref(), Some("did you mean INSECURE?"));
    assert_eq!(unknown[0].place, Position { line: 8, column: 3 });
    assert_eq!(unknown[0].severity, Severity::Warning);
}

// guarantee: 6b
#[test]
fn key_without_space_hides_its_value() {
    let head =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: registry-info, namespace: jet-system}\n";
    let fields =
        "DOMAIN: h.io, BASE_PATH: d, INSECURE: 'false', MIRROR_REGISTRIES: 'gcr.io::h.io/g'";
    for (password, times) in [("PASSWORD:\"hunter2\"", 1), ("PASSWORD:hunter2", 2)] {
        let block = vec![password; times].join(", ");
        let messages = match secret(&format!("{head}stringData: {{{fields}, {block}}}\n")) {
            Ok(declaration) => declaration.findings().to_vec(),
            Err(refused) => refused.findings,
        };
        let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
        assert!(messages.iter().any(|line| line.contains("(hidden)")), "{messages:?}");
        assert!(messages.iter().all(|line| !line.contains("hunter2")), "{messages:?}");
    }
}

#[test]
fn repeated_key_is_rejected() {
    let text = with("  INSECURE", "  DOMAIN: k.io\n  INSECURE");
    refused(secret(&text), 8, 3, "the key DOMAIN occurs twice");
}

#[test]
fn insecure_with_ca_is_a_warning() {
    let text = with_ca(CA_ONE).replace("INSECURE: \"false\"", "INSECURE: \"true\"");
    assert!(codes(&secret(&text).unwrap()).contains(&"insecure-with-ca"));
}

// guarantee: 3a
#[test]
fn rule_errors_reject_only_in_canonical_dialect() {
    let target = "docker.io::harbor.example.org/airgap-images/docker.io";
    let declaration = secret(&with(target, "docker.io::nohost/d")).unwrap();
    assert!(codes(&declaration).contains(&"invalid-target"));
    assert!(declaration.imageswap().swap("nginx").is_ok());
    let refused = declaration.serving().unwrap_err();
    let error = refused.findings.iter().find(|finding| finding.is_error()).unwrap();
    assert_eq!(error.key, Some("MIRROR_REGISTRIES"));
    assert_eq!(error.place, Position { line: 1, column: 12 });
}

// guarantee: 6b
#[test]
fn unreadable_line_with_password_is_rejected() {
    let target = "docker.io::harbor.example.org/airgap-images/docker.io";
    for rule in [
        "docker.io::https://robot:hunter2::@harbor.example.org/d",
        "robot:hunter2::x::@harbor.example.org/d",
        "https://robot:hunter2::harbor.example.org/d",
    ] {
        let refused = secret(&with(target, rule)).unwrap().serving().unwrap_err();
        let errors: Vec<String> = refused.findings.iter().map(ToString::to_string).collect();
        assert!(errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
    }
}

#[test]
fn lists_and_maps_declare_only_rules() {
    let list =
        Declaration::read(DeclarationSource::Mirrors, "docker.io::h.io/d,junk", IN_2030).unwrap();
    assert!(list.registry.is_none());
    assert_eq!(codes(&list), ["unreadable-line"]);
    let map =
        Declaration::read(DeclarationSource::Map, "# a\ndocker.io::h.io/d\n", IN_2030).unwrap();
    assert_eq!(map.rules().rules()[0].place, Position { line: 2, column: 1 });
    assert_eq!(map.line(Position { line: 2, column: 1 }), Some("docker.io::h.io/d"));
    assert_eq!(codes(&map), [] as [&str; 0]);
    assert_eq!(map.imageswap_findings()[0].code, Code::SilentNoOp);
}

#[test]
fn objects_of_all_declaring_kinds_are_read() {
    let read = |text: &str| {
        let tree = Tree::parse(text).unwrap();
        Declaration::from_node(&tree, tree.documents[0], IN_2030)
    };
    assert_eq!(read(SECRET).unwrap().rules().rules().len(), 7);
    assert_eq!(read(VALUES).unwrap().rules().rules().len(), 7);
    let spec = VALUES.replacen("config:", "kind: ImageSwap\nspec:", 1);
    assert_eq!(read(&spec).unwrap().rules().rules().len(), 7);
    let map = "kind: ConfigMap\ndata:\n  maps: |\n    docker.io::h.io/d\n    default::\n";
    assert_eq!(read(map).unwrap().rules().rules().len(), 2);
    let list = "kind: ConfigMap\ndata:\n  mirrorRegistries: docker.io::h.io/d,gcr.io::h.io/g\n";
    assert_eq!(read(list).unwrap().rules().rules().len(), 2);
    assert!(read("kind: ConfigMap\ndata: {}\n").is_err());
}

// guarantee: 6b
#[test]
fn debug_shows_no_credential() {
    let text = with("USERNAME: \"\"", "USERNAME: robot-user")
        .replace("PASSWORD: \"\"", "PASSWORD: hunter2");
    let declaration = secret(&text).unwrap();
    let debug = format!("{declaration:?}");
    assert_eq!(declaration.registry.unwrap().password.expose(), "hunter2");
    assert!(!debug.contains("hunter2") && !debug.contains("robot-user"), "{debug}");
    assert!(debug.contains("password: redacted"), "{debug}");
}
