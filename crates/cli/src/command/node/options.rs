//! Flags of several `node` commands.

use std::{
    iter,
    path::{Path, PathBuf},
};

use clap::{
    ValueEnum as _,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use image_swap_core::{declaration::Declaration, mirror::Fallback};
use image_swap_node::{
    ConfigForm, ContainerRuntime, DesiredConfig, Host, HostObservation, ObserveError, RUNTIMES,
    RegistryProbe, RestartPolicy, RestartSettings, Root, Version, observe,
};

use crate::{
    choice::{FALLBACKS, one_of},
    declaration::{DeclarationArgs, DeclarationUse, Dialect},
    failure::Failure,
    output::Output,
};

const HOST: &str = "Host";
const CONFIGURATION: &str = "Runtime configuration";
const RESTART: &str = "Restart";

/// The host, its runtime, and the form of the output.
#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// The root directory of the host.
    #[arg(long, value_name = "DIR", default_value = "/", help_heading = HOST)]
    root: PathBuf,
    /// The container runtime.
    #[arg(long, value_parser = runtime(), default_value = "auto", help_heading = HOST)]
    runtime: RuntimeArg,
    /// The version of a runtime that does not run, as in a machine image. It reads its
    /// files when it starts: nothing is restarted.
    #[arg(long, value_name = "VERSION", value_parser = version, help_heading = HOST)]
    runtime_version: Option<Version>,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

/// A runtime; `None` if it is detected.
#[derive(Clone, Copy, Debug)]
struct RuntimeArg(Option<ContainerRuntime>);

/// Returns the parser of `--runtime`.
fn runtime() -> impl TypedValueParser<Value = RuntimeArg> {
    let auto = "The installed runtime; of several the one that the kubelet uses";
    let auto = PossibleValue::new("auto").help(auto);
    let runtimes = RUNTIMES.iter().filter_map(ContainerRuntime::to_possible_value);
    PossibleValuesParser::new(iter::once(auto).chain(runtimes))
        .map(|name| RuntimeArg(ContainerRuntime::from_str(&name, false).ok()))
}

/// The host, the declaration and the form of the runtime's configuration.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigureArgs {
    #[command(flatten)]
    pub(super) host: HostArgs,
    #[command(flatten)]
    pub(super) declaration: DeclarationArgs,
    /// The form of containerd's mirror configuration.
    #[arg(long, value_enum, default_value_t, help_heading = CONFIGURATION)]
    form: ConfigForm,
    /// The registries that the host tries after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream", help_heading = CONFIGURATION)]
    fallback: Fallback,
    /// Send credentials over plain HTTP too, to targets with `http://`.
    #[arg(long, help_heading = CONFIGURATION)]
    header_over_http: bool,
}

/// The restart of the runtime.
#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    /// Allow a restart of the runtime.
    #[arg(long, value_enum, default_value_t, help_heading = RESTART)]
    pub(super) restart: RestartPolicy,
    /// The restart command, for `sh` [default: systemctl restart UNIT].
    #[arg(long, value_name = "COMMAND", help_heading = RESTART)]
    restart_command: Option<String>,
    /// An image that the runtime must be able to pull after the restart
    /// [default: an image that the host runs].
    #[arg(long, value_name = "REF", help_heading = RESTART)]
    image: Option<String>,
}

impl HostArgs {
    pub(super) fn host(&self) -> Result<Host, Failure> {
        host(&self.root)
    }

    /// Observes `host`, and requests the declared registry if `probe` is `Probe`.
    pub(super) fn observe(
        &self,
        host: &Host,
        desired: Option<&DesiredConfig<'_>>,
        probe: RegistryProbe,
    ) -> Result<HostObservation, ObserveError> {
        observe(host, self.runtime.0, desired, probe, self.runtime_version)
    }
}

/// Returns the host whose `/` is `root`.
pub(super) fn host(root: &Path) -> Result<Host, Failure> {
    let found = Root::new(root).map_err(|error| {
        Failure::Unusable(Failure::file("use the root directory", root, &error))
    })?;
    Ok(Host::new(found))
}

/// Reads a version such as `2.1.9` or `2.1`.
fn version(text: &str) -> Result<Version, String> {
    let found = Version::parse(text).or_else(|| Version::parse(&[text, ".0"].concat()));
    found.ok_or_else(|| "expected a version such as 2.1.9".to_owned())
}

impl ConfigureArgs {
    pub(super) fn load(&self) -> Result<Declaration, Failure> {
        self.declaration.load_for(Dialect::Canonical, DeclarationUse::Nodes)
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
