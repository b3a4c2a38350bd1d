//! Configuration of new machines in the templates of Cluster API.
//!
//! kubeadm machines get the script of [`bootstrap`](mod@super::bootstrap) and a command that runs
//! it. Machines with RKE2 and k3s get `registries.yaml`, which they read at their start. Providers
//! pass both on as user data with the header `## template: jinja`, so no text has one of
//! [`TEMPLATE_MARKS`](super::bootstrap::TEMPLATE_MARKS).

mod class;
mod component;
mod files;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use self::{
    class::{ClassList, ClassTargets, class_component, class_patch},
    component::component,
};
use super::{
    CONTAINERD, Format, K3S, Options, Rendered, RenderedFile,
    bootstrap::{NAME, bootstrap, render_for_machine},
};
use crate::{declaration::Declaration, labels};

/// The path of the script on a machine.
pub const SCRIPT_PATH: &str = "/etc/image-swap/bootstrap.sh";
/// The API group of control planes.
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
/// The API group of the configuration of machines.
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";

/// A bootstrap provider of Cluster API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapProvider {
    /// The provider of kubeadm, in Cluster API itself.
    Kubeadm,
    /// `cluster-api-provider-rke2`.
    Rke2,
    /// `cluster-api-k3s`.
    K3s,
}

/// A kind of object with files for new machines.
#[derive(Debug)]
pub struct MachineKind {
    /// Kind of the object.
    pub name: &'static str,
    /// API group of the kind. Its versions have the same fields.
    pub group: &'static str,
    /// JSON pointer to the object that contains the list `files`.
    pub fields: &'static str,
    /// Reader of the object.
    pub provider: BootstrapProvider,
}

/// All kinds, those of kubeadm first.
pub const MACHINE_KINDS: [MachineKind; 7] = {
    use BootstrapProvider::{K3s, Kubeadm, Rke2};
    [
        kind("KubeadmControlPlane", CONTROL_PLANE, "/spec/kubeadmConfigSpec", Kubeadm),
        kind("KubeadmConfigTemplate", BOOTSTRAP, "/spec/template/spec", Kubeadm),
        kind("KubeadmConfig", BOOTSTRAP, "/spec", Kubeadm),
        kind("RKE2ControlPlane", CONTROL_PLANE, "/spec", Rke2),
        kind("RKE2ConfigTemplate", BOOTSTRAP, "/spec/template/spec", Rke2),
        kind("KThreesControlPlane", CONTROL_PLANE, "/spec/kthreesConfigSpec", K3s),
        kind("KThreesConfigTemplate", BOOTSTRAP, "/spec/template/spec", K3s),
    ]
};

/// Returns a row of [`MACHINE_KINDS`].
const fn kind(
    name: &'static str,
    group: &'static str,
    fields: &'static str,
    provider: BootstrapProvider,
) -> MachineKind {
    MachineKind { name, group, fields, provider }
}

/// The entries of lists that configure a machine.
#[derive(Clone, Debug)]
pub struct MachineEntries {
    /// Entries of the list `files`; empty if the format cannot express the fallback.
    pub files: Vec<Value>,
    /// Entry of the list `preKubeadmCommands`; `None` if the runtime reads the files by itself.
    pub command: Option<String>,
    /// Notes, and the rules that the format cannot express.
    pub rendered: Rendered,
}

impl BootstrapProvider {
    /// Returns the format of the files.
    pub const fn format(self) -> &'static Format {
        match self {
            Self::Kubeadm => &CONTAINERD,
            Self::Rke2 | Self::K3s => &K3S,
        }
    }

    /// Returns the entries for `declaration`. Credentials are in them only with
    /// [`Options::show_credentials`]. `restart` is a shell command that restarts containerd; `None`
    /// uses the service manager of the machine.
    pub fn entries(
        self,
        declaration: &Declaration,
        options: Options,
        restart: Option<&str>,
    ) -> MachineEntries {
        let directory = match self {
            Self::Kubeadm => return script_entries(bootstrap(declaration, options, restart)),
            Self::Rke2 => "/etc/rancher/rke2",
            Self::K3s => "/etc/rancher/k3s",
        };
        let rendered = render_for_machine(&K3S, declaration, options);
        let entry = |file: &RenderedFile| {
            // registries.yaml names this file by its path.
            let is_ca = file.path == "image-swap-ca.crt";
            let (directory, mode) =
                if is_ca { (CA_DIRECTORY, "0644") } else { (directory, "0600") };
            files::entry(&[directory, "/", &file.path].concat(), mode, &file.text)
        };
        MachineEntries {
            files: rendered.files.iter().map(entry).collect(),
            command: None,
            rendered,
        }
    }
}

/// The directory of the certificates of authorities, also for RKE2.
const CA_DIRECTORY: &str = "/etc/rancher/k3s";

/// Returns the entries for the script in `rendered`.
fn script_entries(rendered: Rendered) -> MachineEntries {
    let text = rendered.files.first().map_or("", |file| &file.text);
    let files = files::parts(SCRIPT_PATH, text);
    let paths: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).collect();
    // The machine joins even if a file is missing: the commands of Ignition stop at an error.
    let command = match &paths[..] {
        [] => None,
        [path] => Some(command(path)),
        paths => Some(format!("sh -c \"$(cat {})\" || true", paths.join(" "))),
    };
    MachineEntries { files, command, rendered }
}

/// Returns the command that runs the script at `path`.
fn command(path: &str) -> String {
    format!("sh {path} || true")
}

/// Returns the entries for the script in the Secret [`BOOTSTRAP_SECRET`](labels::BOOTSTRAP_SECRET).
pub fn secret_entries() -> MachineEntries {
    let secret = json!({ "name": labels::BOOTSTRAP_SECRET, "key": NAME });
    let file = json!({
        "contentFrom": { "secret": secret },
        "owner": "root:root",
        "path": SCRIPT_PATH,
        "permissions": "0600",
    });
    MachineEntries {
        files: vec![file],
        command: Some(command(SCRIPT_PATH)),
        rendered: Rendered::default(),
    }
}

impl MachineEntries {
    /// Returns true if a machine gets files.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Returns the fields of an object with these entries alone.
    pub fn fields(&self) -> Value {
        let mut fields = json!({ "files": self.files });
        if let Some(command) = &self.command {
            fields[COMMANDS] = json!([command]);
        }
        fields
    }
}

/// The list of commands that run before kubeadm.
pub const COMMANDS: &str = "preKubeadmCommands";
