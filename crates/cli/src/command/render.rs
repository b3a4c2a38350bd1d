//! `image-swap render`

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use image_swap_core::{
    declaration::Declaration,
    render::{ConfigVersion, EndpointForm, FORMATS, Format, Options, Rendered, RenderedFile},
};

use crate::{
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
    fallback::FallbackArg,
    format, output, replace,
};

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// What to print.
    #[arg(value_parser = format::named, long_help = formats())]
    format: &'static Format,
    /// Write the files below this directory; `-` is standard output.
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,
    /// Whether nodes may ask the public registry after the mirrors.
    #[arg(long, value_enum, default_value_t)]
    fallback: FallbackArg,
    /// Print credentials on standard output; files hold them anyway.
    #[arg(long)]
    show_credentials: bool,
    /// Send credentials over plain HTTP too, to a target that says `http://`.
    #[arg(long)]
    header_over_http: bool,
    /// How endpoints of containerd-mirrors are written.
    #[arg(long, value_enum, default_value_t)]
    endpoint: EndpointArg,
    /// The version of containerd's configuration, for containerd-mirrors.
    #[arg(long, value_enum, default_value_t)]
    config_version: VersionArg,
}

/// [`EndpointForm`] as the command line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EndpointArg {
    /// As every registry answers it: `https://host/v2/path`.
    #[default]
    Url,
    /// As the page prints it: `host/path`.
    Page,
}

/// [`ConfigVersion`] as the command line has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum VersionArg {
    #[default]
    #[value(name = "2")]
    Two,
    #[value(name = "3")]
    Three,
}

fn formats() -> String {
    let lines = FORMATS.iter().map(|format| format!("{:<18} {}", format.name, format.about));
    format!("What to print:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self {
            declaration,
            format,
            out,
            fallback,
            show_credentials,
            header_over_http,
            endpoint,
            config_version,
        } = self;
        let declaration = declaration.load_for(Dialect::Canonical)?;
        let to_stdout = out == Path::new("-");
        let options = Options {
            fallback: fallback.into(),
            show_credentials: show_credentials || !to_stdout,
            endpoint: match endpoint {
                EndpointArg::Url => EndpointForm::Url,
                EndpointArg::Page => EndpointForm::Page,
            },
            config_version: match config_version {
                VersionArg::Two => ConfigVersion::Two,
                VersionArg::Three => ConfigVersion::Three,
            },
            header_over_http,
        };
        let Rendered { files, inexpressible, notes } = format.render(&declaration, options);
        if to_stdout {
            print(&files)?;
        } else {
            for file in &files {
                write(&out, file)?;
            }
        }
        for note in notes {
            output::note(&format!("{}: {note}", output::styled(output::ODD, "note")));
        }
        for row in &inexpressible {
            output::note(&cannot_hold(&declaration, format, row.rule, row.why));
        }
        Ok(if inexpressible.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn cannot_hold(declaration: &Declaration, format: &Format, rule: usize, why: &str) -> String {
    let rule = &declaration.rules().rules()[rule];
    let shown = match rule.kind {
        image_swap_core::rule::RuleKind::Noswap => &rule.target,
        _ => &rule.source,
    };
    format!(
        "{}: line {}, column {}: {} cannot hold the rule for {shown}: {why}",
        output::styled(output::BAD, "error"),
        rule.place.line,
        rule.place.column,
        format.name,
    )
}

/// One file as it is; of several each behind its name.
fn print(files: &[RenderedFile]) -> Result<(), Failure> {
    let mut out = output::stdout();
    for file in files {
        if files.len() > 1 {
            writeln!(out, "# ==> {} <==", file.path)?;
        }
        out.write_all(file.text.as_bytes())?;
        if files.len() > 1 {
            writeln!(out)?;
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
    replace::with_mode(&path, file.text.as_bytes(), mode).map_err(failed)
}
