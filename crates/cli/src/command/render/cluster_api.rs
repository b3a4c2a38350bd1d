//! `image-swap render kubeadm-patch` and `cluster-class-patch`: print patches for templates of
//! Cluster API.

use std::{path::PathBuf, process::ExitCode};

use image_swap_core::render::{
    CONTAINERD, K3S,
    cluster_api::{
        COMMANDS, CONTENT_MAX, ClassTarget, ClusterApiVersion, MachineContent, MachineDistribution,
        MachineSetup, SECRET, TemplateTarget,
    },
};
use image_swap_text::yaml::{NodeId, Tree};

use crate::{
    choice::{Choice, one_of},
    command::render::{bootstrap::MachineArgs, report::report},
    failure::Failure,
    output, text,
};

const KUBEADM_EXAMPLES: &str = "\
Examples:
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --template cluster.yaml > image-swap/kustomization.yaml
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --name image-swap-bootstrap
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --secret > image-swap/secret.yaml
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --distribution rke2";

const CLASS_EXAMPLES: &str = "\
Examples:
  image-swap render cluster-class-patch -f examples/registry-secret.yaml --template class.yaml > image-swap/kustomization.yaml
  image-swap render cluster-class-patch -f examples/registry-secret.yaml --secret > image-swap/secret.yaml
  image-swap render cluster-class-patch -f examples/registry-secret.yaml --api-version v1beta1";

/// Values of `--distribution`.
const DISTRIBUTIONS: &[Choice<MachineDistribution>] = &[
    ("kubeadm", "A script for the containerd of the machine image", MachineDistribution::Kubeadm),
    ("rke2", "registries.yaml of RKE2", MachineDistribution::Rke2),
    ("k3s", "registries.yaml of k3s", MachineDistribution::K3s),
];

/// Values of `--api-version`.
const API_VERSIONS: &[Choice<ClusterApiVersion>] = &[
    ("v1beta2", "Cluster API 1.11 and later", ClusterApiVersion::Beta2),
    ("v1beta1", "Cluster API up to 1.10", ClusterApiVersion::Beta1),
];

/// Flags of both commands.
#[derive(Debug, clap::Args)]
struct PatchArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// The distribution that the templates install.
    #[arg(long, value_parser = one_of(DISTRIBUTIONS), default_value = "kubeadm")]
    distribution: MachineDistribution,
    /// Manifests with the templates to patch: lists that they lack are created. Without them the
    /// patch appends to lists, and fails where there is none. `-` is standard input; can be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    template: Vec<PathBuf>,
    /// Print the Secret with the files instead of the patch.
    #[arg(long)]
    secret: bool,
    /// The namespace of the Secret, which is that of the templates.
    #[arg(short, long, value_name = "NAMESPACE", requires = "secret")]
    namespace: Option<String>,
}

/// Arguments of `render kubeadm-patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = KUBEADM_EXAMPLES)]
pub(super) struct KubeadmPatchArgs {
    #[command(flatten)]
    patch: PatchArgs,
    /// The Secret that holds the files; without it the templates contain them.
    #[arg(long, value_name = "SECRET")]
    name: Option<String>,
}

/// Arguments of `render cluster-class-patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = CLASS_EXAMPLES)]
pub(super) struct ClusterClassPatchArgs {
    #[command(flatten)]
    patch: PatchArgs,
    /// The Secret that holds the files, which is the default of the variable.
    #[arg(long, value_name = "SECRET", default_value = SECRET)]
    name: String,
    /// The API version of the templates in the ClusterClass.
    #[arg(long, value_parser = one_of(API_VERSIONS), default_value = "v1beta2")]
    api_version: ClusterApiVersion,
}

impl KubeadmPatchArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let name = self.name.as_deref();
        self.patch.run(name.unwrap_or(SECRET), |setup, patch| {
            let content = name.map_or(MachineContent::Inline, MachineContent::Secret);
            let longest = setup.longest();
            if name.is_none() && longest > CONTENT_MAX {
                return Err(Failure::Broken(format!(
                    "the template would contain a file of {longest} characters; Cluster API \
                     accepts {CONTENT_MAX}: keep it in a Secret, with --name"
                )));
            }
            // A ClusterClass patches its templates itself.
            let is_of_class =
                |target: &TemplateTarget| target.kind.is_of_class && target.kind.is_control_plane;
            let mut targets = patch.templates()?;
            targets.retain(|target| !is_of_class(target));
            Ok(setup.component(content, &targets))
        })
    }
}

impl ClusterClassPatchArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        self.patch.run(&self.name, |setup, patch| {
            let mut targets = patch.templates()?;
            targets.retain(|target| target.kind.is_of_class);
            for target in &mut targets {
                target.name = None;
            }
            targets.dedup();
            let mut kinds = targets.iter().map(|target| target.kind.kind);
            if let Some(kind) = kinds
                .find(|&kind| targets.iter().filter(|target| target.kind.kind == kind).count() > 1)
            {
                return Err(Failure::Unusable(format!(
                    "--template: expected the same lists in each {kind}, found files or \
                     {COMMANDS} in some of them; add these lists to the others"
                )));
            }
            let class = patch.class()?;
            Ok(setup.cluster_class_component(self.api_version, &class, &targets, &self.name))
        })
    }
}

impl PatchArgs {
    /// Prints the Secret `name` or the text of `patch`. Returns the exit code of rendering.
    fn run(
        &self,
        name: &str,
        patch: impl FnOnce(&MachineSetup, &Self) -> Result<String, Failure>,
    ) -> Result<ExitCode, Failure> {
        let (declaration, options) = self.machine.load()?;
        let restart = self.machine.restart_command.as_deref();
        let (setup, rendered) =
            MachineSetup::render(&declaration, options, restart, self.distribution);
        if !setup.is_empty() {
            let text = if self.secret {
                setup.secret(name, self.namespace.as_deref())
            } else {
                patch(&setup, self)?
            };
            output::print(text.as_bytes())?;
        }
        let is_kubeadm = self.distribution == MachineDistribution::Kubeadm;
        let format = if is_kubeadm { &CONTAINERD } else { &K3S };
        Ok(report(&declaration, format, &rendered))
    }

    /// Returns the templates to patch: those of the manifests, or all.
    fn templates(&self) -> Result<Vec<TemplateTarget>, Failure> {
        let kinds = self.distribution.kinds();
        if self.template.is_empty() {
            let all =
                |&kind| TemplateTarget { kind, name: None, has_files: true, has_commands: true };
            return Ok(kinds.iter().map(all).collect());
        }
        let mut targets = Vec::new();
        self.each_object(|tree, root, found| {
            let Some(&kind) = kinds.iter().find(|kind| kind.kind == found) else { return };
            let lists = kind.keys.iter().try_fold(root, |node, key| tree.get(node, key));
            let has = |name| {
                lists
                    .and_then(|lists| tree.get(lists, name))
                    .is_some_and(|list| !tree.is_null(list))
            };
            targets.push(TemplateTarget {
                kind,
                name: name_of(tree, root),
                has_files: has("files"),
                has_commands: has(COMMANDS),
            });
        })?;
        if targets.is_empty() {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
            return Err(Failure::Unusable(format!(
                "--template: expected one of {}, found none",
                names.join(", ")
            )));
        }
        Ok(targets)
    }

    /// Returns the ClusterClass to patch: that of the manifests, or each.
    fn class(&self) -> Result<ClassTarget, Failure> {
        let mut class = ClassTarget { name: None, has_variables: true, has_patches: true };
        self.each_object(|tree, root, kind| {
            if kind == "ClusterClass" {
                let spec = tree.get(root, "spec");
                let has = |name| {
                    spec.and_then(|spec| tree.get(spec, name)).is_some_and(|it| !tree.is_null(it))
                };
                class = ClassTarget {
                    name: name_of(tree, root),
                    has_variables: has("variables"),
                    has_patches: has("patches"),
                };
            }
        })?;
        Ok(class)
    }

    /// Calls `visit` with each object in the manifests, and its kind.
    fn each_object(&self, mut visit: impl FnMut(&Tree<'_>, NodeId, &str)) -> Result<(), Failure> {
        for path in &self.template {
            let unusable =
                |reason: String| Failure::Unusable(format!("{}: {reason}", path.display()));
            let bytes = text::read(path)
                .map_err(|error| Failure::Unusable(Failure::file("read", path, &error)))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| unusable("expected UTF-8, found other bytes".to_owned()))?;
            let tree = Tree::parse(&text).map_err(|error| unusable(error.to_string()))?;
            for &root in &tree.documents {
                if let Some(kind) = tree.get(root, "kind").and_then(|kind| tree.scalar(kind)) {
                    visit(&tree, root, kind);
                }
            }
        }
        Ok(())
    }
}

/// Returns the name of the object at `root`.
fn name_of(tree: &Tree<'_>, root: NodeId) -> Option<String> {
    let name = tree.get(tree.get(root, "metadata")?, "name")?;
    tree.scalar(name).map(str::to_owned)
}
