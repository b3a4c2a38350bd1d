//! The rendered script.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use image_swap_testkit::{lists, sources};
use proptest::prelude::*;

use super::{LARGE, NO_CREDENTIALS, TEMPLATE_MARKS, bootstrap, has_template_mark, with_input};
use crate::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
    render::{
        Options, Rendered,
        tests::{CA_ONE, declared_with_marks},
    },
};

/// The example of the Secret `registry-info` in Palette's documentation.
const PALETTE: &str = include_str!("../../../../../tests/testkit/palette/registry-secret.yaml");

fn text(rendered: &Rendered) -> &str {
    let [file] = &rendered.files[..] else { panic!("{:?}", rendered.files) };
    assert_eq!(file.path, "bootstrap.sh");
    &file.text
}

/// Runs a shell with `arguments` and `input`. Returns its output.
fn shell(arguments: &[&str], input: &str) -> Vec<u8> {
    let mut child = Command::new("sh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{input}");
    output.stdout
}

#[test]
fn script_of_palette_is_small_and_whole() {
    let declaration = Declaration::read(DeclarationSource::RegistryInfo, PALETTE, 0).unwrap();
    let rendered = bootstrap(&declaration, Options::default(), None);
    assert!(text(&rendered).len() < LARGE, "{}", text(&rendered).len());
    assert!(rendered.notes.is_empty() && rendered.inexpressible.is_empty());
    insta::assert_snapshot!(text(&rendered));
}

// guarantee: 6b
#[test]
fn credentials_are_left_out_unless_requested() {
    let declaration = declared_with_marks("docker.io::h.io/d", CA_ONE);
    let without = bootstrap(&declaration, Options::default(), None);
    assert!(!text(&without).contains("Authorization") && !without.files[0].secret);
    assert_eq!(without.notes, [NO_CREDENTIALS]);
    let options = Options { show_credentials: true, ..Options::default() };
    let with = bootstrap(&declaration, options, None);
    assert!(text(&with).contains("Authorization = \"Basic ") && with.files[0].secret);
    assert!(text(&with).contains("put \"$dir/hosts.toml\" 600 <<'END'"));
    assert!(with.notes.is_empty());
}

#[test]
fn authority_of_many_hosts_is_printed_once() {
    let declaration = declared_with_marks("docker.io::h.io/d,gcr.io::h.io/g,quay.io::k.io", CA_ONE);
    let rendered = bootstrap(&declaration, Options::default(), None);
    let text = text(&rendered);
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 1);
    assert_eq!(text.matches("ca_0 | put \"$dir/ca.crt\" 644 \"$keep\"").count(), 3);
}

#[test]
fn restart_command_is_one_word() {
    let declaration = declared_with_marks("docker.io::h.io/d", "");
    let rendered = bootstrap(&declaration, Options::default(), Some("echo it's; exit 1"));
    let expected = "restart() {\n sh -c 'echo it'\\''s; exit 1'\n}\n";
    assert!(text(&rendered).contains(expected));
}

#[test]
fn unsupported_rules_are_reported() {
    let declaration = declared_with_marks("docker.io/a/b::h.io/d", "");
    let rendered = bootstrap(&declaration, Options::default(), None);
    assert_eq!(rendered.inexpressible.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // guarantee: 6b
    #[test]
    fn script_is_valid_and_has_no_template_mark(
        rules in lists(
            sources(&["default", "[::1]:5000"]),
            &["h.io/d", "http://h.io:5000/d", "k.io", ""],
            ",",
        ),
        before in "[ -~é\r\n\t]{0,40}(\\{\\{|\\$\\{|%\\{|\\{%|END\n)?",
        show_credentials: bool,
        never: bool,
    ) {
        prop_assume!(!before.contains("-----"));
        let declaration = declared_with_marks(&rules, &[&before, "\n", CA_ONE].concat());
        let fallback = if never { Fallback::Never } else { Fallback::Upstream };
        let options = Options { fallback, show_credentials, ..Options::default() };
        for file in bootstrap(&declaration, options, None).files {
            prop_assert!(!has_template_mark(&file.text), "{}", file.text);
            prop_assert!(file.text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')));
            prop_assert!(file.text.ends_with("\nmain\nexit 0\n"));
            shell(&["-n"], &file.text);
        }
    }

    #[test]
    fn shell_passes_every_text_on(text in "[ -~é\r\n\t\u{1}]{0,60}(\\{\\{|\\$\\{|%\\{|END\n|\n)?") {
        let lines = with_input("cat", &text);
        prop_assert!(!has_template_mark(&lines));
        prop_assert_eq!(shell(&["-c", &lines], ""), text.into_bytes());
    }
}

#[test]
fn template_marks_are_found() {
    for mark in TEMPLATE_MARKS {
        assert!(has_template_mark(&["a", mark, "b"].concat()));
    }
    assert!(!has_template_mark("$((a)) { { %"));
}
