//! Applying files without a command on the host.

use std::fs;

use image_swap_core::mirror::Fallback;
use image_swap_node::{
    ApplyError, ApplyOutcome, ConfigForm, ContainerRuntime, DesiredConfig, HostSession,
    PlanOutcome, RestartPolicy, RuntimeStart, plan,
};

use crate::host::{CONFIG, HUB, Mounted, declare, desired};

const DROP_IN: &str = "/etc/containers/registries.conf.d/50-image-swap.conf";

#[test]
fn files_read_at_each_pull_are_applied() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let host = Mounted::containerd();
    assert_eq!(host.configure(&desired(&declaration)), ApplyOutcome::Changed);
    assert!(host.text(HUB).unwrap().contains("[host.\"https://h.io/v2/d\"]"));
    assert_eq!(host.configure(&desired(&declaration)), ApplyOutcome::Nothing);
    let plan = host.plan(&desired(&declaration));
    assert_eq!(plan.mirror_directory, Some("/etc/containerd/certs.d".into()));
    assert_eq!(plan.remaining_command(ContainerRuntime::Containerd, None), None);
    // Another tool removes a file.
    fs::remove_file(host.place(HUB)).unwrap();
    assert_eq!(host.configure(&desired(&declaration)), ApplyOutcome::Changed);
    assert!(host.text(HUB).is_some());
}

#[test]
fn administrator_reloads_cri_o() {
    let declaration = declare("docker.io::h.io/d", "");
    let host = Mounted::new(ContainerRuntime::Crio, "1.30.0")
        .mount("/etc/containers/registries.conf.d")
        .started("crio.service");
    assert_eq!(host.observe(None).reload, RuntimeStart::AfterChange);
    let applied = host.configure(&desired(&declaration));
    assert_eq!(applied, ApplyOutcome::Changing("systemctl reload crio".to_owned()));
    assert!(host.text(DROP_IN).unwrap().contains("h.io/d"));
    let plan = host.plan(&desired(&declaration));
    assert_eq!(plan.outcome(), PlanOutcome::InPlace);
    assert_eq!(plan.mirror_directory, Some("/etc/containers/registries.conf.d".into()));
    // The plan does not contain the reload any more; the time of the file shows it.
    host.touch(DROP_IN, true);
    assert_eq!(host.observe(None).reload, RuntimeStart::BeforeChange);
    host.touch(DROP_IN, false);
    assert_eq!(host.observe(None).reload, RuntimeStart::AfterChange);
}

#[test]
fn plan_with_a_restart_is_not_applied() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let config = "version = 2\n";
    let host = Mounted::new(ContainerRuntime::Containerd, "1.7.24").with(CONFIG, config);
    for restart in [RestartPolicy::Never, RestartPolicy::Allow] {
        let desired = DesiredConfig { restart, ..desired(&declaration) };
        let seen = host.observe(Some(&desired));
        let plan = plan(&desired, &seen.observed).unwrap();
        let failed = host.apply(&plan, &seen).unwrap_err();
        assert!(matches!(failed.reason, ApplyError::NeedsRestart(_)), "{failed}");
        assert_eq!(host.text(CONFIG).as_deref(), Some(config));
        assert_eq!(host.text(HUB), None);
    }
}

// guarantee: 6b
#[test]
fn command_for_administrator_has_flags_without_credential() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let host = Mounted::new(ContainerRuntime::Containerd, "1.7.24").with(CONFIG, "version = 2\n");
    let command = |desired: DesiredConfig<'_>| {
        let plan = host.plan(&desired);
        plan.remaining_command(ContainerRuntime::Containerd, Some(&desired)).unwrap()
    };
    let wanted = desired(&declaration);
    let base = "image-swap node apply --restart allow --runtime containerd -f registry-secret.yaml";
    assert_eq!(command(wanted), base);
    let never = command(DesiredConfig { fallback: Fallback::Never, ..wanted });
    assert_eq!(never, [base, " --fallback never"].concat());
    let palette = DesiredConfig { form: ConfigForm::Palette, header_over_http: true, ..wanted };
    assert_eq!(command(palette), [base, " --form palette --header-over-http"].concat());
}

#[test]
fn interrupted_restart_is_not_rolled_back_without_restart() {
    let journal = "/var/lib/image-swap/node/armed.json";
    let host = Mounted::containerd().with(journal, "{}");
    let failed = HostSession::take_live(&host.host(), &|_| {}).err().unwrap();
    assert!(matches!(failed.reason, ApplyError::InterruptedRestart), "{failed}");
    let text = failed.to_string();
    assert!(text.contains("image-swap node status") && text.contains(journal), "{text}");
    assert_eq!(host.text(journal).as_deref(), Some("{}"));
}
