//! Flags that several verbs share.

use std::path::PathBuf;

use clap::ValueEnum;
use image_swap_core::declaration::Declaration;
use image_swap_node::{Desired, Form, Host, Restart, Restarting, Root, Runtime, Version};

use crate::{
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
    fallback::FallbackArg,
    output::Output,
};

/// Where flags stand that belong to one verb.
pub(super) const OPTIONS: &str = "Options";
const HOST: &str = "Host";
const TELLING: &str = "How it is told";
const RESTART: &str = "Restart";

/// Which host, which runtime, and who reads the answer.
#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// Where the host's `/` is.
    #[arg(long, value_name = "DIR", default_value = "/", help_heading = HOST)]
    root: PathBuf,
    /// The container runtime.
    #[arg(long, value_enum, default_value_t, help_heading = HOST)]
    runtime: RuntimeArg,
    /// The version of a runtime that does not run, as in the image of a host: it then
    /// reads all files when it starts, and nothing is restarted.
    #[arg(long, value_name = "VERSION", value_parser = version, help_heading = HOST)]
    runtime_version: Option<Version>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t, help_heading = OPTIONS)]
    pub(super) output: Output,
}

/// [`Runtime`] as the command line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RuntimeArg {
    /// The one that is there; of several the one that the kubelet uses.
    #[default]
    Auto,
    /// containerd with a config.toml of its own.
    Containerd,
    /// CRI-O.
    Crio,
    /// The containerd of k3s.
    K3s,
    /// The containerd of RKE2.
    Rke2,
    /// dockerd.
    Docker,
    /// podman, buildah and skopeo.
    Podman,
}

/// How the runtime is told.
#[derive(Debug, clap::Args)]
pub(super) struct TellArgs {
    #[command(flatten)]
    pub(super) declaration: DeclarationArgs,
    /// How containerd is told.
    #[arg(long, value_enum, default_value_t, help_heading = TELLING)]
    form: FormArg,
    /// Whether the host may ask the public registry after the mirrors.
    #[arg(long, value_enum, default_value_t, help_heading = TELLING)]
    fallback: FallbackArg,
    /// Send credentials over plain HTTP too, to a target that says `http://`.
    #[arg(long, help_heading = TELLING)]
    header_over_http: bool,
}

/// [`Form`] as the command line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FormArg {
    /// Files below certs.d, read at every pull.
    #[default]
    CertsD,
    /// The mirrors table of config.toml, with URLs that registries answer.
    Mirrors,
    /// The mirrors table as the page prints it; no standard registry answers it.
    Page,
}

/// Whether the runtime may be restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RestartArg {
    /// What needs a restart is not done.
    #[default]
    Never,
    /// Once, if need be; taken back if the runtime then does not answer and pull.
    Allow,
}

/// How it is restarted.
#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    /// Whether the runtime may be restarted.
    #[arg(long, value_enum, default_value_t, help_heading = RESTART)]
    pub(super) restart: RestartArg,
    /// The command that restarts it, for `sh` [default: systemctl restart UNIT].
    #[arg(long, value_name = "COMMAND", help_heading = RESTART)]
    restart_command: Option<String>,
    /// A reference that can be pulled, and has to be after the restart
    /// [default: one that the host runs].
    #[arg(long, value_name = "REF", help_heading = RESTART)]
    image: Option<String>,
}

impl HostArgs {
    pub(super) fn host(&self) -> Result<Host, Failure> {
        let root = Root::new(&self.root).map_err(|error| {
            Failure::Unusable(Failure::file("find a directory at", &self.root, &error))
        })?;
        Ok(Host::new(root))
    }

    pub(super) const fn at_rest(&self) -> Option<Version> {
        self.runtime_version
    }

    pub(super) const fn runtime(&self) -> Option<Runtime> {
        Some(match self.runtime {
            RuntimeArg::Auto => return None,
            RuntimeArg::Containerd => Runtime::Containerd,
            RuntimeArg::Crio => Runtime::Crio,
            RuntimeArg::K3s => Runtime::K3s,
            RuntimeArg::Rke2 => Runtime::Rke2,
            RuntimeArg::Docker => Runtime::Docker,
            RuntimeArg::Podman => Runtime::Podman,
        })
    }
}

/// Reads a version such as `2.1.9` or `2.1`.
fn version(text: &str) -> Result<Version, String> {
    let found = Version::parse(text).or_else(|| Version::parse(&[text, ".0"].concat()));
    found.ok_or_else(|| "expected a version such as 2.1.9".to_owned())
}

impl TellArgs {
    pub(super) fn load(&self) -> Result<Declaration, Failure> {
        self.declaration.load_for(Dialect::Canonical)
    }

    pub(super) fn desired<'a>(
        &self,
        declaration: &'a Declaration,
        restart: RestartArg,
    ) -> Desired<'a> {
        Desired {
            declaration,
            form: match self.form {
                FormArg::CertsD => Form::CertsD,
                FormArg::Mirrors => Form::Mirrors,
                FormArg::Page => Form::Page,
            },
            fallback: self.fallback.into(),
            restart: restart.into(),
            header_over_http: self.header_over_http,
        }
    }
}

impl RestartArgs {
    pub(super) fn restarting(&self) -> Restarting {
        Restarting { command: self.restart_command.clone(), image: self.image.clone() }
    }
}

impl From<RestartArg> for Restart {
    fn from(restart: RestartArg) -> Self {
        match restart {
            RestartArg::Never => Self::Never,
            RestartArg::Allow => Self::Allow,
        }
    }
}
