//! Flags that several verbs share.

use std::{iter, path::PathBuf};

use clap::{
    ValueEnum as _,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use image_swap_core::{declaration::Declaration, mirror::Fallback};
use image_swap_node::{
    AskRegistry, ConfigForm, ContainerRuntime, DesiredConfig, Host, HostObservation, ObserveError,
    RUNTIMES, RestartPolicy, RestartSettings, Root, Version, observe,
};

use crate::{
    choice::{FALLBACKS, one_of},
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
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
    #[arg(long, value_parser = runtime(), default_value = "auto", help_heading = HOST)]
    runtime: RuntimeArg,
    /// The version of a runtime that does not run, as in the image of a host: it then
    /// reads all files when it starts, and nothing is restarted.
    #[arg(long, value_name = "VERSION", value_parser = version, help_heading = HOST)]
    runtime_version: Option<Version>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t, help_heading = OPTIONS)]
    pub(super) output: Output,
}

/// A runtime, or the one that is detected.
#[derive(Clone, Copy, Debug)]
struct RuntimeArg(Option<ContainerRuntime>);

/// Returns the parser of `--runtime`.
fn runtime() -> impl TypedValueParser<Value = RuntimeArg> {
    let auto = "The one that is there; of several the one that the kubelet uses";
    let auto = PossibleValue::new("auto").help(auto);
    let runtimes = RUNTIMES.iter().filter_map(ContainerRuntime::to_possible_value);
    PossibleValuesParser::new(iter::once(auto).chain(runtimes))
        .map(|name| RuntimeArg(ContainerRuntime::from_str(&name, false).ok()))
}

/// The host, the declaration, and the way in which the runtime is configured.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigureArgs {
    #[command(flatten)]
    pub(super) host: HostArgs,
    #[command(flatten)]
    pub(super) declaration: DeclarationArgs,
    /// How containerd is told.
    #[arg(long, value_enum, default_value_t, help_heading = TELLING)]
    form: ConfigForm,
    /// Whether the host may ask the public registry after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream", help_heading = TELLING)]
    fallback: Fallback,
    /// Send credentials over plain HTTP too, to a target that says `http://`.
    #[arg(long, help_heading = TELLING)]
    header_over_http: bool,
}

/// How it is restarted.
#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    /// Whether the runtime may be restarted.
    #[arg(long, value_enum, default_value_t, help_heading = RESTART)]
    pub(super) restart: RestartPolicy,
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

    /// Observes `host`, and requests the declared registry if `asks` has it so.
    pub(super) fn observe(
        &self,
        host: &Host,
        desired: Option<&DesiredConfig<'_>>,
        asks: AskRegistry,
    ) -> Result<HostObservation, ObserveError> {
        observe(host, self.runtime.0, desired, asks, self.runtime_version)
    }
}

/// Reads a version such as `2.1.9` or `2.1`.
fn version(text: &str) -> Result<Version, String> {
    let found = Version::parse(text).or_else(|| Version::parse(&[text, ".0"].concat()));
    found.ok_or_else(|| "expected a version such as 2.1.9".to_owned())
}

impl ConfigureArgs {
    pub(super) fn load(&self) -> Result<Declaration, Failure> {
        self.declaration.load_for(Dialect::Canonical)
    }

    pub(super) fn desired<'a>(
        &self,
        declaration: &'a Declaration,
        restart: RestartPolicy,
    ) -> DesiredConfig<'a> {
        let Self { form, fallback, header_over_http, .. } = *self;
        DesiredConfig { declaration, form, fallback, restart, header_over_http }
    }
}

impl RestartArgs {
    pub(super) fn restarting(&self) -> RestartSettings {
        RestartSettings { command: self.restart_command.clone(), image: self.image.clone() }
    }
}
