//! containerd, configured by files below `certs.d`.

use image_swap_node::{
    DesiredConfig, FileState, HostEntry, PlanOutcome, PlannedStep, RestartPolicy,
};

use crate::host::{CONFIG, Host, IMAGE_BUILDER, declare, declared, desired};

const RULES: &str = "docker.io::h.io/d/docker.io,quay.io::h.io/q";

// guarantee: 5a
#[test]
fn fresh_host_gets_files_and_one_edit() {
    let declaration = declared(RULES);
    let before = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let mut host = before.clone();
    let plan = host.plan(&desired(&declaration)).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::ChangeAndRestart);
    insta::assert_snapshot!(plan.diff(&host.observe(None)));
    let restart = plan.steps.iter().position(|step| matches!(step, PlannedStep::Restart { .. }));
    let last_write = plan.steps.iter().rposition(|step| step.path() == Some(&CONFIG.into()));
    assert_eq!(restart, last_write.map(|at| at + 1));

    host.apply(&desired(&declaration));
    let again = host.plan(&desired(&declaration)).unwrap();
    assert_eq!((again.steps.len(), again.outcome()), (0, PlanOutcome::InPlace));
    assert!(again.rows.iter().all(|row| row.state == FileState::InPlace), "{:?}", again.rows);

    host.restore();
    assert_eq!(host.existing(), before.existing());
}

#[test]
fn plan_without_permitted_restart_is_empty() {
    let declaration = declared(RULES);
    let host = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let desired = DesiredConfig { restart: RestartPolicy::Never, ..desired(&declaration) };
    let plan = host.plan(&desired).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
    // No restart is needed if the directory is configured already.
    let set = format!(
        "{IMAGE_BUILDER}[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
    );
    let host = Host::containerd("1.7.24").with(CONFIG, &set);
    assert_eq!(host.plan(&desired).unwrap().outcome(), PlanOutcome::Change);
}

// guarantee: 5b
#[test]
fn foreign_edits_survive_restore() {
    let declaration = declared(RULES);
    let mut host = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    host.apply(&desired(&declaration));
    let addition = "\n# another program\n[metrics]\naddress = \"127.0.0.1:1338\"\n";
    let mut host = host.clone().with(CONFIG, &[host.text(CONFIG).unwrap(), addition].concat());
    // The file still contains the wanted values, so nothing is restarted.
    assert_eq!(host.plan(&desired(&declaration)).unwrap().steps, []);
    let hosts = "/etc/containerd/certs.d/quay.io/hosts.toml";
    host = host
        .clone()
        .with(hosts, &[host.text(hosts).unwrap(), "\n[host.\"https://k.io\"]\n"].concat());
    host.restore();
    assert_eq!(host.text(CONFIG).unwrap(), [IMAGE_BUILDER, addition].concat());
    assert_eq!(host.text(hosts), Some("\n[host.\"https://k.io\"]\n"));
    assert!(!host.disk.exists(&"/etc/containerd/certs.d/docker.io".into()));
}

#[test]
fn linked_configuration_is_not_replaced() {
    let declaration = declared(RULES);
    let link = HostEntry::Link("/nix/store/config.toml".to_owned(), None);
    let host = Host::containerd("1.7.24").with_entry(CONFIG, link);
    assert_eq!(host.plan(&desired(&declaration)).unwrap_err().case, "link");
}

// guarantee: 6b, 6c
#[test]
fn credentials_for_token_registries_go_to_config_toml() {
    let declaration = declared("docker.io::h.io/d");
    let before = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let mut host = Host { bearer_only: true, ..before.clone() };
    let plan = host.apply(&desired(&declaration));
    assert!(!plan.diff(&before.observe(None)).contains("robot"));
    let hosts = host.text("/etc/containerd/certs.d/docker.io/hosts.toml").unwrap();
    assert!(!hosts.contains("Authorization"), "{hosts}");
    let text = host.text(CONFIG).unwrap();
    let auth = "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"h.io\".auth]\n\
                username = \"robot\"\npassword = \"pass\\\"word\"\n";
    assert!(text.contains(auth), "{text}");
    assert_eq!(host.disk.file(&CONFIG.into()).unwrap().mode, 0o600);
    // From 2.1 on containerd also sends the header to the token service.
    let mut host =
        Host { bearer_only: true, ..Host::containerd("2.1.9").with(CONFIG, IMAGE_BUILDER) };
    host.apply(&desired(&declaration));
    let hosts = host.text("/etc/containerd/certs.d/docker.io/hosts.toml").unwrap();
    assert!(hosts.contains("Authorization"), "{hosts}");
}

// guarantee: 6a
#[test]
fn credentials_in_config_toml_cover_declared_hosts() {
    let more = "INSECURE: \"false\"\n  CREDENTIAL_HOSTS: 'h.io:5001,*.h.io,h.io:5002'";
    let rules = "docker.io::h.io:5001/d,gcr.io::a.h.io,quay.io::k.io,ghcr.io::http://h.io:5002";
    let declaration = declare(rules, more);
    let host = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let mut host = Host { bearer_only: true, ..host };
    host.apply(&desired(&declaration));
    let text = host.text(CONFIG).unwrap();
    for (name, has) in [
        ("h.io", true),
        ("h.io:5001", true),
        ("a.h.io", true),
        ("k.io", false),
        ("h.io:5002", false),
    ] {
        let table = format!("registry.configs.\"{name}\".auth]\n");
        assert_eq!(text.contains(&table), has, "{name}: {text}");
    }
}

#[test]
fn marked_file_is_recognised_without_a_ledger() {
    let declaration = declared(RULES);
    let hosts = "/etc/containerd/certs.d/quay.io/hosts.toml";
    let rendered = "# Written by image-swap from the declared registry; changes are overwritten.\n";
    let mut host = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER).with(hosts, rendered);
    let plan = host.apply(&desired(&declaration));
    assert!(plan.cases.iter().all(|case| case.name != "foreign-hosts"));
    host.restore();
    assert_eq!(host.text(hosts), None);
}
