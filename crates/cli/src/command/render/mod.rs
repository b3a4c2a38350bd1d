//! `image-swap render`: prints configuration for a runtime or an image builder.

mod bootstrap;
mod bundle;
mod cluster_api;
mod node_restore;
mod report;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use image_swap_core::{
    mirror::Fallback,
    render::{ConfigVersion, EndpointForm, FORMATS, Format, Options, RenderedFile},
};

use crate::{
    choice::{self, Choice, FALLBACKS, one_of},
    declaration::{DeclarationArgs, DeclarationUse, Dialect},
    failure::Failure,
    output, replace,
};

const EXAMPLES: &str = "\
Examples:
  image-swap render containerd -f examples/registry-secret.yaml
  image-swap render containerd -f examples/registry-secret.yaml --fallback never --out certs.d
  image-swap render registries-conf -f examples/values.yaml > registries.conf
  image-swap render bootstrap -f examples/registry-secret.yaml > bootstrap.sh
  image-swap render kubeadm-patch -f examples/registry-secret.yaml > kustomization.yaml
  image-swap render node-restore --image harbor.example.org/image-swap:0.1.0
  image-swap render bundle --bundle bundle.yaml -f examples/registry-secret.yaml";

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    subcommand_help_heading = "Manifests",
    subcommand_value_name = "MANIFEST"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    manifest: Option<Manifest>,
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// The format to print.
    #[arg(value_parser = choice::format, long_help = formats(), required = true)]
    format: Option<&'static Format>,
    /// Write the files below this directory, which is created; `-` is standard output.
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,
    /// The registries that nodes try after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream")]
    fallback: Fallback,
    /// Print credentials on standard output; files contain them always.
    #[arg(long)]
    show_credentials: bool,
    /// Send credentials over plain HTTP too, to targets with `http://`.
    #[arg(long)]
    header_over_http: bool,
    /// The form of endpoints in containerd-mirrors.
    #[arg(long, value_parser = one_of(ENDPOINTS), default_value = "url")]
    endpoint: EndpointForm,
    /// The version of containerd's configuration, for containerd-mirrors.
    #[arg(long, value_parser = config_version(), default_value = "2")]
    config_version: ConfigVersion,
}

#[derive(Debug, Subcommand)]
enum Manifest {
    /// Print a DaemonSet that restores the nodes of a cluster whose image-swap is gone.
    NodeRestore(node_restore::Args),
    /// Print a script that adds the mirrors to the containerd of a new machine.
    Bootstrap(bootstrap::Args),
    /// Print a Kustomize component that adds the mirrors to the machine templates of Cluster API.
    KubeadmPatch(cluster_api::KubeadmPatchArgs),
    /// Print a patch that adds the mirrors to the machine templates of a cluster class.
    ClusterClassPatch(cluster_api::ClusterClassPatchArgs),
    /// Print the objects of a workload cluster, for a Git repository.
    Bundle(bundle::Args),
}

/// Values of `--endpoint`.
const ENDPOINTS: &[Choice<EndpointForm>] = &[
    ("url", "`https://host/v2/path`, which every registry serves", EndpointForm::Url),
    (
        "palette|page",
        "`host/path`, as in Spectro Cloud Palette's documentation; standard registries do not serve it",
        EndpointForm::Palette,
    ),
];

/// Returns the parser of `--config-version`.
fn config_version() -> impl TypedValueParser<Value = ConfigVersion> {
    PossibleValuesParser::new(["2", "3"])
        .map(|name| if name == "3" { ConfigVersion::Three } else { ConfigVersion::Two })
}

fn formats() -> String {
    let lines = FORMATS.iter().map(|format| format!("{:<18} {}", format.name, format.about));
    format!("The format to print:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let format = match (self.manifest, self.format) {
            (Some(Manifest::NodeRestore(args)), _) => return args.run(),
            (Some(Manifest::Bootstrap(args)), _) => return args.run(),
            (Some(Manifest::KubeadmPatch(args)), _) => return args.run(),
            (Some(Manifest::ClusterClassPatch(args)), _) => return args.run(),
            (Some(Manifest::Bundle(args)), _) => return args.run(),
            (None, Some(format)) => format,
            (None, None) => return Err(Failure::Unusable("name the format to print".to_owned())),
        };
        let declaration = self.declaration.load_for(Dialect::Canonical, DeclarationUse::Nodes)?;
        let to_stdout = self.out == Path::new("-");
        let options = Options {
            fallback: self.fallback,
            show_credentials: self.show_credentials || !to_stdout,
            endpoint: self.endpoint,
            config_version: self.config_version,
            header_over_http: self.header_over_http,
        };
        let rendered = format.render(&declaration, options);
        if to_stdout {
            print(&rendered.files)?;
        } else {
            for file in &rendered.files {
                write(&self.out, file)?;
            }
        }
        Ok(report::report(&declaration, format, &rendered))
    }
}

/// Prints the text of a single file; of several files each with its name.
fn print(files: &[RenderedFile]) -> Result<(), Failure> {
    let mut out = output::stdout();
    for file in files {
        if files.len() > 1 {
            writeln!(out, "# ==> {} <==\n{}", file.path, file.text)?;
        } else {
            out.write_all(file.text.as_bytes())?;
        }
    }
    Ok(out.flush()?)
}

fn write(directory: &Path, file: &RenderedFile) -> Result<(), Failure> {
    let path = directory.join(&file.path);
    let failed = |error| Failure::Broken(Failure::file("write", &path, &error));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mode = if file.secret { 0o600 } else { 0o644 };
    replace::with_mode(&path, file.text.as_bytes(), mode).map_err(failed)?;
    output::note(&format!("wrote {}", path.display()));
    Ok(())
}
