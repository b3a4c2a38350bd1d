use crate::run::{image_swap, image_swap_in, image_swap_with, root};

#[test]
fn list_becomes_a_canonical_map() {
    let ran = image_swap(&["convert", "--mirrors", "docker.io::h.io/d,gcr.io::h.io/g"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            0,
            "docker.io::h.io/d\nlocalhost::h.io/d/localhost\ngcr.io::h.io/g\ndocker.io/library::h.io/d\n"
        )
    );
}

#[test]
fn rules_without_canonical_form_are_reported() {
    let ran = image_swap_with(
        &["convert", "--map", "-"],
        "[REPLACE]*redis*::\ngcr.io::h.io/g\ndefault::\n",
    );
    insta::assert_snapshot!(ran.whole());
}

#[test]
fn map_with_chained_rules_fails() {
    let ran = image_swap_with(
        &["convert", "--map", "-"],
        "docker.io::quay.io/m\nquay.io::h.io/q\ndefault::\n",
    );
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("chain"), "{}", ran.stderr);
}

#[test]
fn rule_to_its_own_source_is_converted() {
    let cases = root().join("crates/cli/tests/it/cases");
    let ran = image_swap_in(&cases, &["convert", "--map", "istio-auto.conf"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.lines().any(|line| line == "[EXACT]auto::auto"), "{}", ran.stdout);
    let args = ["explain", "--map", "-", "--output", "json", "auto"];
    let row = &image_swap_with(&args, &ran.stdout).json()[0];
    assert_eq!((&row["reason"], &row["changed"]), (&"disabled".into(), &false.into()));
    assert_eq!(row["rule"]["source"], "[EXACT]auto");
}
