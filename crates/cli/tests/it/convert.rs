use crate::run::{image_swap, image_swap_in, image_swap_with, root};

#[test]
fn a_list_becomes_a_canonical_map() {
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
fn what_canonical_has_no_words_for_is_told() {
    let ran = image_swap_with(
        &["convert", "--map", "-"],
        "[REPLACE]*redis*::\ngcr.io::h.io/g\ndefault::\n",
    );
    insta::assert_snapshot!(ran.whole());
}

#[test]
fn a_map_that_canonical_would_refuse_is_bad_news() {
    let ran = image_swap_with(
        &["convert", "--map", "-"],
        "docker.io::quay.io/m\nquay.io::h.io/q\ndefault::\n",
    );
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("chain"), "{}", ran.stderr);
}

#[test]
fn a_rule_that_leads_to_its_source_is_printed_as_it_loads() {
    let cases = root().join("crates/cli/tests/it/cases");
    let ran = image_swap_in(&cases, &["convert", "--map", "istio-auto.conf"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.lines().any(|line| line == "[EXACT]auto::auto"), "{}", ran.stdout);
    let args = ["explain", "--map", "-", "--output", "json", "auto"];
    let row = &image_swap_with(&args, &ran.stdout).json()[0];
    assert_eq!((&row["reason"], &row["changed"]), (&"disabled".into(), &false.into()));
    assert_eq!(row["rule"]["source"], "[EXACT]auto");
}
