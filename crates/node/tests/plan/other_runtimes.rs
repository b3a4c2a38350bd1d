//! Plans for runtimes other than a plain containerd.

use image_swap_core::mirror::Fallback;
use image_swap_node::{
    ConfigForm, ContainerRuntime, DesiredConfig, PlanOutcome, PlannedStep, RestartPolicy,
};

use crate::host::{CONFIG, Host, IMAGE_BUILDER, declare, desired};

const RULES: &str = "docker.io::h.io,quay.io::h.io/q";

/// Applies, sees that all is in place then, and restores; the diff in between.
#[track_caller]
fn there_and_back(before: &Host, desired: &DesiredConfig<'_>) -> String {
    let mut host = before.clone();
    let plan = host.apply(desired);
    assert_eq!(host.plan(desired).unwrap().outcome(), PlanOutcome::InPlace);
    host.restore();
    assert_eq!(host.existing(), before.existing());
    plan.diff(&before.observe(Some(desired)))
}

// guarantee: 5a
#[test]
fn runtimes_are_configured_in_their_own_files() {
    let declaration = declare(RULES, "INSECURE: \"true\"");
    for runtime in [
        ContainerRuntime::Crio,
        ContainerRuntime::Podman,
        ContainerRuntime::K3s,
        ContainerRuntime::Rke2,
        ContainerRuntime::Docker,
    ] {
        let diff = there_and_back(&Host::of(runtime, "1.30.0"), &desired(&declaration));
        insta::assert_snapshot!(runtime.name(), diff);
    }
}

#[test]
fn cri_o_reloads_mirrors_and_restarts_for_credentials() {
    let declaration = declare(RULES, "");
    let never = DesiredConfig { restart: RestartPolicy::Never, ..desired(&declaration) };
    let mut host = Host::of(ContainerRuntime::Crio, "1.30.0");
    assert_eq!(host.plan(&never).unwrap().outcome(), PlanOutcome::NeedsRestart);
    host.apply(&desired(&declaration));
    // The credentials are known: another rule is a matter of reading again.
    let more = declare("docker.io::h.io,quay.io::h.io/q,gcr.io::h.io/g", "");
    let plan = host.plan(&DesiredConfig { declaration: &more, ..never }).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::Change);
    assert!(plan.steps.contains(&PlannedStep::Reload { runtime: ContainerRuntime::Crio }));
}

// guarantee: 7
#[test]
fn flag_in_k3s_configuration_permits_fallback_never() {
    let declaration = declare(RULES, "");
    let desired = DesiredConfig { fallback: Fallback::Never, ..desired(&declaration) };
    let flag = "disable-default-registry-endpoint: true\n";
    let host = Host::of(ContainerRuntime::K3s, "1.30.0")
        .with("/etc/rancher/k3s/config.yaml.d/a.yaml", flag);
    let plan = host.plan(&desired).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::ChangeAndRestart);
    assert!(plan.rows.iter().all(|row| row.urls.len() == 1), "{:?}", plan.rows);
}

// guarantee: 1b
#[test]
fn docker_gets_expressible_rules_and_lists_others() {
    let declaration = declare(RULES, "");
    let plan = Host::of(ContainerRuntime::Docker, "28.5.2").plan(&desired(&declaration)).unwrap();
    assert_eq!(plan.inexpressible.len(), 1);
    assert_eq!(plan.rows.len(), 1);
}

// guarantee: 5a, 5b, 6b
#[test]
fn entries_in_existing_daemon_json_are_removed_again() {
    const DAEMON: &str = "/etc/docker/daemon.json";
    let existing = "{\n    \"log-driver\": \"journald\",\n    \
                  \"registry-mirrors\": [\"https://user:hunter2@m.io\"]\n}\n";
    let declaration = declare(RULES, "INSECURE: \"true\"");
    let desired = desired(&declaration);
    let before = Host::of(ContainerRuntime::Docker, "28.5.2").with(DAEMON, existing);
    let diff = there_and_back(&before, &desired);
    assert!(!diff.contains("hunter2"), "{diff}");
    insta::assert_snapshot!(diff);

    // After an administrator's edit with other blanks, the edits of image-swap are still found.
    let mut host = before;
    host.apply(&desired);
    let more = host.text(DAEMON).unwrap().replacen('{', "{ \"debug\" : true,", 1);
    let mut host = host.clone().with(DAEMON, &more);
    assert_eq!(host.plan(&desired).unwrap().outcome(), PlanOutcome::InPlace);
    // Entries of removed rules are deleted.
    let other = declare("docker.io::k.io", "");
    let mut moved = host.clone();
    moved.apply(&DesiredConfig { declaration: &other, ..desired });
    let text = moved.text(DAEMON).unwrap();
    assert!(text.contains("[\"https://k.io\", \"https://user:hunter2@m.io\"]"), "{text}");
    assert!(!text.contains("h.io"), "{text}");
    moved.restore();
    let expected = existing.replacen('{', "{ \"debug\" : true,", 1);
    assert_eq!(moved.text(DAEMON), Some(expected.as_str()));
    host.restore();
    assert_eq!(host.text(DAEMON), Some(expected.as_str()));
}

#[test]
fn registries_yaml_of_other_tools_is_refused() {
    let declaration = declare(RULES, "");
    for runtime in [ContainerRuntime::K3s, ContainerRuntime::Rke2] {
        for (text, found) in [
            ("mirrors: {docker.io: {endpoint: [https://s3cret@o.io]}}", "mirrors.\"docker.io\""),
            ("configs: {o.io: {auth: {password: s3cret}}}", "configs.\"o.io\""),
            (
                "mirrors: {'*': , a: {endpoint: [b]}}\nconfigs: {c: {tls: {}}}",
                "\"a\", configs.\"c\"",
            ),
            ("auths: s3cret", "auths"),
            ("- s3cret", "something other than a mapping"),
        ] {
            let path = format!("/etc/rancher/{}/registries.yaml", runtime.name());
            let host = Host::of(runtime, "1.30.0").with(&path, text);
            let refusal = host.plan(&desired(&declaration)).unwrap_err().to_string();
            let start = format!("{path} of another tool contains ");
            assert!(refusal.starts_with(&start) && refusal.contains(found), "{refusal}");
            assert!(refusal.contains("move the file away; or merge"), "{refusal}");
            assert!(!refusal.contains("s3cret") && !refusal.contains('*'), "{refusal}");
        }
    }
}

// guarantee: 6a
#[test]
fn credential_left_out_over_http_is_noted() {
    let declaration = declare("docker.io::http://h.io/d,quay.io::h.io/q", "");
    let containerd = || Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let mut tokens = containerd();
    tokens.bearer_only = true;
    let others = [ContainerRuntime::Crio, ContainerRuntime::K3s, ContainerRuntime::Rke2];
    let others = others.map(|runtime| (Host::of(runtime, "1.30.0"), ConfigForm::CertsD));
    let hosts = [
        (containerd(), ConfigForm::CertsD),
        (tokens, ConfigForm::CertsD),
        (containerd(), ConfigForm::Mirrors),
    ];
    for (host, form) in hosts.into_iter().chain(others) {
        let left_out = DesiredConfig { form, ..desired(&declaration) };
        let sent = DesiredConfig { header_over_http: true, ..left_out };
        for (desired, is_noted) in [(left_out, true), (sent, false)] {
            let plan = host.plan(&desired).unwrap();
            let found = plan.notes.iter().any(|note| note.contains("plain HTTP"));
            assert_eq!(found, is_noted, "{} {form:?}: {:?}", host.runtime.name(), plan.notes);
            let mut after = host.clone();
            after.apply(&desired);
            let has_credential = after.existing().into_iter().any(|(path, _)| {
                let text = after.text(path.as_str()).unwrap_or_default();
                ["pass\"word", "pass\\\"word", "cm9ib3Q6cGFzcyJ3b3Jk"]
                    .iter()
                    .any(|it| text.contains(it))
            });
            assert_eq!(has_credential, !is_noted, "{} {form:?}", host.runtime.name());
        }
    }
}
