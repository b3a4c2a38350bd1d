//! Linted, packed, and installed from the archive.

use image_swap_testbed::HelmError;

use crate::chart::{EVERYTHING, FLEET, PAGE, chart, charts, directory, file, top_level_block};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn strict_lint_accepts_the_chart() {
    for chart in charts() {
        for values in ["", PAGE, &top_level_block(), EVERYTHING, FLEET, "existingSecret: mine"] {
            assert_eq!(chart.helm.lint(&directory(), &[values]).unwrap(), "", "{values}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn lint_refuses_values_that_the_schema_refuses() {
    for chart in charts() {
        match chart.helm.lint(&directory(), &["policy: never"]) {
            Err(HelmError::Refused(report)) => {
                assert!(report.contains("[ERROR] values.yaml: - at '/policy'"), "{report}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn archive_renders_as_the_directory() {
    let values = format!("{PAGE}{FLEET}");
    let expected = chart().with(&values);
    for packing in charts() {
        let folder = tempfile::tempdir().unwrap();
        let archive = packing.helm.package(&directory(), folder.path()).unwrap();
        let name = archive.file_name().unwrap().to_str().unwrap();
        // image-swap-*.tgz
        let version = name.strip_prefix("image-swap-").unwrap().strip_suffix(".tgz").unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        let rendered = chart().render(&archive, "image-swap", &[&values]).unwrap();
        assert_eq!(rendered, expected, "{}", packing.helm.major());
    }
}

#[test]
fn chart_and_program_are_of_one_version() {
    let chart = file("Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("\nversion: {version}\n")), "{chart}");
    assert!(chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");
}
