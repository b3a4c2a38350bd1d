//! Helm 3 beside Helm 4.

use std::fs;

use image_swap_testbed::{HelmError, HelmMajor, HelmRelease};

use crate::{
    chart::{EVERYTHING, FLEET, PAGE, charts, top_level_block},
    yaml,
};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn both_majors_render_the_same_objects() {
    let [four, three] = charts();
    assert_eq!((four.helm.major(), three.helm.major()), (HelmMajor::Four, HelmMajor::Three));
    let fleet = format!("{EVERYTHING}{FLEET}");
    for values in ["", PAGE, &top_level_block(), EVERYTHING, &fleet, "existingSecret: mine"] {
        let expected = four.with(values).objects;
        assert!(expected.len() > 10, "{:?}", expected.keys());
        assert_eq!(three.with(values).objects, expected, "{values}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn helm_programs_have_the_named_major_version() {
    for (chart, version) in charts().into_iter().zip(["v4.", "v3."]) {
        let printed = chart.helm.run(&mut chart.helm.command(&["version", "--short"])).unwrap();
        assert!(printed.starts_with(version), "{printed}");
    }
}

/// Covers a Helm built without its linker flags, which renders for Kubernetes 1.20.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn chart_renders_for_current_kubernetes_without_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    write("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n");
    write("templates/version.yaml", "version: {{ .Capabilities.KubeVersion.Version | quote }}\n");
    let release =
        HelmRelease { chart: folder.path(), name: "demo", namespace: "default", values: &[] };
    for chart in charts() {
        let manifests = chart.helm.template(&release).unwrap();
        let found = yaml::one(&manifests[0].text);
        let version = found["version"].as_str().unwrap();
        let minor = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next());
        let minor: u32 = minor.unwrap().parse().unwrap();
        assert!(minor >= 33, "{}: {version}", chart.helm.major());
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn helm_reaches_no_other_host() {
    for chart in charts() {
        let remote = "https://charts.example.org/demo-0.1.0.tgz";
        match chart.helm.run(&mut chart.helm.command(&["show", "values", remote])) {
            Err(HelmError::Refused(message)) => {
                assert!(message.contains("proxyconnect tcp: dial tcp 127.0.0.1:9"), "{message}");
            }
            other => panic!("{}: {other:?}", chart.helm.major()),
        }
    }
}
