//! New machines have the script in their bootstrap data, and nothing that image-swap prints
//! replaces a machine.

use serde_json::json;

use crate::machine_cluster::{MachineCluster, NAME, NAMESPACE, manifests, path_of};

/// The script as a machine receives it.
pub(crate) const SCRIPT: &str = "#!/bin/sh\necho image-swap\n";

pub(crate) fn bootstrap() -> serde_json::Value {
    json!({
        "files": [{
            "path": "/etc/image-swap/bootstrap.sh",
            "owner": "root:root",
            "permissions": "0700",
            "content": SCRIPT,
        }],
        "preKubeadmCommands": ["sh /etc/image-swap/bootstrap.sh"],
    })
}

#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn machines_are_born_with_the_script() {
    let cluster = MachineCluster::start();
    let manifests = manifests(&bootstrap());
    cluster.apply(&manifests);
    let machines = cluster.wait_settled();
    let data = cluster.bootstrap_data();
    assert_eq!(data.len(), 2);
    for (machine, data) in &data {
        eprintln!("{machine}\n{data}");
        assert!(data.contains("echo image-swap"), "{machine}: {data}");
        assert!(data.contains("/etc/image-swap/bootstrap.sh"), "{machine}: {data}");
    }
    let dump = |name: &str, path: &str| {
        let text = format!("{:#}", cluster.control_plane.get(path).unwrap().unwrap());
        std::fs::write(format!("/tmp/agent/capi-samples/{name}.json"), text).unwrap();
    };
    dump("kubeconfig-secret", &format!("/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-kubeconfig"));
    dump("secrets", &format!("/api/v1/namespaces/{NAMESPACE}/secrets"));
    for version in ["v1beta1", "v1beta2"] {
        dump(
            &format!("cluster-{version}"),
            &format!("/apis/cluster.x-k8s.io/{version}/namespaces/{NAMESPACE}/clusters/{NAME}"),
        );
        dump(
            &format!("kubeadmcontrolplane-{version}"),
            &format!(
                "/apis/controlplane.cluster.x-k8s.io/{version}/namespaces/{NAMESPACE}/kubeadmcontrolplanes/{NAME}"
            ),
        );
    }
    dump("api-groups", "/apis/cluster.x-k8s.io");

    cluster.apply(&manifests);
    let _ = path_of("", "");
    assert_eq!(cluster.wait_settled(), machines);
}
