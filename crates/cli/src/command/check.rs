//! `image-swap check`: prints the diagnostics of a declaration.

use std::{io::Write, process::ExitCode};

use image_swap_core::{
    declaration::Declaration,
    diagnostic::{Code, Diagnostic, Severity},
    mirror::Fallback,
    render::Format,
};
use image_swap_text::position::Position;

use crate::{
    choice::{self, FALLBACKS, one_of},
    declaration::{DeclarationArgs, Dialect},
    failure::Failure,
    output::{self, Output, counted},
};

const EXAMPLES: &str = "\
Examples:
  image-swap check -f examples/registry-secret.yaml
  image-swap check -f examples/values.yaml --format registries-conf
  image-swap check -f examples/imageswap-map.conf -o json
  image-swap check --strict --mirrors docker.io::harbor.example.org/docker.io";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// The dialect of the rules.
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// The format of `render` whose limits are checked [default: containerd].
    #[arg(long, value_parser = choice::format, conflicts_with = "dialect")]
    format: Option<&'static Format>,
    /// The registries that nodes try after the mirrors.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream", requires = "format")]
    fallback: Fallback,
    /// Exit with 1 for warnings too.
    #[arg(long)]
    strict: bool,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { declaration, dialect, format, fallback, strict, output } = self;
        let declaration = declaration.load()?;
        let mut findings = match (format, dialect) {
            (Some(format), _) => declaration.lint_for(format.capabilities(), fallback),
            (None, Dialect::Canonical) => declaration.findings().to_vec(),
            (None, Dialect::Imageswap) => declaration.imageswap_findings(),
        };
        findings.extend(format.and_then(|format| short_names(&declaration, format)));
        for finding in &mut findings {
            // A cluster may have a declaration without effect. A declaration that a user checks
            // is meant to have one.
            if finding.code == Code::SilentNoOp {
                finding.severity = Severity::Error;
            }
        }
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
        let is_good = errors == 0 && (findings.is_empty() || !strict);
        output::end(&mut out, is_good)
    }
}

/// Formats of nodes that look up names without a registry in `registries.conf`.
const WITH_SHORT_NAMES: [&str; 2] = ["registries-conf", "openshift"];

/// Returns a warning if pods and nodes can disagree about names without a registry.
fn short_names(declaration: &Declaration, format: &Format) -> Option<Diagnostic> {
    let rules = declaration.rules();
    let covers_hub = rules.swap("image-swap-probe").is_ok_and(|decision| decision.changed());
    let message = "pods pull names without a registry from Docker Hub, but CRI-O and podman look \
                   them up: they try aliases and unqualified-search-registries first";
    (covers_hub && WITH_SHORT_NAMES.contains(&format.name)).then(|| {
        Diagnostic::warning(Code::ShortNames, Position::START, message)
            .within(declaration.key())
            .hint("name the registry in images, as in docker.io/library/nginx")
    })
}

fn summary(findings: &[Diagnostic], errors: usize, rules: usize) -> String {
    let style = if errors > 0 { output::BAD } else { output::GOOD };
    let warnings = counted(findings.len() - errors, "warning");
    let errors = counted(errors, "error");
    output::styled(style, &format!("{}: {errors}, {warnings}", counted(rules, "rule")))
}
