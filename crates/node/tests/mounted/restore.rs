//! Restoring a mounted host.

use std::fs;

use image_swap_node::{
    ApplyOutcome, ContainerRuntime, HostPlan, PlanOutcome, RestartPolicy, check_mounts, restore,
};
use image_swap_testkit::config_with_path;

use crate::host::{CONFIG, HUB, Mounted, declare, desired};

fn planned(host: &Mounted) -> HostPlan {
    restore(&host.observe(None).observed, RestartPolicy::Never).unwrap()
}

fn restored(host: &Mounted) -> ApplyOutcome {
    let plan = planned(host);
    check_mounts(&host.host(), &plan).unwrap();
    host.apply(&plan, &host.observe(None)).unwrap()
}

// guarantee: 5b
#[test]
fn mounted_host_is_restored_and_mount_points_stay() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let foreign = "server = \"https://quay.io\"\n";
    let quay = "/etc/containerd/certs.d/quay.io/hosts.toml";
    let host = Mounted::containerd().with(quay, foreign);
    host.configure(&desired(&declaration));
    assert_eq!(restored(&host), ApplyOutcome::Changed);
    assert_eq!(host.text(HUB), None);
    assert_eq!(host.text(quay).as_deref(), Some(foreign));
    assert!(!host.place("/etc/containerd/certs.d/docker.io").exists());
    assert!(host.place("/etc/containerd/certs.d").is_dir());
    assert!(!host.place("/var/lib/image-swap/node").exists());
    assert_eq!(restored(&host), ApplyOutcome::Nothing);
}

// guarantee: 5a
#[test]
fn main_file_edit_stays_until_a_restart() {
    let declaration = declare("docker.io::h.io/d", "");
    let config = "version = 2\n";
    let host = Mounted::new(ContainerRuntime::Containerd, "1.7.24")
        .mount("/etc/containerd/certs.d")
        .with(CONFIG, config);
    host.configure_at_rest(&desired(&declaration));
    let edited = host.text(CONFIG).unwrap();
    assert!(edited.contains("config_path") && host.text(HUB).is_some());
    assert_eq!(restored(&host), ApplyOutcome::Changed);
    assert_eq!((host.text(HUB), host.text(CONFIG)), (None, Some(edited)));
    let plan = planned(&host);
    assert_eq!(plan.outcome(), PlanOutcome::InPlace);
    assert!(plan.leftovers.as_ref().unwrap().contains(CONFIG));
    let command = plan.remaining_command(ContainerRuntime::Containerd, None).unwrap();
    assert_eq!(command, "image-swap node restore --runtime containerd --restart allow");
    // The administrator restores the rest, also without that command.
    fs::write(host.place(CONFIG), config).unwrap();
    assert_eq!(restored(&host), ApplyOutcome::Changed);
    assert!(!host.place("/var/lib/image-swap/node").exists());
    // An agent that is installed again takes over.
    host.configure_at_rest(&desired(&declaration));
    restored(&host);
    assert_eq!(host.configure(&desired(&declaration)), ApplyOutcome::Changed);
    assert!(host.text(HUB).is_some());
}

#[test]
fn mirrors_moved_from_main_file_are_kept() {
    let declaration = declare("docker.io::h.io/d", "");
    let table = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"gcr.io\"]\n\
                 endpoint = [\"https://m.io\"]\n";
    let host = Mounted::new(ContainerRuntime::Containerd, "1.7.24")
        .mount("/etc/containerd/certs.d")
        .with(CONFIG, table);
    host.configure_at_rest(&desired(&declaration));
    let gcr = "/etc/containerd/certs.d/gcr.io/hosts.toml";
    assert!(host.text(gcr).unwrap().contains("m.io"));
    let plan = planned(&host);
    assert_eq!((plan.outcome(), plan.leftovers), (PlanOutcome::NeedsRestart, None));
}

#[test]
fn credentials_of_cri_o_stay_with_their_file() {
    let declaration = declare("docker.io::h.io/d", "robot");
    let host = Mounted::new(ContainerRuntime::Crio, "1.30.0")
        .mount("/etc/containers/registries.conf.d")
        .mount("/etc/crio");
    host.configure_at_rest(&desired(&declaration));
    let applied = restored(&host);
    assert_eq!(applied, ApplyOutcome::Changing("systemctl reload crio".to_owned()));
    assert_eq!(host.text("/etc/containers/registries.conf.d/50-image-swap.conf"), None);
    for path in ["/etc/crio/crio.conf.d/50-image-swap.conf", "/etc/crio/image-swap-auth.json"] {
        assert!(host.text(path).is_some(), "{path}");
    }
    assert!(planned(&host).leftovers.is_some());
}

#[test]
fn registries_of_k3s_are_restored_only_by_restart() {
    let declaration = declare("docker.io::h.io/d", "");
    let host = Mounted::new(ContainerRuntime::K3s, "1.7.24").mount("/etc/rancher/k3s");
    host.configure_at_rest(&desired(&declaration));
    let plan = planned(&host);
    assert_eq!((plan.outcome(), plan.leftovers), (PlanOutcome::NeedsRestart, None));
}

#[test]
fn file_in_unmounted_directory_is_remembered() {
    let declaration = declare("docker.io::h.io/d", "");
    let host = Mounted::containerd()
        .mount("/etc/my/certs.d")
        .with(CONFIG, &config_with_path("/etc/my/certs.d"));
    host.configure(&desired(&declaration));
    let elsewhere = host.place("/elsewhere");
    fs::rename(host.place("/etc/my"), &elsewhere).unwrap();
    let plan = planned(&host);
    let file = "/etc/my/certs.d/docker.io/hosts.toml";
    assert_eq!(plan.unmounted, Some(file.into()));
    let failed = check_mounts(&host.host(), &plan).unwrap_err();
    assert!(failed.to_string().contains("agent.hostPaths.certsD"), "{failed}");
    host.apply(&plan, &host.observe(None)).unwrap();
    fs::rename(&elsewhere, host.place("/etc/my")).unwrap();
    assert_eq!(restored(&host), ApplyOutcome::Changed);
    assert_eq!(host.text(file), None);
}
