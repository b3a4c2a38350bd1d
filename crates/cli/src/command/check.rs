//! `image-swap check`

use std::{io::Write, process::ExitCode};

use image_swap_core::{finding::Finding, render::Format};

use crate::{
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
    fallback::FallbackArg,
    format,
    output::{self, Output},
};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// How the rules are read.
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// What nodes read: which rules it cannot hold [default: containerd].
    #[arg(long, value_parser = format::named, conflicts_with = "dialect")]
    format: Option<&'static Format>,
    /// Whether nodes may ask the public registry after the mirrors.
    #[arg(long, value_enum, default_value_t, requires = "format")]
    fallback: FallbackArg,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, dialect, format, fallback, output } = self;
        let declaration = declaration.load()?;
        let findings = match (format, dialect) {
            (Some(format), _) => declaration.findings_told_in(format, fallback.into()),
            (None, Dialect::Canonical) => declaration.findings().to_vec(),
            (None, Dialect::Imageswap) => declaration.imageswap_findings(),
        };
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        let mut out = output::stdout();
        match output {
            Output::Json => output::findings_json(&mut out, &findings)?,
            Output::Text => {
                if !findings.is_empty() {
                    writeln!(out, "{}", output::findings(&findings, Some(&declaration)))?;
                }
                writeln!(out, "{}", summary(&findings, errors, declaration.rules().rules().len()))?;
            }
        }
        out.flush()?;
        Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn summary(findings: &[Finding], errors: usize, rules: usize) -> String {
    let style = if errors > 0 { output::BAD } else { output::GOOD };
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let (errors, warnings) = (count(errors, "error"), count(findings.len() - errors, "warning"));
    output::styled(style, &format!("{}: {errors}, {warnings}", count(rules, "rule")))
}
