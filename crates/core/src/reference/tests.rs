use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Inputs, each with the result of Go's `ParseNormalizedNamed` (distribution/reference 0.6,
/// go-digest 1.0 with all three algorithms).
const CORPUS: &str = include_str!("../../tests/data/references.jsonl");

#[test]
fn results_equal_those_of_go() {
    let mut accepted = 0;
    for line in CORPUS.lines() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let input = expected["input"].as_str().unwrap();
        let text = |key: &str| expected.get(key).and_then(Value::as_str);
        match Reference::parse(input) {
            Ok(reference) => {
                accepted += 1;
                assert_eq!(Some(reference.to_string().as_str()), text("normalized"), "{input}");
                assert_eq!(Some(reference.domain()), text("domain"), "{input}");
                assert_eq!(Some(reference.path().as_ref()), text("path"), "{input}");
                assert_eq!(reference.tag(), text("tag"), "{input}");
                assert_eq!(reference.digest(), text("digest"), "{input}");
            }
            Err(error) => assert_eq!(text("normalized"), None, "{input}: {error}"),
        }
    }
    assert!(accepted > 400 && CORPUS.lines().count() > accepted + 400, "{accepted}");
}

#[track_caller]
fn rejects(input: &str, message: &str) {
    assert_eq!(Reference::parse(input).unwrap_err().to_string(), message, "{input}");
}

#[test]
fn error_names_expected_part_and_byte() {
    let hex = |digits: usize| "0".repeat(digits);
    rejects("", "expected an image name at character 1, found the end");
    rejects(
        &hex(64),
        "expected an image name, not 64 hex digits (an image ID) at character 1, found '0'",
    );
    rejects(
        "nGinx",
        "expected a lowercase letter (repository names have no uppercase) at character 2, found 'G'",
    );
    rejects(
        "h.io/nGinx",
        "expected a lowercase letter (repository names have no uppercase) at character 7, found 'G'",
    );
    rejects("a//b", "expected a lowercase letter or a digit at character 3, found '/'");
    rejects(
        "a..b/c",
        "expected a registry host (letters, digits, '-' and '.') at character 3, found '.'",
    );
    rejects("x/a..b", "expected a lowercase letter or a digit at character 5, found '.'");
    rejects("x/a___b", "expected a lowercase letter or a digit at character 6, found '_'");
    rejects("x/a-", "expected a lowercase letter or a digit at character 5, found the end");
    rejects("x/é", "expected a lowercase letter or a digit at character 3, found 'é'");
    rejects(
        "nginx é",
        "expected '/', ':', '@', a name character or the end at character 6, found ' '",
    );
    rejects(
        "-x.io/a",
        "expected a registry host (letters, digits, '-' and '.') at character 1, found '-'",
    );
    rejects(
        "x-.io/a",
        "expected a registry host (letters, digits, '-' and '.') at character 2, found '-'",
    );
    rejects(
        "https://docker.io/Nginx",
        "expected an image name without a scheme such as https:// at character 1, found 'h'",
    );
    rejects("x.io:/a", "expected a port number at character 6, found '/'");
    rejects("x.io:80b/a", "expected a port number at character 8, found 'b'");
    rejects("[::1]80/a", "expected a port number at character 6, found '8'");
    rejects("[::1/a", "expected hex digits, ':' and then ']' at character 5, found '/'");
    rejects("[]:1/a", "expected hex digits, ':' and then ']' at character 2, found ']'");
    rejects(
        "nginx:",
        "expected a letter, digit or '_' to begin the tag at character 7, found the end",
    );
    rejects(
        "nginx:.1",
        "expected a letter, digit or '_' to begin the tag at character 7, found '.'",
    );
    rejects("nginx:a+b", "expected a tag character, '@' or the end at character 8, found '+'");
    rejects(
        &format!("nginx:{}", "t".repeat(129)),
        "expected a tag of at most 128 bytes at character 135, found 't'",
    );
    rejects(
        &format!("x/{}", "a".repeat(254)),
        "expected a path of at most 255 bytes at character 256, found 'a'",
    );
    rejects(&"a".repeat(248), "expected a path of at most 255 bytes at character 248, found 'a'");
    rejects(
        &format!("nginx@md5:{}", hex(32)),
        "expected 'sha256:', 'sha384:' or 'sha512:' at character 7, found 'm'",
    );
    rejects(
        &format!("nginx@SHA256:{}", hex(64)),
        "expected 'sha256:', 'sha384:' or 'sha512:' at character 7, found 'S'",
    );
    rejects(
        &format!("nginx@sha256:{}A", hex(63)),
        "expected exactly 64 lowercase hex digits at character 77, found 'A'",
    );
    rejects(
        &format!("nginx@sha384:{}", hex(64)),
        "expected exactly 96 lowercase hex digits at character 78, found the end",
    );
    rejects(
        &format!("nginx@sha512:{}", hex(129)),
        "expected exactly 128 lowercase hex digits at character 142, found '0'",
    );
}

#[test]
fn error_points_at_the_first_wrong_byte() {
    rejects(
        "a.x-.io/b",
        "expected a registry host (letters, digits, '-' and '.') at character 4, found '-'",
    );
    rejects(
        "nGinx@sha256:0",
        "expected a lowercase letter (repository names have no uppercase) at character 2, found 'G'",
    );
    assert!(Reference::parse(&["nginx:", &"t".repeat(128)].concat()).is_ok());
}

#[test]
fn domain_does_not_count_towards_path_limit() {
    let domain = ["h".repeat(300), ".io/".to_owned()].concat();
    assert!(Reference::parse(&[&domain[..], &"a".repeat(255)].concat()).is_ok());
    assert!(Reference::parse(&[&domain[..], &"a".repeat(256)].concat()).is_err());
}

#[test]
fn identifier_is_digest_or_tag_or_latest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let identifier = |input: &str| Reference::parse(input).unwrap().identifier().to_owned();
    assert_eq!(identifier("nginx"), "latest");
    assert_eq!(identifier("nginx:1"), "1");
    assert_eq!(identifier(&format!("nginx:1@{digest}")), digest);
}

#[test]
fn only_added_prefix_is_allocated() {
    let reference = Reference::parse("gcr.io/a/b:1").unwrap();
    assert!(matches!(reference.path(), Cow::Borrowed("a/b")));
    assert_eq!(Reference::parse("nginx").unwrap().path_parts(), ("library/", "nginx"));
}

prop_compose! {
    /// Generates a valid reference in the forms that administrators write.
    fn written()(
        domain in "(|docker\\.io/|index\\.docker\\.io/|localhost/|localhost:5000/|\\[::1\\]:5000/|Foo/|[a-z][a-z0-9]{0,5}\\.io(:[1-9][0-9]{1,4})?/)",
        path in "[a-z0-9]{1,5}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,5}){0,3}",
        tag in "(|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})",
        digest in "(|@sha256:[0-9a-f]{64}|@sha384:[0-9a-f]{96}|@sha512:[0-9a-f]{128})",
    ) -> String {
        [domain, path, tag, digest].concat()
    }
}

proptest! {
    #[test]
    fn printed_reference_parses_to_the_same(input in written()) {
        let reference = Reference::parse(&input).unwrap();
        let printed = reference.to_string();
        let again = Reference::parse(&printed).unwrap();
        prop_assert_eq!(again.to_string(), printed.as_str());
        prop_assert_eq!(again.domain(), reference.domain());
        prop_assert_eq!(again.path(), reference.path());
        prop_assert_eq!(again.tag(), reference.tag());
        prop_assert_eq!(again.digest(), reference.digest());
    }

    #[test]
    fn errors_of_any_text_point_into_it(input in "\\PC{0,80}") {
        if let Err(error) = Reference::parse(&input) {
            prop_assert!(input.is_char_boundary(error.at));
            prop_assert_eq!(input[error.at..].chars().next(), error.found);
        }
    }

    #[test]
    fn texts_of_grammar_characters_do_not_panic(input in "[a-zA-Z0-9.:/@_\\[\\]-]{0,60}") {
        if let Ok(reference) = Reference::parse(&input) {
            prop_assert!(Reference::parse(&reference.to_string()).is_ok());
        }
    }
}
