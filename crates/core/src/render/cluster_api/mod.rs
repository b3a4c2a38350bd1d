//! Patches for templates of Cluster API, which make new machines begin with the mirrors.
//!
//! A patch adds entries to the list `files` of a template, and for kubeadm one line to
//! `preKubeadmCommands`. The lists have the same form in `v1beta1` and `v1beta2`.
//!
//! Sources: Cluster API, `bootstrap/kubeadm/api`; cluster-api-provider-rke2 and cluster-api-k3s,
//! `bootstrap/api`.

mod cluster_class;
#[cfg(test)]
mod tests;
mod yaml;

use image_swap_text::base64;

pub use self::cluster_class::{ClassTarget, ClusterApiVersion, VARIABLE};
use crate::{
    declaration::Declaration,
    render::{
        K3S, Options, Rendered, RenderedFile,
        bootstrap::{self, has_template_mark},
        cluster_api::yaml::{Yaml, map},
        quote::MARKER,
    },
};

/// The most characters that Cluster API accepts as `content` of a file.
pub const CONTENT_MAX: usize = 10_240;
/// The default name of the Secret that holds the files of machines.
pub const SECRET: &str = "image-swap-bootstrap";
/// The label by which `clusterctl move` moves the Secret too.
const MOVE: &str = "clusterctl.cluster.x-k8s.io/move";
/// The path of the script on a machine.
const SCRIPT: &str = "/etc/image-swap/bootstrap.sh";

/// The distribution of Kubernetes that a bootstrap provider installs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MachineDistribution {
    /// kubeadm, with the containerd of the machine image.
    #[default]
    Kubeadm,
    /// RKE2, by cluster-api-provider-rke2.
    Rke2,
    /// k3s, by cluster-api-k3s.
    K3s,
}

/// A kind of template, and the path of the lists in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateKind {
    /// The kind, such as `KubeadmControlPlane`.
    pub kind: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The keys above the lists.
    pub keys: &'static [&'static str],
    /// True if a ClusterClass refers to templates of this kind.
    pub is_of_class: bool,
    /// True if the machines of the template are a control plane.
    pub is_control_plane: bool,
}

const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io";

const fn control_plane(kind: &'static str, keys: &'static [&'static str]) -> TemplateKind {
    TemplateKind { kind, group: CONTROL_PLANE, keys, is_of_class: false, is_control_plane: true }
}

const fn control_plane_of_class(kind: &'static str, keys: &'static [&'static str]) -> TemplateKind {
    TemplateKind { is_of_class: true, ..control_plane(kind, keys) }
}

const fn workers(kind: &'static str) -> TemplateKind {
    let keys = &["spec", "template", "spec"];
    TemplateKind { kind, group: BOOTSTRAP, keys, is_of_class: true, is_control_plane: false }
}

const KUBEADM: [TemplateKind; 3] = [
    control_plane("KubeadmControlPlane", &["spec", "kubeadmConfigSpec"]),
    workers("KubeadmConfigTemplate"),
    control_plane_of_class(
        "KubeadmControlPlaneTemplate",
        &["spec", "template", "spec", "kubeadmConfigSpec"],
    ),
];
const RKE2: [TemplateKind; 3] = [
    control_plane("RKE2ControlPlane", &["spec"]),
    workers("RKE2ConfigTemplate"),
    control_plane_of_class("RKE2ControlPlaneTemplate", &["spec", "template", "spec"]),
];
const KTHREES: [TemplateKind; 3] = [
    control_plane("KThreesControlPlane", &["spec", "kthreesConfigSpec"]),
    workers("KThreesConfigTemplate"),
    control_plane_of_class(
        "KThreesControlPlaneTemplate",
        &["spec", "template", "spec", "kthreesConfigSpec"],
    ),
];

impl MachineDistribution {
    /// Returns the kinds of the bootstrap provider's templates.
    pub const fn kinds(self) -> &'static [TemplateKind; 3] {
        match self {
            Self::Kubeadm => &KUBEADM,
            Self::Rke2 => &RKE2,
            Self::K3s => &KTHREES,
        }
    }
}

/// The files and the command that make a machine begin with the mirrors.
#[derive(Clone, Debug)]
pub struct MachineSetup {
    distribution: MachineDistribution,
    files: Vec<MachineFile>,
}

/// One file of a machine.
#[derive(Clone, Debug)]
struct MachineFile {
    path: String,
    permissions: &'static str,
    /// The name of the file, and its key in the Secret.
    key: String,
    /// The content; base64 if it is encoded.
    text: String,
    /// True if the content is base64, since a template language would interpret the text.
    is_encoded: bool,
}

/// The source of the files' content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineContent<'a> {
    /// The template itself.
    Inline,
    /// The Secret of this name, in the namespace of the template.
    Secret(&'a str),
}

/// A template to patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTarget {
    /// The kind of the template.
    pub kind: TemplateKind,
    /// The name; `None` for all templates of the kind.
    pub name: Option<String>,
    /// True if the template has the list `files`.
    pub has_files: bool,
    /// True if the template has the list of commands.
    pub has_commands: bool,
}

impl MachineSetup {
    /// Renders the files for machines of `distribution`. Returns them, and the notes and the rules
    /// that their format cannot express.
    pub fn render(
        declaration: &Declaration,
        options: Options,
        restart: Option<&str>,
        distribution: MachineDistribution,
    ) -> (Self, Rendered) {
        let rendered = if distribution == MachineDistribution::Kubeadm {
            bootstrap::bootstrap(declaration, options, restart)
        } else {
            bootstrap::render_for_machine(&K3S, declaration, options)
        };
        let file = |file: &RenderedFile| {
            let folder = match distribution {
                MachineDistribution::Rke2 if file.path == REGISTRIES => "/etc/rancher/rke2",
                // The rendered file names its CA file there, for RKE2 too.
                _ => "/etc/rancher/k3s",
            };
            let (path, permissions) = match distribution {
                MachineDistribution::Kubeadm => (SCRIPT.to_owned(), "0700"),
                _ if file.secret => ([folder, "/", &file.path].concat(), "0600"),
                _ => ([folder, "/", &file.path].concat(), "0644"),
            };
            let is_encoded = has_template_mark(&file.text) || !yaml::is_literal(&file.text);
            let text = if is_encoded { base64::encode(&file.text) } else { file.text.clone() };
            MachineFile { path, permissions, key: file.path.clone(), text, is_encoded }
        };
        let files = rendered.files.iter().map(file).collect();
        (Self { distribution, files }, rendered)
    }

    /// Returns true if there is no file.
    pub const fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the number of characters of the longest file.
    pub fn longest(&self) -> usize {
        self.files.iter().map(|file| file.text.chars().count()).max().unwrap_or_default()
    }

    /// Prints the Secret `name` with the files.
    pub fn secret(&self, name: &str, namespace: Option<&str>) -> String {
        let mut metadata = vec![("name", Yaml::text(name))];
        metadata.extend(namespace.map(|namespace| ("namespace", Yaml::text(namespace))));
        metadata.push(("labels", map([(MOVE, Yaml::text(""))])));
        let data = self.files.iter().map(|file| (file.key.as_str(), Yaml::text(&file.text)));
        let secret = map([
            ("apiVersion", Yaml::text("v1")),
            ("kind", Yaml::text("Secret")),
            ("metadata", map(metadata)),
            ("type", Yaml::text("Opaque")),
            ("stringData", map(data)),
        ]);
        [MARKER, &secret.document()].concat()
    }

    /// Returns the entries of the list `files`.
    fn entries(&self, content: MachineContent<'_>) -> Vec<Yaml> {
        let entry = |file: &MachineFile| {
            let mut entry = vec![
                ("path", Yaml::text(&file.path)),
                ("owner", Yaml::text("root:root")),
                ("permissions", Yaml::text(file.permissions)),
            ];
            if file.is_encoded {
                entry.push(("encoding", Yaml::text("base64")));
            }
            entry.push(match content {
                MachineContent::Inline => ("content", Yaml::text(&file.text)),
                MachineContent::Secret(name) => {
                    let of = [("name", Yaml::text(name)), ("key", Yaml::text(&file.key))];
                    ("contentFrom", map([("secret", map(of))]))
                }
            });
            map(entry)
        };
        self.files.iter().map(entry).collect()
    }

    /// Returns the lists that grow, with their names: the files and the commands.
    fn lists(&self, content: MachineContent<'_>) -> Vec<(&'static str, Vec<Yaml>)> {
        let mut lists = vec![("files", self.entries(content))];
        if self.distribution == MachineDistribution::Kubeadm {
            // A machine joins, whatever happens to the script.
            let command = format!("sh {SCRIPT} || true");
            lists.push((COMMANDS, vec![Yaml::text(&command)]));
        }
        lists
    }

    /// Returns the operations of a JSON patch (RFC 6902) for a template.
    fn operations(&self, content: MachineContent<'_>, target: &TemplateTarget) -> Vec<Yaml> {
        let keys = target.kind.keys.join("/");
        let mut operations = Vec::new();
        for (name, values) in self.lists(content) {
            let exists = if name == COMMANDS { target.has_commands } else { target.has_files };
            operations.extend(additions(&format!("/{keys}/{name}"), values, exists));
        }
        operations
    }

    /// Prints a component of kustomize that patches `targets`.
    pub fn component(&self, content: MachineContent<'_>, targets: &[TemplateTarget]) -> String {
        let patches = targets.iter().map(|target| {
            let mut select = vec![
                ("group", Yaml::text(target.kind.group)),
                ("kind", Yaml::text(target.kind.kind)),
            ];
            select.extend(target.name.iter().map(|name| ("name", Yaml::text(name))));
            (select, self.operations(content, target))
        });
        component(patches)
    }
}

/// The list of commands of kubeadm's templates.
pub const COMMANDS: &str = "preKubeadmCommands";
/// The file of registries of k3s and RKE2.
const REGISTRIES: &str = "registries.yaml";

/// Returns the operations that append `values` to the list at `path`. They create the list
/// unless it `exists`, since JSON patches append to present lists only.
fn additions(path: &str, values: Vec<Yaml>, exists: bool) -> Vec<Yaml> {
    let operation = |path: &str, value| {
        map([("op", Yaml::text("add")), ("path", Yaml::text(path)), ("value", value)])
    };
    if !exists {
        return vec![operation(path, Yaml::List(values))];
    }
    values.into_iter().map(|value| operation(&[path, "/-"].concat(), value)).collect()
}

/// Prints a component of kustomize with a JSON patch for each selection.
fn component(patches: impl Iterator<Item = (Vec<(&'static str, Yaml)>, Vec<Yaml>)>) -> String {
    let patches = patches.map(|(select, operations)| {
        map([("target", map(select)), ("patch", Yaml::text(&Yaml::List(operations).document()))])
    });
    let component = map([
        ("apiVersion", Yaml::text("kustomize.config.k8s.io/v1alpha1")),
        ("kind", Yaml::text("Component")),
        ("patches", Yaml::List(patches.collect())),
    ]);
    [MARKER, &component.document()].concat()
}
