//! Declarations: every text is read or refused with a place to look at, and no
//! credential is told to anybody.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    diagnostic::Diagnostic,
};

use crate::{choices::Choices, map};

/// What user names and passwords are made of, so that any of it is found again.
const SECRET: &str = "xK7qZw9vJ2Rt";
/// The same, for `user:password@` in places that are not made for it.
const USERINFO: &str = "pB4nYs8mGd3L";

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

/// The laws of declarations, for the text that `data` makes.
///
/// # Panics
/// Where one does not hold.
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
    // A damaged `user:password@` may be none.
    if !text.contains(USERINFO) {
        c.damage(&mut text, &[':', ' ', '\n', '"', '\'', '{', '}', '-', '|', '#', '&', '*', 'ü']);
    }

    let findings = match Declaration::read(source, &text, NOW) {
        Ok(declared) => {
            nothing_is_told(SECRET, &format!("{declared:?}"), &text);
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
            the_place_is_in_the_text(&finding, source, &text);
        }
        for told in [finding.to_string(), format!("{finding:?}")] {
            nothing_is_told(SECRET, &told, &text);
            nothing_is_told(USERINFO, &told, &text);
        }
    }
}

fn the_place_is_in_the_text(finding: &Diagnostic, source: DeclarationSource, text: &str) {
    let mut text = text.replace("\r\n", "\n");
    // In YAML a carriage return alone ends a line too.
    if matches!(source, DeclarationSource::RegistryInfo | DeclarationSource::Values) {
        text = text.replace('\r', "\n");
    }
    // The end of a text is a place too, and so is the empty line it may lie on.
    let line = text.split('\n').chain([""]).nth(finding.place.line.wrapping_sub(1));
    let columns = line.map(|line| line.chars().count() + 1);
    assert!(
        columns.is_some_and(|columns| (1..=columns).contains(&finding.place.column)),
        "{finding} of {text:?}"
    );
}

/// Neither `secret` nor its base64, wherever in a longer text it begins.
fn nothing_is_told(secret: &str, told: &str, text: &str) {
    assert!(!told.contains(secret), "{text:?} says {told}");
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode(["xx".get(..before).unwrap_or(""), secret].concat());
        // What depends on its neighbours too is left out.
        let own = &encoded[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6];
        assert!(!told.contains(own), "{text:?} says {told}");
    }
}

/// The text without the marks: a fuzzer learns them, and puts them where no
/// credential can be known for one.
fn unmarked(text: &str) -> String {
    text.replace(SECRET, "?").replace(USERINFO, "?")
}

/// Returns a text like the Secret of Palette's documentation.
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

/// Returns a text like the values of Palette's documentation.
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
            let _ = writeln!(text, "{indent}{key}:{}", written(c, &value, indent));
        }
    }
    text.push_str(if in_flow { "}\n" } else { "" });
}

/// `value` in one of YAML's ways to write it, right or wrong.
fn written(c: &mut Choices<'_>, value: &str, indent: &str) -> String {
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

fn mirrors(c: &mut Choices<'_>) -> String {
    let text = unmarked(&map::written::any(c).0);
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
