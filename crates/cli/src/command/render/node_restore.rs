//! `image-swap render node-restore`: prints a manifest that restores nodes.

use std::{fmt::Write as _, process::ExitCode};

use image_swap_core::{control::node_runtime::AgentRuntime, reference::Reference};
use serde_json::json;

use crate::{
    choice::{Choice, one_of},
    failure::Failure,
    output,
};

/// The manifest with names in place of its values.
const MANIFEST: &str = include_str!("node_restore.yaml");
/// The longest name of a namespace, in bytes.
const LONGEST: usize = 63;

/// Values of `--runtime`.
const RUNTIMES: &[Choice<AgentRuntime>] = &[
    ("containerd", "/etc/containerd", AgentRuntime::Containerd),
    ("crio", "/etc/containers", AgentRuntime::Crio),
    ("k3s", "/etc/rancher, of k3s and RKE2", AgentRuntime::K3s),
];

const EXAMPLES: &str = "\
Examples:
  image-swap render node-restore --image harbor.example.org/image-swap:0.1.0 | kubectl apply -f -
  image-swap render node-restore --image harbor.example.org/image-swap:0.1.0 --runtime crio";

/// Arguments of `render node-restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The image of image-swap, as nodes pull it.
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    image: String,
    /// A namespace for these objects alone: the manifest contains it.
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        default_value = "image-swap-restore",
        value_parser = namespace
    )]
    namespace: String,
    /// Mount the directories of this runtime instead of /etc; the kubelet creates absent ones. Can
    /// be repeated.
    #[arg(long, value_parser = one_of(RUNTIMES))]
    runtime: Vec<AgentRuntime>,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        output::print(self.manifest().as_bytes())
    }

    fn manifest(&self) -> String {
        let mounts = mounts(&self.runtime);
        let (mut mounted, mut volumes) = (String::new(), String::new());
        for HostMount { name, path, is_read_only, kind } in mounts {
            let read_only = if is_read_only { "\n              readOnly: true" } else { "" };
            let _ = writeln!(
                mounted,
                "            - name: {name}\n              mountPath: /host{path}{read_only}"
            );
            let _ = writeln!(
                volumes,
                "        - name: {name}\n          hostPath:\n            path: {path}\n            type: {kind}"
            );
        }
        MANIFEST
            .replace("@NAMESPACE@", &json!(self.namespace).to_string())
            .replace("@IMAGE@", &json!(self.image).to_string())
            .replace("@MOUNTS@\n", &mounted)
            .replace("@VOLUMES@\n", &volumes)
    }
}

/// A directory of the host in the pods.
struct HostMount {
    name: &'static str,
    path: &'static str,
    is_read_only: bool,
    /// The check of the kubelet: `Directory` requires the directory, `DirectoryOrCreate` creates it.
    kind: &'static str,
}

/// Returns the mounts for hosts with `runtimes`; with none, for hosts with any. A directory is
/// before those below it.
fn mounts(runtimes: &[AgentRuntime]) -> Vec<HostMount> {
    let created = |name, path, is_read_only| HostMount {
        name,
        path,
        is_read_only,
        kind: "DirectoryOrCreate",
    };
    let has = |runtime| runtimes.contains(&runtime);
    let mut mounts = Vec::new();
    if runtimes.is_empty() {
        // Every host has it, so that nothing is created.
        mounts.push(HostMount { kind: "Directory", ..created("etc", "/etc", false) });
    }
    if has(AgentRuntime::Containerd) {
        mounts.push(created("containerd", "/etc/containerd", true));
        mounts.push(created("containerd-mirrors", "/etc/containerd/certs.d", false));
    }
    if has(AgentRuntime::Crio) {
        mounts.push(created("containers", "/etc/containers", true));
        mounts.push(created("crio-mirrors", "/etc/containers/registries.conf.d", false));
        mounts.push(created("crio-trust", "/etc/containers/certs.d", false));
    }
    if has(AgentRuntime::K3s) {
        mounts.push(created("rancher", "/etc/rancher", true));
    }
    // Nodes that image-swap never changed have none; their pods start, too.
    mounts.push(created("state", "/var/lib/image-swap", false));
    mounts
}

/// Parses the reference of an image.
fn image(text: &str) -> Result<String, String> {
    Reference::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses the name of a namespace.
fn namespace(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.bytes().all(is_inner)
        && (1..=LONGEST).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-');
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "expected at most {LONGEST} lowercase letters, digits and '-', as in image-swap-restore"
        )
    })
}
