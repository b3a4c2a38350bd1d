//! Directories that are not mounted.

use image_swap_node::{ContainerRuntime, check_mounts};
use image_swap_testkit::config_with_path;

use crate::host::{CONFIG, Mounted, declare, desired};

#[test]
fn directory_of_mirrors_must_be_mounted() {
    let declaration = declare("docker.io::h.io/d", "");
    let host = Mounted::containerd();
    check_mounts(&host.host(), &host.plan(&desired(&declaration))).unwrap();

    let host = host.with(CONFIG, &config_with_path("/etc/my/certs.d"));
    let plan = host.plan(&desired(&declaration));
    assert_eq!(plan.mirror_directory, Some("/etc/my/certs.d".into()));
    let failed = check_mounts(&host.host(), &plan).unwrap_err();
    assert_eq!(
        failed.to_string(),
        "cannot write below /etc/my/certs.d of the host: it is not mounted; set \
         agent.hostPaths.certsD to the directory of `config_path`"
    );
    let host = host.mount("/etc/my/certs.d");
    check_mounts(&host.host(), &host.plan(&desired(&declaration))).unwrap();
}

#[test]
fn directory_of_drop_ins_must_be_mounted() {
    let declaration = declare("docker.io::h.io/d", "");
    let host = Mounted::new(ContainerRuntime::Crio, "1.30.0").mount("/etc/containers");
    let failed = check_mounts(&host.host(), &host.plan(&desired(&declaration))).unwrap_err();
    assert!(failed.remedy.contains("agent.hostPaths.registriesConfD"), "{failed}");
    let host = host.mount("/etc/containers/registries.conf.d");
    check_mounts(&host.host(), &host.plan(&desired(&declaration))).unwrap();
}

#[test]
fn directory_that_containerd_searches_too_is_named() {
    let declaration = declare("docker.io::h.io/d", "");
    let list = "/etc/containerd/certs.d:/etc/docker/certs.d";
    let host = Mounted::containerd().with(CONFIG, &config_with_path(list));
    let named = |host: &Mounted| {
        let notes = host.plan(&desired(&declaration)).notes;
        notes.iter().any(|note| note.contains("/etc/docker/certs.d is searched after"))
    };
    assert!(named(&host));
    assert!(!named(&host.mount("/etc/docker/certs.d")));
}
