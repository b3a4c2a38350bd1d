//! containerd, configured by the mirrors table of config.toml.

use image_swap_node::{ConfigForm, DesiredConfig, PlanOutcome};

use crate::host::{CONFIG, Host, IMAGE_BUILDER, declare, declared, desired};

/// The expected table in Palette's format: its lines, leading blanks aside.
const PAGE: &str = include_str!("../../../../examples/containerd-config.toml");

fn page_rules() -> String {
    let to = |source: &str, path: &str| format!("{source}::harbor.example.org/airgap-images{path}");
    let rules = [
        to("docker.io", "/docker.io"),
        to("gcr.io", "/gcr.io"),
        to("ghcr.io", "/ghcr.io"),
        to("k8s.gcr.io", "/gcr.io"),
        to("registry.k8s.io", "/k8s.io"),
        to("quay.io", "/quay.io"),
        to("us-east1-docker.pkg.dev", ""),
    ];
    rules.join(",")
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_start).collect()
}

// guarantee: 5a
#[test]
fn palette_form_writes_the_documented_lines() {
    let declaration = declared(&page_rules());
    let desired = DesiredConfig { form: ConfigForm::Palette, ..desired(&declaration) };
    let before = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let mut host = before.clone();
    assert_eq!(host.apply(&desired).outcome(), PlanOutcome::ChangeAndRestart);
    assert_eq!(lines(host.text(CONFIG).unwrap()), lines(PAGE));
    assert_eq!(host.plan(&desired).unwrap().steps, []);
    host.restore();
    assert_eq!(host.existing(), before.existing());
}

// guarantee: 5a
#[test]
fn palette_tables_become_files_of_certs_d() {
    let declaration = declared("docker.io::h.io/d");
    // A text that an administrator has copied from the page.
    let printed = lines(PAGE).join("\n") + "\n";
    let before = Host::containerd("1.7.24").with(CONFIG, &printed);
    let mut host = before.clone();
    let plan = host.apply(&desired(&declaration));
    insta::assert_snapshot!(plan.diff(&before.observe(None)));
    assert_eq!(host.plan(&desired(&declaration)).unwrap().steps, []);
    host.restore();
    assert_eq!(host.existing(), before.existing());
}

// guarantee: 5a, 6c
#[test]
fn table_with_credentials_is_private() {
    let declaration = declare("docker.io::h.io/d,quay.io::h.io/q", "INSECURE: \"true\"");
    let desired = DesiredConfig { form: ConfigForm::Mirrors, ..desired(&declaration) };
    let existing = format!(
        "{IMAGE_BUILDER}  [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\n    endpoint = [\"https://old.io\"]\n\
         [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"gcr.io\"]\n    endpoint = [\"https://kept.io\"]\n"
    );
    let before = Host::containerd("1.7.24").with(CONFIG, &existing);
    let mut host = before.clone();
    let plan = host.apply(&desired);
    insta::assert_snapshot!(plan.diff(&before.observe(None)));
    assert_eq!(host.disk.file(&CONFIG.into()).unwrap().mode, 0o600);
    assert_eq!(host.plan(&desired).unwrap().steps, []);
    // With fewer rules the edits of image-swap go, and other edits stay.
    let fewer = declare("quay.io::h.io/q", "INSECURE: \"true\"");
    host.apply(&DesiredConfig { declaration: &fewer, ..desired });
    let text = host.text(CONFIG).unwrap();
    assert!(
        text.contains("old.io") && text.contains("kept.io") && !text.contains("h.io/v2/d"),
        "{text}"
    );
    host.restore();
    assert_eq!(host.existing(), before.existing());
}

#[test]
fn keys_that_the_table_lacks_are_named() {
    let declaration = declare("docker.io::h.io/d", "INSECURE: \"true\"");
    for (version, form, lost) in [
        ("1.7.24", ConfigForm::Palette, Some("cannot express INSECURE, USERNAME and PASSWORD")),
        ("1.7.24", ConfigForm::Mirrors, None),
        ("2.1.9", ConfigForm::Mirrors, Some("cannot express INSECURE")),
    ] {
        let host = Host::containerd(version).with(CONFIG, IMAGE_BUILDER);
        let plan = host.plan(&DesiredConfig { form, ..desired(&declaration) }).unwrap();
        let note = plan.notes.iter().find(|note| note.contains("cannot express"));
        assert_eq!(note.is_some(), lost.is_some(), "{version}: {note:?}");
        assert!(lost.is_none_or(|lost| note.unwrap().contains(&format!("{lost}:"))), "{note:?}");
    }
}
