//! `image-swap node verify`: pulls an image of each registry, and prints its origin.

use std::{io::Write, process::ExitCode};

use image_swap_core::{declaration::Declaration, mirror::Fallback};
use image_swap_node::{
    CriStatus, FileState, HostObservation, HostPlan, PlanOutcome, RegistryProbe, RestartPolicy,
    plan,
    verify::{Candidate, PullOrigin, PullVerdict, Verifier, candidates},
};

use super::{options::ConfigureArgs, report};
use crate::{
    failure::Failure,
    output::{self, BAD, GOOD, JsonFields, ODD, Output, styled},
};

const EXAMPLES: &str = "\
Examples:
  image-swap node verify -f examples/registry-secret.yaml
  image-swap node verify -f examples/registry-secret.yaml --image docker.io/library/nginx:1.25";

/// Arguments of `node verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
    /// The image to pull for its registry instead of one of the host's images; may be repeated.
    #[arg(long, value_name = "REF")]
    image: Vec<String>,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure, image } = self;
        let args = &configure.host;
        let output = args.output;
        let declaration = configure.load()?;
        let desired = configure.desired(&declaration, RestartPolicy::Never);
        let host = args.host()?;
        let seen =
            args.observe(&host, Some(&desired), RegistryProbe::Probe).map_err(Failure::broken)?;
        let plan = match plan(&desired, &seen.observed) {
            Ok(plan) => plan,
            Err(refusal) => return report::refusal(&refusal, &seen, output),
        };
        if seen.daemon.answer == CriStatus::NotQueried {
            let runtime = seen.observed.runtime;
            return Err(Failure::Broken(format!(
                "verify needs a runtime with CRI, found {runtime}; pull an image with it and read the log of the mirror"
            )));
        }
        let mut client = seen.daemon.client().map_err(Failure::broken)?;
        let images = client.images().map_err(Failure::broken)?;
        let known: Vec<String> = images.into_iter().flat_map(|image| image.tags).collect();
        let verifier = Verifier {
            declaration: &declaration,
            fallback: desired.fallback,
            header_over_http: desired.header_over_http,
            contacts: &plan.contacts,
        };
        let mut out = output::stdout();
        let mut good = true;
        let candidates = candidates(&declaration, &image, &known);
        for (number, candidate) in candidates.iter().enumerate() {
            if let Some(reference) = &candidate.reference {
                output::note(&format!("{} of {}: {reference}", number + 1, candidates.len()));
            }
            let verdict = verifier.verify(&mut client, candidate).map_err(Failure::broken)?;
            let verdict = doubted(verdict, &plan, candidate, desired.fallback);
            good &= verdict.source == PullOrigin::Mirror;
            print(&verdict, output, &mut out)?;
            out.flush()?;
        }
        if candidates.is_empty() {
            good = false;
            output::line(&nothing(&declaration, &plan, &seen));
        }
        output::end(&mut out, good)
    }
}

/// Returns `verdict`, or `NotMirror` if the runtime does not use the planned configuration:
/// it then did not pull from the mirror.
fn doubted(
    verdict: PullVerdict,
    plan: &HostPlan,
    candidate: &Candidate,
    fallback: Fallback,
) -> PullVerdict {
    let row = plan.rows.iter().find(|row| row.host == candidate.host);
    let read =
        row.map_or(plan.outcome() == PlanOutcome::InPlace, |row| row.state == FileState::InPlace);
    if read || !matches!(verdict.source, PullOrigin::Mirror | PullOrigin::NotMirror) {
        return verdict;
    }
    let state = row.map_or("not in place", |row| report::state(row.state));
    let reason = format!(
        "the runtime's configuration for {} is {state} (fallback {fallback}); see `image-swap node plan`",
        candidate.host
    );
    PullVerdict { source: PullOrigin::NotMirror, reason, ..verdict }
}

fn nothing(declaration: &Declaration, plan: &HostPlan, seen: &HostObservation) -> String {
    let rules = declaration.rules().rules().len();
    let hosts = plan.rows.len();
    format!(
        "{}: expected a rule for a registry, found none among {rules}; {} is configured for {hosts} hosts",
        styled(BAD, "error"),
        seen.observed.runtime
    )
}

fn print(verdict: &PullVerdict, output: Output, out: &mut impl Write) -> Result<(), Failure> {
    let PullVerdict { host, reference, digest, source, reason } = verdict;
    let (style, word) = match source {
        PullOrigin::Mirror => (GOOD, "mirror"),
        PullOrigin::NotMirror => (BAD, "elsewhere"),
        PullOrigin::Unknown => (ODD, "unknown"),
        PullOrigin::Failed => (BAD, "failed"),
        PullOrigin::Skipped => (ODD, "untried"),
    };
    match output {
        Output::Json => JsonFields::default()
            .with("host", host)
            .with("reference", reference)
            .with("digest", digest)
            .with("source", word)
            .with("why", reason)
            .print(out),
        Output::Text => {
            let shown = reference.as_deref().unwrap_or(host);
            Ok(writeln!(out, "{} {shown}: {reason}", styled(style, &format!("{word:<9}")))?)
        }
    }
}
