//! A management cluster with Cluster API, and the manifests of its administrator.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::LazyLock,
};

use image_swap_testbed::{ControlPlane, Parts};
use serde_json::Value;
use tempfile::TempDir;

/// The namespace of all objects of Cluster API.
pub(crate) const NAMESPACE: &str = "clusters";
/// A `Cluster` without `ClusterClass`.
pub(crate) const PLAIN: &str = include_str!("plain.yaml");
/// A `ClusterClass` with its `Cluster`.
pub(crate) const CLASS: &str = include_str!("class.yaml");

/// The declaration of the examples.
pub(crate) const DECLARATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/registry-secret.yaml");

/// Returns all parts, found once.
pub(crate) fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

/// Returns the output of `image-swap render` for the declaration of the examples.
pub(crate) fn render(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
    command.arg("render").args(arguments).args(["-f", DECLARATION]);
    output(&mut command)
}

/// Adds a component of Kustomize to manifests for the `Cluster` called `name`.
pub(crate) fn kustomize(plane: &ControlPlane, manifests: &str, name: &str, patch: &str) -> String {
    let folder = TempDir::new().unwrap();
    let write = |file: &str, text: &str| {
        let target = folder.path().join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, text).unwrap();
    };
    write("clusters.yaml", &manifests.replace("NAME", name));
    write("image-swap/kustomization.yaml", patch);
    write("kustomization.yaml", "resources: [clusters.yaml]\ncomponents: [image-swap]\n");
    output(plane.kubectl().arg("kustomize").arg(folder.path()))
}

/// Applies manifests as a tool of continuous delivery does, which takes over fields.
pub(crate) fn apply(plane: &ControlPlane, manifests: &str) {
    let flags = ["--server-side", "--force-conflicts", "--field-manager=gitops"];
    try_apply(plane, manifests, &flags).unwrap();
}

/// Applies manifests with these flags of `kubectl apply`. Returns its output.
///
/// # Errors
/// The API server refuses an object. The error is the output about errors.
pub(crate) fn try_apply(
    plane: &ControlPlane,
    manifests: &str,
    flags: &[&str],
) -> Result<String, String> {
    let mut kubectl = plane.kubectl();
    kubectl.args(["apply", "--filename=-"]).args(flags);
    let mut child = kubectl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let is_success = output.status.success();
    let text = if is_success { output.stdout } else { output.stderr };
    let text = String::from_utf8(text).unwrap();
    if is_success { Ok(text) } else { Err(text) }
}

/// Returns the standard output of a command that succeeds.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
