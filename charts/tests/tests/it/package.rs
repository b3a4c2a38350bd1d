//! Linted, packed, and installed from the archive.

use chart_tests::Release;

use crate::chart::{EVERYTHING, PAGE, chart, directory, file, top_level_block};

#[test]
fn lint_finds_nothing_even_when_strict() {
    let Some(chart) = chart() else { return };
    for values in ["", PAGE, &top_level_block(), EVERYTHING, "existingSecret: mine"] {
        let errors = chart.helm.lint(&directory(), &[values]).unwrap();
        assert_eq!(errors, [""; 0], "{values}");
    }
}

#[test]
fn lint_finds_what_is_there() {
    let Some(chart) = chart() else { return };
    let errors = chart.helm.lint(&directory(), &["policy: never"]).unwrap();
    assert!(errors.iter().any(|error| error.contains("/policy")), "{errors:?}");
}

#[test]
fn the_archive_is_found_by_the_page_s_glob_and_renders_the_same() {
    let Some(chart) = chart() else { return };
    let directory_of_archive = tempfile::tempdir().unwrap();
    let archive = chart.helm.package(&directory(), directory_of_archive.path()).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap();
    // image-swap-*.tgz
    let version = name.strip_prefix("image-swap-").unwrap().strip_suffix(".tgz").unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let release =
        Release { chart: &archive, name: "image-swap", namespace: "somewhere", values: &[PAGE] };
    assert_eq!(chart.helm.render(release).unwrap(), chart.with(PAGE));
}

#[test]
fn chart_and_program_are_of_one_version() {
    let chart = file("Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("\nversion: {version}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");
}
