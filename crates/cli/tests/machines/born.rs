//! New machines have the mirrors in their bootstrap data.

use image_swap_testbed::{ClusterApi, ControlPlane, ControlPlanes, Options};

use crate::{
    compared::ComparedCluster,
    fleet,
    management::{CLASS, NAMESPACE, PLAIN, apply, kustomize, name, parts, render, try_apply},
    moved,
    release::Release,
    resource_set, webhook,
};

/// Returns the lines of the files in cloud-config whose paths begin with `path`, joined.
fn content(data: &str, path: &str) -> String {
    let mut content = String::new();
    let entries = data.split("\n-   path: ").skip(1).filter(|entry| entry.starts_with(path));
    for entry in entries {
        let (_, text) = entry.split_once("    content: |\n").unwrap();
        let is_content = |line: &&str| line.is_empty() || line.starts_with("      ");
        for line in text.lines().take_while(is_content) {
            content += line.strip_prefix("      ").unwrap_or_default();
            content.push('\n');
        }
        // The block of an entry ends with the newline of its last line.
        content.truncate(content.trim_end().len() + 1);
    }
    content
}

/// Checks the bootstrap data of both machines of a `Cluster`.
fn check(api: &ClusterApi, plane: &ControlPlane, cluster: &str) {
    let script = render(&["bootstrap"]);
    let machines = api.wait_machines(plane, NAMESPACE, cluster, 2).unwrap();
    let mut of_control_plane = 0;
    for machine in &machines {
        let data = api.bootstrap_data(plane, machine).unwrap();
        assert_eq!(content(&data, "/etc/image-swap/bootstrap.sh"), script, "{}", name(machine));
        let (_, commands) = data.split_once("\nruncmd:\n").unwrap();
        let commands: Vec<&str> = commands.lines().collect();
        assert!(commands[0].contains("/etc/image-swap/bootstrap.sh"), "{commands:?}");
        assert!(commands.iter().skip(1).any(|it| it.contains("kubeadm ")), "{commands:?}");
        if data.contains("kubeadm init") {
            of_control_plane += 1;
            assert_eq!(content(&data, "/etc/motd"), "a file of the administrator\n");
            assert!(commands[1].contains("echo first command of the administrator"));
        }
    }
    assert_eq!(of_control_plane, 1);
}

#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn new_machines_have_the_mirrors() {
    let options = Options { controller_manager: true, ..Options::default() };
    let planes = ControlPlanes::start(parts(), &options, 3).unwrap();
    let plane = &planes.hub;
    let api = ClusterApi::start(parts(), plane).unwrap();
    for namespace in [NAMESPACE, fleet::NAMESPACE, resource_set::NAMESPACE] {
        plane.create_namespace(namespace).unwrap();
    }
    fleet::register(plane, &planes.workloads[0], fleet::NAMESPACE, "remote");
    let gitops = &planes.workloads[2];
    fleet::register(plane, gitops, resource_set::NAMESPACE, resource_set::CLUSTER);
    let mut release = Release::install(plane);
    resource_set::apply(plane);
    let manifests = webhook::manifests();
    release.wait_webhook(&manifests);

    let patch = render(&["kubeadm-patch"]);
    apply(plane, &kustomize(plane, PLAIN, "plain", &patch));
    let missing = ["--missing=worker-files", "--missing=worker-commands"];
    let patch = render(&[&["cluster-class-patch"][..], &missing].concat());
    apply(plane, &kustomize(plane, &webhook::labelled(CLASS), "class", &patch));
    try_apply(plane, &manifests, &[]).unwrap();

    for cluster in ["plain", "class", webhook::CLUSTER] {
        check(&api, plane, cluster);
    }
    fleet::check(&release, &planes.workloads[0], "remote");
    resource_set::check(plane, gitops);

    let mut cluster = ComparedCluster { plane, api, name: webhook::CLUSTER, change: 0 };
    webhook::check_class(&cluster, "class");
    webhook::check_references(&release);
    webhook::check_gitops(&mut cluster, &mut release);
    webhook::check_restored(&cluster);
    moved::check(cluster, &planes.workloads[1]);
}
