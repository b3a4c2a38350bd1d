//! The start of the runtime, compared with its configuration.

use image_swap_node::{ContainerRuntime, CriStatus, FileState, PlanOutcome, RuntimeStart, Version};
use image_swap_testkit::config_with_path;

use crate::host::{CONFIG, Mounted, declare, desired};

const UNREAD: &str = "has not been restarted since its configuration changed";

#[test]
fn no_process_of_a_mounted_host_is_seen() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let host = Mounted::containerd().with("/run/containerd/containerd.sock", "");
    let seen = host.observe(Some(&desired(&declaration)));
    assert_eq!((seen.daemon.pid, seen.daemon.program.as_deref()), (None, None));
    assert_eq!(seen.daemon.answer, CriStatus::NotQueried);
    assert_eq!(seen.daemon.version, Some(Version::new(1, 7, 24)));
    assert_eq!(seen.observed.version, seen.daemon.version);
    assert_eq!(seen.observed.in_force, None);
    assert!(seen.observed.is_mounted && !seen.observed.at_rest);
    assert!(seen.daemon.client().is_err());
    assert!(seen.notes.is_empty(), "{:?}", seen.notes);
}

#[test]
fn unread_configuration_of_containerd_needs_a_restart() {
    let declaration = declare("docker.io::h.io/d", "");
    let desired = desired(&declaration);
    let host = Mounted::containerd();
    assert_eq!(host.observe(None).observed.start, RuntimeStart::Unknown);
    assert_eq!(host.plan(&desired).outcome(), PlanOutcome::Change);

    let host = host.started("containerd.service");
    host.touch(CONFIG, false);
    assert_eq!(host.observe(None).observed.start, RuntimeStart::AfterChange);
    assert_eq!(host.plan(&desired).outcome(), PlanOutcome::Change);

    host.touch(CONFIG, true);
    assert_eq!(host.observe(None).observed.start, RuntimeStart::BeforeChange);
    let plan = host.plan(&desired);
    assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
    assert!(plan.restart.as_ref().unwrap().contains(UNREAD), "{:?}", plan.restart);
    // Also if the files are there already.
    host.touch(CONFIG, false);
    host.configure(&desired);
    host.touch(CONFIG, true);
    let plan = host.plan(&desired);
    assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
    assert!(plan.rows.iter().all(|row| row.state == FileState::Unread), "{:?}", plan.rows);
}

#[test]
fn imported_file_counts_as_configuration() {
    let path = "/etc/containerd/conf.d/a.toml";
    let host = Mounted::new(ContainerRuntime::Containerd, "2.1.9")
        .with(CONFIG, "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n")
        .with(path, &config_with_path("/etc/containerd/certs.d"))
        .started("containerd.service");
    assert_eq!(host.observe(None).observed.start, RuntimeStart::AfterChange);
    host.touch(path, true);
    assert_eq!(host.observe(None).observed.start, RuntimeStart::BeforeChange);
}

#[test]
fn containerd_of_k0s_is_started_by_another_unit() {
    let host = Mounted::containerd()
        .with("/etc/k0s/containerd.toml", "# k0s_managed=true\nversion = 2\n")
        .started("containerd.service");
    host.touch(CONFIG, true);
    assert_eq!(host.observe(None).observed.start, RuntimeStart::Unknown);
}

#[test]
fn rancher_reads_registries_when_it_starts() {
    let declaration = declare("docker.io::h.io/d", "");
    let desired = desired(&declaration);
    for (runtime, directory, unit) in [
        (ContainerRuntime::K3s, "k3s", "k3s-agent.service"),
        (ContainerRuntime::Rke2, "rke2", "rke2-server.service"),
    ] {
        // The label of the node is the same for both.
        let host = Mounted::new(ContainerRuntime::K3s, "1.7.24")
            .mount(&format!("/etc/rancher/{directory}"));
        assert_eq!(host.observe(None).observed.runtime, runtime);
        let plan = host.plan(&desired);
        assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
        assert_eq!(plan.mirror_directory, None);
        host.configure_at_rest(&desired);
        let host = host.started(unit);
        let path = format!("/etc/rancher/{directory}/registries.yaml");
        host.touch(&path, false);
        assert_eq!(host.plan(&desired).outcome(), PlanOutcome::InPlace);
        host.touch(&path, true);
        let plan = host.plan(&desired);
        assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
        assert!(plan.restart.unwrap().contains(UNREAD));
    }
}

#[test]
fn cri_o_reads_only_credentials_at_start() {
    let (open, secret) = (declare("docker.io::h.io/d", ""), declare("docker.io::h.io/d", "robot"));
    let host = Mounted::new(ContainerRuntime::Crio, "1.30.0")
        .mount("/etc/containers/registries.conf.d")
        .with("/etc/crio/crio.conf", "[crio]\n")
        .started("crio.service");
    host.touch("/etc/crio/crio.conf", true);
    assert_eq!(host.observe(None).observed.start, RuntimeStart::BeforeChange);
    assert_eq!(host.plan(&desired(&open)).outcome(), PlanOutcome::Change);
    host.configure_at_rest(&desired(&secret));
    let plan = host.plan(&desired(&secret));
    assert_eq!(plan.outcome(), PlanOutcome::NeedsRestart);
    assert!(plan.restart.unwrap().contains(UNREAD));
    let times =
        [("/etc/crio/crio.conf", false), ("/etc/crio/crio.conf.d/50-image-swap.conf", false)];
    for (path, is_later) in times {
        host.touch(path, is_later);
    }
    assert_eq!(host.plan(&desired(&secret)).outcome(), PlanOutcome::InPlace);
}
