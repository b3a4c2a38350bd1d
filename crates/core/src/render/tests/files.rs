//! Content of the rendered files.

use super::{FORMATS, declared, declared_for, file, render};
use crate::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback::{self, Never, Upstream},
    render::{ConfigVersion, EndpointForm, Format, Options},
};

const RULES: &str = "docker.io::h.io/d/docker.io,gcr.io::h.io/d/gcr.io,gcr.io::http://k.io:5000/g,\
                     quay.io:8443::h.io/q,ghcr.io::";
const NEVER: Options = Options {
    fallback: Fallback::Never,
    show_credentials: false,
    endpoint: EndpointForm::Url,
    config_version: ConfigVersion::Two,
    header_over_http: false,
};

#[test]
fn all_formats() {
    for format in &FORMATS {
        for fallback in [Fallback::Upstream, Fallback::Never] {
            let options = Options { fallback, ..NEVER };
            let rendered = format.render(&declared(RULES), options);
            let files = rendered.files.iter().map(|file| {
                // The CA is a separate file with the declared content.
                let shown = if file.path.ends_with("ca.crt") { "(the CA)\n" } else { &file.text };
                format!("==> {}\n{shown}", file.path)
            });
            let rows = rendered.inexpressible.iter();
            let rows = rows.map(|row| format!("rule {}: {}\n", row.rule, row.reason));
            let notes = rendered.notes.iter().map(|note| format!("note: {note}\n"));
            let text: String = files.chain(rows).chain(notes).collect();
            insta::assert_snapshot!(format!("{}_{fallback}", format.name), text);
        }
    }
}

// guarantee: 6b
#[test]
fn credentials_are_redacted_by_default() {
    let encoded = "cm9ib3Q6cGFzc1wid29yZA";
    for format in &FORMATS {
        for fallback in [Fallback::Upstream, Fallback::Never] {
            for show_credentials in [false, true] {
                let options = Options { fallback, show_credentials, ..NEVER };
                for file in format.render(&declared(RULES), options).files {
                    let held = file.text.contains("pass\\\"word")
                        || file.text.contains("cm9ib3Q6cGFzcyJ3b3Jk")
                        || file.text.contains(encoded);
                    assert_eq!(held, file.secret, "{} {}", format.name, file.path);
                    assert!(show_credentials || !held, "{} {}", format.name, file.path);
                }
            }
        }
    }
}

// guarantee: 6a
#[test]
fn credentials_and_trust_are_for_declared_host() {
    let rules = "docker.io::k.io/d,gcr.io::h.io/g";
    let options = Options { show_credentials: true, ..NEVER };
    let rendered = render("containerd", rules, options);
    let of = |path| file(&rendered, path).text.as_str();
    assert!(!of("docker.io/hosts.toml").contains("Authorization"));
    assert!(!of("docker.io/hosts.toml").contains("ca ="));
    assert!(of("gcr.io/hosts.toml").contains("Authorization = \"Basic cm9ib3Q6cGFzcyJ3b3Jk\""));
    assert!(of("gcr.io/hosts.toml").contains("ca = \"ca.crt\""));
    // The target itself has trust, but no header and no path.
    assert!(of("h.io/hosts.toml").contains("server = \"https://h.io\"\nca = \"ca.crt\""));
    assert!(!of("h.io/hosts.toml").contains("Authorization"));
    assert!(rendered.files.iter().any(|file| file.path == "h.io/ca.crt"));
    assert!(!rendered.files.iter().any(|file| file.path == "k.io/ca.crt"));
}

// guarantee: 6a
#[test]
fn declared_hosts_share_credential_and_trust() {
    let rules =
        "docker.io::h.io:5001/d,gcr.io::a.h.io/g,quay.io::b.k.io/q,ghcr.io::http://a.h.io:5002";
    let declaration = declared_for("h.io:5001, *.h.io,*.h.io:5002", rules);
    for (format, path) in [("registries-conf", "auth.json"), ("k3s", "registries.yaml")] {
        let options = Options { show_credentials: true, fallback: Upstream, ..NEVER };
        let rendered = Format::named(format).unwrap().render(&declaration, options);
        assert_eq!(rendered.files.iter().filter(|file| file.path == path).count(), 1);
        let text = &file(&rendered, path).text;
        assert_eq!(text.matches("pass\\\"word").count() + text.matches("\"auth\"").count(), 2);
        assert!(text.contains("h.io:5001\":"), "{text}");
        assert_eq!(rendered.notes.iter().filter(|note| note.contains("plain HTTP")).count(), 1);
    }
    let options = Options { show_credentials: true, ..NEVER };
    let rendered = Format::named("containerd").unwrap().render(&declaration, options);
    for (host, has) in
        [("docker.io", true), ("gcr.io", true), ("quay.io", false), ("ghcr.io", false)]
    {
        let hosts = &file(&rendered, &format!("{host}/hosts.toml")).text;
        assert_eq!(hosts.contains("Authorization"), has, "{host}: {hosts}");
    }
}

// guarantee: 6a
#[test]
fn header_over_http_needs_permission() {
    let text = |header_over_http| {
        let options = Options { show_credentials: true, header_over_http, ..NEVER };
        let rendered = render("containerd", "gcr.io::http://h.io/g", options);
        file(&rendered, "gcr.io/hosts.toml").text.contains("Authorization")
    };
    assert_eq!((text(false), text(true)), (false, true));
}

#[test]
fn palette_form_has_exactly_the_documented_lines() {
    let secret = include_str!("../../../../../tests/testkit/palette/registry-secret.yaml");
    let declaration = Declaration::read(DeclarationSource::RegistryInfo, secret, 0).unwrap();
    let options =
        Options { fallback: Fallback::Upstream, endpoint: EndpointForm::Palette, ..NEVER };
    let rendered = Format::named("containerd-mirrors").unwrap().render(&declaration, options);
    let lines: Vec<&str> = rendered.files[0].text.lines().map(str::trim_start).collect();
    let documented = include_str!("../../../../../examples/containerd-config.toml");
    let documented: Vec<&str> = documented.lines().map(str::trim_start).collect();
    let added = documented.iter().position(|line| *line == "# contains spectro changes").unwrap();
    assert_eq!((lines.as_slice(), lines.len()), (&documented[added..], 17));
    assert!(rendered.notes[0].contains("standard registries do not answer"));
}

// guarantee: 1b, 7
#[test]
fn inexpressible_rules_of_formats_are_listed() {
    let rules = "docker.io::h.io/d,quay.io/team::h.io/t,[EXACT]a::h.io/e,default::h.io/x";
    let held = |format: &str, fallback| {
        let rendered = render(format, rules, Options { fallback, ..NEVER });
        let missing: Vec<usize> = rendered.inexpressible.iter().map(|row| row.rule).collect();
        (missing, rendered.files.is_empty())
    };
    assert_eq!(held("containerd", Never), (vec![1, 2], false));
    assert_eq!(held("registries-conf", Never), (vec![2, 3], false));
    assert_eq!(held("openshift", Upstream), (vec![2, 3], false));
    assert_eq!(held("docker", Upstream), (vec![0, 1, 2, 3], false));
    assert_eq!(held("k3s", Upstream), (vec![1, 2], false));
    // `never` is not printed in a format that cannot enforce it.
    assert_eq!(held("k3s", Never), (vec![0, 1, 2, 3], true));
    assert_eq!(held("containerd-mirrors", Never), (vec![0, 1, 2, 3], true));
    assert_eq!(held("buildkit", Never), (vec![0, 1, 2, 3], true));
    let k3s = render("k3s", rules, NEVER);
    assert!(k3s.inexpressible[0].reason.contains("--disable-default-registry-endpoint"));
}
