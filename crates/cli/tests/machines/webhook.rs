//! The webhook of a management cluster adds the script to new machines, and keeps it in their
//! templates while other programs apply them.

use image_swap_testbed::{Wait, until};
use serde_json::{Value, json};

use crate::{
    compared::{ComparedCluster, DEADLINE, restored},
    management::{NAMESPACE, PLAIN, try_apply},
    release::Release,
};

/// The `Cluster` whose templates get the script by the webhook.
pub(crate) const CLUSTER: &str = "webhook";
/// The Secret with the script.
pub(crate) const SECRET: &str = "image-swap-bootstrap";
/// Kinds with the script, and the path to their lists.
pub(crate) const KINDS: [(&str, &str); 2] = [
    ("kubeadmcontrolplane", "/spec/kubeadmConfigSpec"),
    ("kubeadmconfigtemplate", "/spec/template/spec"),
];
/// Flags of two tools of continuous delivery: one applies on its side, one on that of the API server.
pub(crate) const STYLES: [&[&str]; 2] =
    [&[], &["--server-side", "--force-conflicts", "--field-manager=gitops"]];

/// Returns `manifests` with the label for the webhook on the kinds that it reviews.
pub(crate) fn labelled(manifests: &str) -> String {
    let label = |document: &str| {
        let is_reviewed = ["KubeadmControlPlane\n", "KubeadmConfigTemplate\n"]
            .iter()
            .any(|kind| document.contains(&format!("\nkind: {kind}")));
        let before = "namespace: clusters}";
        let after = "namespace: clusters, labels: {image-swap.io/bootstrap: enabled}}";
        if is_reviewed { document.replacen(before, after, 1) } else { document.to_owned() }
    };
    manifests.split("---\n").map(label).collect::<Vec<_>>().join("---\n")
}

/// Returns the manifests in Git. They have the label, lists of their own, and not the script.
pub(crate) fn manifests() -> String {
    let lists = [
        "      files: [{path: /etc/workers, content: \"a file of workers\"}]\n",
        "      preKubeadmCommands: [echo first command of workers]\n",
        "      joinConfiguration:\n",
    ];
    let manifests = PLAIN.replace(lists[2], &lists.concat());
    assert_ne!(manifests, PLAIN);
    labelled(&manifests.replace("NAME", CLUSTER))
}

/// Returns the reviewed objects of the cluster.
fn templates(cluster: &ComparedCluster<'_>) -> [Value; 2] {
    KINDS.map(|(kind, _)| cluster.get(&[kind, CLUSTER]))
}

/// Returns true if `object` of the kind `index` refers to the Secret, and runs the script.
fn has_script(index: usize, object: &Value) -> bool {
    let fields = object.pointer(KINDS[index].1).unwrap();
    let has_file = fields["files"].to_string().contains(SECRET);
    let has_command = fields["preKubeadmCommands"].to_string().contains("bootstrap.sh");
    assert_eq!(has_file, has_command, "{fields}");
    has_file
}

/// Checks that the labelled template of a class lost the script of the webhook again.
pub(crate) fn check_class(cluster: &ComparedCluster<'_>, class: &str) {
    let template = cluster.get(&["kubeadmconfigtemplate", class]);
    assert_eq!(template["metadata"]["labels"]["image-swap.io/bootstrap"], "enabled");
    let owners = &template["metadata"]["ownerReferences"];
    assert!(owners.to_string().contains("ClusterClass"), "{template}");
    assert!(!has_script(1, &template), "{template}");
    // It was added, which is the first generation, and removed.
    assert_eq!(template["metadata"]["generation"], 2, "{template}");
}

/// Checks that no tool of continuous delivery replaces machines, with the webhook and without it.
pub(crate) fn check_gitops(cluster: &mut ComparedCluster<'_>, release: &mut Release<'_>) {
    let manifests = manifests();
    let machines = cluster.settled();
    let before = templates(cluster);
    for (index, object) in before.iter().enumerate() {
        assert!(has_script(index, object), "{object}");
    }
    for style in STYLES {
        try_apply(cluster.plane, &manifests, style).unwrap();
        let after = templates(cluster);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before["spec"], after["spec"], "{style:?}");
        }
    }

    release.webhook.kill().unwrap();
    let stored = templates(cluster).map(|it| it["spec"].clone());
    for style in STYLES {
        let refused = try_apply(cluster.plane, &manifests, style).unwrap_err();
        // One refusal for each object.
        let number = refused.matches("bootstrap-updates.image-swap.io").count();
        assert!(number >= KINDS.len(), "{style:?}: {refused}");
    }
    for (kind, _) in KINDS {
        cluster.kubectl(&["annotate", kind, CLUSTER, "example.org/changed=yes"]);
    }
    // This changes the control plane and its workers, too.
    assert_eq!(cluster.settled(), machines, "without the webhook");
    let [control_plane, template] = templates(cluster);
    assert_eq!(control_plane["spec"]["kubeadmConfigSpec"], stored[0]["kubeadmConfigSpec"]);
    assert_eq!(template["spec"], stored[1]);

    release.webhook.start().unwrap();
    for style in STYLES {
        until("the webhook to answer again", DEADLINE, || {
            try_apply(cluster.plane, &manifests, style).map(drop).map_err(Wait::NotYet)
        })
        .unwrap();
    }
    assert_eq!(cluster.settled(), machines, "with the webhook again");
    for (index, object) in templates(cluster).iter().enumerate() {
        assert!(has_script(index, object), "{object}");
    }
}

/// Checks that objects of a backup, and those that clusterctl moves, stay as they are.
pub(crate) fn check_restored(cluster: &ComparedCluster<'_>) {
    for (index, mut object) in templates(cluster).into_iter().enumerate() {
        // An object without the script: its machines are older than the webhook.
        let fields = object.pointer_mut(KINDS[index].1).unwrap();
        for (list, own) in [("files", SECRET), ("preKubeadmCommands", "bootstrap.sh")] {
            let items = fields[list].as_array_mut().unwrap();
            items.retain(|it| !it.to_string().contains(own));
        }
        object["metadata"]["name"] = "other".into();
        let backup = restored(&object);
        let mut new = backup.clone();
        new["metadata"]["labels"].as_object_mut().unwrap().remove("velero.io/restore-name");
        let mut moved = new.clone();
        moved["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": CLUSTER,
            "uid": cluster.get(&["cluster", CLUSTER])["metadata"]["uid"],
        }]);
        for (object, is_changed) in [(backup, false), (moved, false), (new, true)] {
            let flags = ["--dry-run=server", "--output=json"];
            let created = try_apply(cluster.plane, &object.to_string(), &flags).unwrap();
            let created: Value = serde_json::from_str(&created).unwrap();
            assert_eq!(has_script(index, &created), is_changed, "{object}");
        }
    }
}

/// Checks the list of objects that refer to the Secret, and that of the documented command. Machines
/// with their bootstrap data need it no more.
pub(crate) fn check_references(release: &Release<'_>) {
    let expected = format!(
        "KubeadmControlPlane {NAMESPACE}/{CLUSTER}\nKubeadmConfigTemplate {NAMESPACE}/{CLUSTER}\n\
         {NAMESPACE}: keep the Secret {SECRET} until 2 objects no longer refer to it\n"
    );
    assert_eq!(release.references(), expected);
    let documented = release.documented("kubectl get");
    for kind in ["KubeadmControlPlane", "KubeadmConfigTemplate"] {
        assert!(documented.contains(&format!("{kind} {NAMESPACE}/{CLUSTER} ")), "{documented}");
    }
}
