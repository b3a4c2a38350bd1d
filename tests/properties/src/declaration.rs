//! Properties of declarations. Every text is accepted, or rejected with a position; no
//! diagnostic contains a credential.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    diagnostic::Diagnostic,
};

use crate::{choices::Choices, map};

/// Mark of user names and passwords, by which they are found in output.
const SECRET: &str = "xK7qZw9vJ2Rt";
/// Mark of `user:password@` in a key that should not contain credentials.
const USERINFO: &str = "pB4nYs8mGd3L";

/// The date 2026-01-01, in seconds since 1970.
const NOW: u64 = 1_767_225_600;

/// Checks the properties of declarations for a text that is generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn declaration(data: &[u8]) {
    let c = &mut Choices::new(data);
    let source = c.of(&[
        DeclarationSource::RegistryInfo,
        DeclarationSource::Values,
        DeclarationSource::Map,
        DeclarationSource::Mirrors,
    ]);
    let mut text = match source {
        DeclarationSource::RegistryInfo if !c.one_in(8) => secret(c),
        DeclarationSource::Values if !c.one_in(8) => values(c),
        DeclarationSource::Map | DeclarationSource::Mirrors if !c.one_in(8) => mirrors(c),
        _ => unmarked(&c.rest()),
    };
    // Damage may make `user:password@` unrecognisable.
    if !text.contains(USERINFO) {
        c.damage(&mut text, &[':', ' ', '\n', '"', '\'', '{', '}', '-', '|', '#', '&', '*', 'ü']);
    }

    let findings = match Declaration::read(source, &text, NOW) {
        Ok(declared) => {
            assert_secret_absent(SECRET, &format!("{declared:?}"), &text);
            let mut findings = declared.imageswap_findings();
            findings.extend_from_slice(declared.findings());
            for finding in &findings {
                if finding.key.is_some() {
                    assert!(declared.line(finding.place).is_some(), "{finding} of {text:?}");
                }
            }
            match declared.serving() {
                Ok(served) => assert!(!served.findings().iter().any(Diagnostic::is_error)),
                Err(refused) => assert!(refused.findings.iter().any(Diagnostic::is_error)),
            }
            findings
        }
        Err(refused) => {
            assert!(refused.findings.iter().any(Diagnostic::is_error), "{text:?}");
            refused.findings
        }
    };
    for finding in findings {
        if finding.key.is_none() {
            assert_place_is_in_text(&finding, source, &text);
        }
        for output in [finding.to_string(), format!("{finding:?}")] {
            assert_secret_absent(SECRET, &output, &text);
            assert_secret_absent(USERINFO, &output, &text);
        }
    }
}

/// Asserts that the position of `finding` is in `text`.
fn assert_place_is_in_text(finding: &Diagnostic, source: DeclarationSource, text: &str) {
    let mut text = text.replace("\r\n", "\n");
    // In YAML a single carriage return ends a line, too.
    if matches!(source, DeclarationSource::RegistryInfo | DeclarationSource::Values) {
        text = text.replace('\r', "\n");
    }
    // The end of a text is a valid position, also on an empty last line.
    let line = text.split('\n').chain([""]).nth(finding.place.line.wrapping_sub(1));
    let columns = line.map(|line| line.chars().count() + 1);
    assert!(
        columns.is_some_and(|columns| (1..=columns).contains(&finding.place.column)),
        "{finding} of {text:?}"
    );
}

/// Asserts that `output` contains neither `secret` nor its base64, at any offset in a longer
/// encoded text.
fn assert_secret_absent(secret: &str, output: &str, text: &str) {
    assert!(!output.contains(secret), "{text:?} appears in {output}");
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(["xx".get(..before).unwrap_or(""), secret].concat());
        // Characters that also encode bits of neighbouring bytes are excluded.
        let own = &encoded[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6];
        assert!(!output.contains(own), "{text:?} appears in {output}");
    }
}

/// Returns the text without the marks. A fuzzer finds the marks, and would insert them in places
/// that cannot be recognised as credentials.
fn unmarked(text: &str) -> String {
    text.replace(SECRET, "?").replace(USERINFO, "?")
}

/// Generates a text like the Secret of Palette's documentation.
fn secret(c: &mut Choices<'_>) -> String {
    let mut text = String::from(c.of(&["---\n", "", "# registry\n"]));
    text.push_str("apiVersion: v1\nkind: Secret\n");
    let metadata = ["  name: registry-info\n  namespace: jet-system\n", "  name: other\n", ""];
    let _ = write!(text, "metadata:\n{}", metadata[c.below(8) / 6 * c.below(3)]);
    let encoded = c.one_in(3);
    text.push_str(if encoded { "data:" } else { "stringData:" });
    let keys =
        ["DOMAIN", "BASE_PATH", "USERNAME", "PASSWORD", "INSECURE", "CA_CERT", "MIRROR_REGISTRIES"];
    block(c, &keys, encoded, "  ", &mut text);
    text.push_str(c.of(&["", "type: Opaque\n", "---\n", "immutable: true\n"]));
    text
}

/// Generates a text like the values of Palette's documentation.
fn values(c: &mut Choices<'_>) -> String {
    let (head, indent) =
        c.of(&[("config:\n  ociImageRegistry:", "    "), ("ociImageRegistry:", "  ")]);
    let mut text = head.to_owned();
    let keys = [
        "endpoint",
        "name",
        "baseContentPath",
        "username",
        "password",
        "insecureSkipVerify",
        "caCert",
        "mirrorRegistries",
    ];
    block(c, &keys, false, indent, &mut text);
    text
}

/// Appends a mapping with most of `keys`, in base64 if `encoded`.
fn block(c: &mut Choices<'_>, keys: &[&str], encoded: bool, indent: &str, text: &mut String) {
    let in_flow = c.one_in(8);
    text.push_str(if in_flow { " {" } else { "\n" });
    for key in keys {
        if c.one_in(24) {
            continue;
        }
        let mut value = value(c, key);
        if encoded && !c.one_in(24) {
            value = base64::engine::general_purpose::STANDARD.encode(value);
        }
        let key = if c.one_in(24) { key.to_lowercase() } else { (*key).to_owned() };
        if in_flow {
            let _ = write!(text, "{key}:{}{value:?}, ", c.of(&[" ", " ", "", " !!str ", " &a "]));
        } else {
            let _ = writeln!(text, "{indent}{key}:{}", in_yaml(c, &value, indent));
        }
    }
    text.push_str(if in_flow { "}\n" } else { "" });
}

/// Returns `value` as YAML in one of several styles, valid or invalid.
fn in_yaml(c: &mut Choices<'_>, value: &str, indent: &str) -> String {
    let lines = || value.replace('\n', &format!("\n{indent}  "));
    match c.below(16) {
        0..6 => format!(" {value:?}"),
        6..9 => format!(" '{}'", value.replace('\'', "''")),
        9 | 10 if !value.contains('\n') => format!(" {value}"),
        9..12 => format!(" |\n{indent}  {}", lines()),
        12 => format!(" >-\n{indent}  {}", lines()),
        13 => format!(" [{value:?}]"),
        14 => format!("\n{indent}  - {value:?}"),
        _ => format!(" {{a: {value:?}}}"),
    }
}

/// Generates a value of `key`.
fn value(c: &mut Choices<'_>, key: &str) -> String {
    let with = |parts: &[&str]| parts.concat();
    match key {
        "DOMAIN" | "endpoint" => match c.below(6) {
            4 => with(&["https://user:", USERINFO, "@h.io"]),
            5 => with(&[USERINFO, "@h.io:5000/d"]),
            _ => c.of(&["h.io", "https://h.io/", "h.io:5000", "", "h.io/path"]).to_owned(),
        },
        "USERNAME" | "username" | "PASSWORD" | "password" => match c.below(6) {
            0 => String::new(),
            1 => with(&["REPLACE_WITH_", SECRET]),
            2 => with(&["p: \"'\n", SECRET, " #", SECRET]),
            3 => with(&["*", SECRET, "{", SECRET, "@[&!%"]),
            _ => SECRET.to_owned(),
        },
        "INSECURE" | "insecureSkipVerify" => {
            c.of(&["false", "true", "FALSE", "", "no", SECRET]).to_owned()
        }
        "CA_CERT" | "caCert" => match c.below(8) {
            5 => SECRET.to_owned(),
            6 => with(&["-----BEGIN CERTIFICATE-----\n", SECRET, "\n-----END CERTIFICATE-----\n"]),
            7 => with(&["-----BEGIN ", SECRET, "-----\n", SECRET]),
            _ => String::new(),
        },
        "MIRROR_REGISTRIES" | "mirrorRegistries" => mirrors(c),
        _ => c.of(&["airgap-images", "", "/a/b/"]).to_owned(),
    }
}

/// Generates a map, with `user:password@` in some.
fn mirrors(c: &mut Choices<'_>) -> String {
    let text = unmarked(&map::generated::any(c).0);
    if !c.one_in(4) {
        return text;
    }
    let scheme = c.of(&["", "https://", "http://"]);
    let key = c.of(&["docker.io::", "default::", "[EXACT]nginx::", "[REPLACE]*::", "quay.io:", ""]);
    let (user, path) = c.of(&[
        ("user:", "@h.io/d"),
        ("", "@h.io/d"),
        ("user:", "/x@h.io"),
        ("user:", "@h.io/d@sha256:00"),
        ("", "@h.io:5000"),
    ]);
    [text.as_str(), ",", key, scheme, user, USERINFO, path].concat()
}
