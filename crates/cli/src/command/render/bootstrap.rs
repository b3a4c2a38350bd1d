//! `image-swap render bootstrap`: prints a script for a new machine.

use std::process::ExitCode;

use image_swap_core::{
    declaration::Declaration,
    mirror::Fallback,
    render::{
        CONTAINERD, Options, Rendered, RenderedFile,
        bootstrap::{LARGE, bootstrap, has_template_mark},
    },
};

use crate::{
    choice::{FALLBACKS, one_of},
    command::render::report::report,
    declaration::{DeclarationArgs, DeclarationUse, Dialect},
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  image-swap render bootstrap -f examples/registry-secret.yaml > bootstrap.sh
  image-swap render bootstrap -f examples/registry-secret.yaml --fallback never
  image-swap render bootstrap -f examples/values.yaml --restart-command /usr/local/bin/restart";

/// Flags of the content of new machines' files.
#[derive(Debug, clap::Args)]
pub(super) struct MachineArgs {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// The registries that nodes try after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream")]
    fallback: Fallback,
    /// Include user name and password, which the metadata service of a machine shows to its pods.
    #[arg(long, alias = "credentials")]
    show_credentials: bool,
    /// Send credentials over plain HTTP too, to targets with `http://`.
    #[arg(long)]
    header_over_http: bool,
    /// The shell command that restarts containerd, instead of that of the service manager.
    #[arg(long, value_name = "COMMAND", value_parser = command)]
    pub(super) restart_command: Option<String>,
}

/// Arguments of `render bootstrap`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    machine: MachineArgs,
}

impl MachineArgs {
    /// Loads the declaration, and returns it with the options of rendering.
    pub(super) fn load(&self) -> Result<(Declaration, Options), Failure> {
        let declaration = self.declaration.load_for(Dialect::Canonical, DeclarationUse::Nodes)?;
        let options = Options {
            fallback: self.fallback,
            show_credentials: self.show_credentials,
            header_over_http: self.header_over_http,
            ..Options::default()
        };
        Ok((declaration, options))
    }
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let (declaration, options) = self.machine.load()?;
        let restart = self.machine.restart_command.as_deref();
        let rendered = bootstrap(&declaration, options, restart);
        let Rendered { files, .. } = &rendered;
        for file in files {
            output::print(file.text.as_bytes())?;
        }
        note_size(files);
        Ok(report(&declaration, &CONTAINERD, &rendered))
    }
}

/// Prints a note if `files` are a large part of the user data of a machine.
pub(super) fn note_size(files: &[RenderedFile]) {
    let size: usize = files.iter().map(|file| file.text.len()).sum();
    if size > LARGE {
        let what = if files.len() == 1 { "script has" } else { "files have" };
        output::note(&format!(
            "{}: the {what} {size} bytes; clouds limit user data, such as Amazon EC2 to 16 KiB",
            output::styled(output::ODD, "note")
        ));
    }
}

/// Parses a shell command.
fn command(text: &str) -> Result<String, String> {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (is_printable && !has_template_mark(text)).then(|| text.to_owned()).ok_or_else(|| {
        "expected a line of ASCII without {{, {%, {#, ${, %{ and <%, which templates interpret"
            .to_owned()
    })
}
