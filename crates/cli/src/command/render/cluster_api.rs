//! `image-swap render kubeadm-patch` and `cluster-class-patch`: print the configuration of new
//! machines for templates of Cluster API.

use std::process::ExitCode;

use image_swap_core::{
    declaration::Declaration,
    render::cluster_api::{
        BootstrapProvider, ClassList, ClassTargets, MACHINE_KINDS, MachineEntries, MachineKind,
        class_component, class_patch, component,
    },
};
use image_swap_text::yaml;
use serde_json::Value;

use super::{
    bootstrap::{MachineArgs, note_size},
    report::report,
};
use crate::{
    choice::{Choice, one_of},
    failure::Failure,
    output,
};

const KUBEADM_EXAMPLES: &str = "\
Examples:
  image-swap render kubeadm-patch -f examples/registry-secret.yaml > kustomization.yaml
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --kind KubeadmConfigTemplate
  image-swap render kubeadm-patch -f examples/registry-secret.yaml --output entries \\
    --kind RKE2ControlPlane --kind RKE2ConfigTemplate";

const CLASS_EXAMPLES: &str = "\
Examples:
  image-swap render cluster-class-patch -f examples/registry-secret.yaml > kustomization.yaml
  image-swap render cluster-class-patch -f examples/registry-secret.yaml --output entries
  image-swap render cluster-class-patch -f examples/registry-secret.yaml \\
    --machine-pools '*' --missing worker-files --missing worker-commands";

/// Values of `--output`.
const OUTPUTS: &[Choice<PatchOutput>] = &[
    ("component", "kustomization.yaml of a Kustomize component", PatchOutput::Component),
    ("entries", "The entries alone, to copy into a manifest", PatchOutput::Entries),
];

/// Values of `--missing`.
const LISTS: &[Choice<ClassList>] = &[
    ("control-plane-files", "files of the control plane", ClassList::ControlPlaneFiles),
    (
        "control-plane-commands",
        "preKubeadmCommands of the control plane",
        ClassList::ControlPlaneCommands,
    ),
    ("worker-files", "files of workers", ClassList::WorkerFiles),
    ("worker-commands", "preKubeadmCommands of workers", ClassList::WorkerCommands),
];

/// Values of `--api-version`.
const VERSIONS: &[Choice<&str>] = &[
    ("v1beta2", "Cluster API 1.11 and later", "v1beta2"),
    ("v1beta1", "Up to Cluster API 1.10", "v1beta1"),
];

/// Form of the printed patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatchOutput {
    Component,
    Entries,
}

/// Arguments of `render kubeadm-patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = KUBEADM_EXAMPLES)]
pub(super) struct KubeadmPatchArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// A kind of objects to patch. Can be repeated. Default: the kinds of kubeadm.
    #[arg(long, value_name = "KIND", value_parser = kind, long_help = kinds())]
    kind: Vec<&'static MachineKind>,
    /// The form of the patch.
    #[arg(long, value_parser = one_of(OUTPUTS), default_value = "component")]
    output: PatchOutput,
}

/// Arguments of `render cluster-class-patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = CLASS_EXAMPLES)]
pub(super) struct ClusterClassPatchArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// A class of `MachineDeployments`. `*` matches all. Can be repeated.
    #[arg(long, value_name = "CLASS", value_parser = class_name, default_value = "*")]
    machine_deployments: Vec<String>,
    /// Omit the selector of `MachineDeployments`, for a class without any.
    #[arg(long, conflicts_with = "machine_deployments")]
    no_machine_deployments: bool,
    /// A class of `MachinePools`. `*` matches all. Can be repeated. Default: none.
    #[arg(long, value_name = "CLASS", value_parser = class_name)]
    machine_pools: Vec<String>,
    /// Omit the selector of the control plane, for another provider than kubeadm's.
    #[arg(long)]
    no_control_plane: bool,
    /// A list that the templates of the class lack. Can be repeated. A patch cannot append to it,
    /// so it is added with the entries.
    #[arg(long, value_name = "LIST", value_parser = one_of(LISTS))]
    missing: Vec<ClassList>,
    /// The version in `apiVersion` of the templates that the class names.
    #[arg(long, value_parser = one_of(VERSIONS), default_value = "v1beta2")]
    api_version: &'static str,
    /// The form of the patch.
    #[arg(long, value_parser = one_of(OUTPUTS), default_value = "component")]
    output: PatchOutput,
}

/// The entries for the kinds of one provider.
struct KindEntries {
    provider: BootstrapProvider,
    kinds: Vec<&'static MachineKind>,
    entries: MachineEntries,
}

impl KubeadmPatchArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        use BootstrapProvider::{K3s, Kubeadm, Rke2};
        let is_kubeadm = |kind: &&MachineKind| kind.provider == Kubeadm;
        let is_chosen = |kind: &&MachineKind| match &self.kind[..] {
            [] => is_kubeadm(kind),
            chosen => chosen.iter().any(|it| it.name == kind.name),
        };
        let kinds: Vec<_> = MACHINE_KINDS.iter().filter(is_chosen).collect();
        let restart = self.machine.restart_command.as_deref();
        if restart.is_some() && !kinds.iter().any(is_kubeadm) {
            let message = "--restart-command is for the kinds of kubeadm: RKE2 and k3s read \
                           registries.yaml at their start; remove the flag";
            return Err(Failure::Unusable(message.to_owned()));
        }
        let (declaration, options) = self.machine.load()?;
        let entries_of = |provider: BootstrapProvider| {
            let kinds: Vec<_> =
                kinds.iter().copied().filter(|it| it.provider == provider).collect();
            let entries = || provider.entries(&declaration, options, restart);
            (!kinds.is_empty()).then(|| KindEntries { entries: entries(), kinds, provider })
        };
        let all: Vec<_> = [Kubeadm, Rke2, K3s].into_iter().filter_map(entries_of).collect();
        output::print(self.text(&all).as_bytes())?;
        let mut is_whole = true;
        for KindEntries { provider, entries, .. } in &all {
            is_whole &= note(*provider, &declaration, entries);
        }
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Returns the text of the patch.
    fn text(&self, all: &[KindEntries]) -> String {
        if self.output == PatchOutput::Component {
            let pairs = all.iter().flat_map(|it| it.kinds.iter().map(|kind| (*kind, &it.entries)));
            return component(&pairs.collect::<Vec<_>>());
        }
        let mut text = String::new();
        for KindEntries { kinds, entries, .. } in all.iter().filter(|it| it.entries.has_files()) {
            for kind in kinds {
                let fields = kind.fields.trim_start_matches('/').replace('/', ".");
                text.extend(["# ", &fields, " of ", kind.name, "\n"]);
            }
            text += &yaml::print(&entries.fields());
        }
        text
    }
}

impl ClusterClassPatchArgs {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let targets = ClassTargets {
            version: self.api_version.to_owned(),
            control_plane: !self.no_control_plane,
            machine_deployments: if self.no_machine_deployments {
                Vec::new()
            } else {
                self.machine_deployments
            },
            machine_pools: self.machine_pools,
            missing: self.missing,
        };
        if !targets.control_plane
            && targets.machine_deployments.is_empty()
            && targets.machine_pools.is_empty()
        {
            let message = "the patch selects no template: remove --no-control-plane or \
                           --no-machine-deployments, or name --machine-pools";
            return Err(Failure::Unusable(message.to_owned()));
        }
        let (declaration, options) = self.machine.load()?;
        let provider = BootstrapProvider::Kubeadm;
        let restart = self.machine.restart_command.as_deref();
        let entries = provider.entries(&declaration, options, restart);
        if entries.has_files() {
            let text = match self.output {
                PatchOutput::Component => class_component(&entries, &targets),
                PatchOutput::Entries => {
                    yaml::print(&Value::from(vec![class_patch(&entries, &targets)]))
                }
            };
            output::print(text.as_bytes())?;
        }
        let is_whole = note(provider, &declaration, &entries);
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Prints the notes on `entries`. Returns true if the format expresses all rules.
fn note(provider: BootstrapProvider, declaration: &Declaration, entries: &MachineEntries) -> bool {
    note_size(&entries.rendered.files);
    let _ = report(declaration, provider.format(), &entries.rendered);
    entries.rendered.inexpressible.is_empty()
}

/// Returns the kind called `name`.
fn kind(name: &str) -> Result<&'static MachineKind, String> {
    MACHINE_KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = MACHINE_KINDS.iter().map(|kind| kind.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn kinds() -> String {
    let about = |kind: &MachineKind| match kind.provider {
        BootstrapProvider::Kubeadm => "kubeadm; the default",
        BootstrapProvider::Rke2 => "registries.yaml of RKE2",
        BootstrapProvider::K3s => "registries.yaml of k3s",
    };
    let lines = MACHINE_KINDS.iter().map(|kind| format!("{:<22} {}", kind.name, about(kind)));
    format!(
        "A kind of objects to patch. Can be repeated:\n{}",
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// Parses the name of a class, which may begin or end with `*`.
fn class_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    let is_name = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
    (is_name && !text.is_empty()).then(|| text.to_owned()).ok_or_else(|| {
        "expected the name of a class: letters, digits, '-', '_' and '.', with a single * at its \
         begin or end"
            .to_owned()
    })
}
