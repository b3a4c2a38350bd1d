//! `image-swap node status`: prints the state of a host.

use std::{io::Write, process::ExitCode};

use image_swap_core::declaration::Declaration;
use image_swap_node::{
    CriStatus, Drift, DriftState, HostObservation, HostPlan, PlanOutcome, PlanRefusal,
    RegistryProbe, RestartPolicy, drift,
};
use serde_json::json;

use super::{options::ConfigureArgs, report};
use crate::{
    failure::Failure,
    output::{self, BAD, GOOD, JsonFields, Output, STRONG, styled},
};

const EXAMPLES: &str = "\
Examples:
  image-swap node status
  image-swap node status -f examples/registry-secret.yaml -o json";

/// Arguments of `node status`. A declaration is compared with the configuration of the host.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure } = self;
        let args = &configure.host;
        let host = args.host()?;
        let absent = configure.declaration.is_absent();
        let declaration = if absent { None } else { Some(configure.load()?) };
        let desired = declaration.as_ref().map(|it| configure.desired(it, RestartPolicy::Never));
        let seen =
            args.observe(&host, desired.as_ref(), RegistryProbe::Skip).map_err(Failure::broken)?;
        let drift = drift(&seen.observed).map_err(Failure::broken)?;
        let planned =
            desired.as_ref().map(|desired| image_swap_node::plan(desired, &seen.observed));
        let status = NodeStatus {
            seen: &seen,
            drift: drift.as_ref(),
            planned: planned.as_ref(),
            declaration: declaration.as_ref(),
            rolled_back: host.rolled_back(),
            interrupted: host.is_interrupted(),
        };
        let mut out = output::stdout();
        match args.output {
            Output::Json => status.fields().print(&mut out)?,
            Output::Text => status.print(&mut out)?,
        }
        output::end(&mut out, status.is_good())
    }
}

/// The status of a host.
struct NodeStatus<'a> {
    seen: &'a HostObservation,
    drift: Option<&'a Drift>,
    planned: Option<&'a Result<HostPlan, PlanRefusal>>,
    declaration: Option<&'a Declaration>,
    rolled_back: Option<String>,
    interrupted: bool,
}

impl NodeStatus<'_> {
    fn is_good(&self) -> bool {
        let kept = self.drift.is_none_or(|drift| {
            drift.files.iter().all(|(_, standing)| *standing == DriftState::AsWritten)
        });
        let in_place =
            self.outcome().is_none_or(|outcome| outcome == report::name(PlanOutcome::InPlace));
        let alive = matches!(self.seen.daemon.answer, CriStatus::Alive(_) | CriStatus::NotQueried);
        kept && in_place && alive && self.rolled_back.is_none() && !self.interrupted
    }

    /// Returns the reason for the outcome of the plan.
    fn reason(&self) -> Option<String> {
        self.planned?.as_ref().map_or_else(|it| Some(it.to_string()), |plan| plan.restart.clone())
    }

    /// Returns the word for the outcome of the plan.
    fn outcome(&self) -> Option<&'static str> {
        Some(self.planned?.as_ref().map_or("refused", |plan| report::name(plan.outcome())))
    }

    fn fields(&self) -> JsonFields {
        let HostObservation { observed, daemon, .. } = self.seen;
        let files = self.files().map(|(path, state)| json!({"path": path, "state": state}));
        let fields = JsonFields::of(self.seen)
            .with("socket", &daemon.socket)
            .with("cri", cri(&daemon.answer).0)
            .with("config", &observed.config)
            .with("form", self.drift.map(|drift| drift.form))
            .with("files", files.collect::<Vec<_>>())
            .with("outcome", self.outcome())
            .with("why", self.reason());
        fields
            .with_hosts(self.plan().unwrap_or(&HostPlan::default()), self.declaration)
            .with("rolled_back", &self.rolled_back)
            .with("interrupted", self.interrupted)
    }

    fn plan(&self) -> Option<&HostPlan> {
        self.planned?.as_ref().ok()
    }

    fn files(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let files = self.drift.into_iter().flat_map(|drift| &drift.files);
        files.map(|(path, state)| (path.as_str(), name(*state)))
    }

    fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        let HostObservation { observed, daemon, .. } = self.seen;
        let version = observed.version.map_or("unknown".to_owned(), |version| version.to_string());
        let (word, detail) = cri(&daemon.answer);
        let strong = |text: &str| styled(STRONG, &format!("{text:<9}"));
        writeln!(out, "{} {} {version}", strong("runtime"), observed.runtime)?;
        writeln!(out, "{} {} ({word}{detail})", strong("socket"), daemon.socket)?;
        writeln!(out, "{} {}", strong("config"), observed.config)?;
        match self.drift {
            None => writeln!(out, "{} nothing", strong("applied"))?,
            Some(drift) => writeln!(out, "{} {}", strong("applied"), drift.form)?,
        }
        for (path, state) in self.files() {
            let style = if state == name(DriftState::AsWritten) { GOOD } else { BAD };
            writeln!(out, "  {} {path}", styled(style, &format!("{state:<10}")))?;
        }
        let plan = self.plan();
        let rows = plan.map(|plan| plan.rows.as_slice()).unwrap_or_default();
        let width = rows.iter().map(|row| row.host.len()).max().unwrap_or_default();
        for row in rows {
            let state = report::state(row.state);
            let style = if state == "in-place" { GOOD } else { BAD };
            let (host, state) = (&row.host, styled(style, &format!("{state:<8}")));
            writeln!(out, "  {host:<width$} {state} {}", row.urls.join(", "))?;
        }
        if let Some(outcome) = self.outcome() {
            let reason = self.reason().map_or(String::new(), |reason| [": ", &reason].concat());
            writeln!(out, "{} {outcome}{reason}", strong("declared"))?;
        }
        if let Some(rolled_back) = &self.rolled_back {
            writeln!(out, "{} {rolled_back}", styled(BAD, "rolled back"))?;
        }
        if self.interrupted {
            writeln!(out, "{} {}", styled(BAD, "interrupted"), report::INTERRUPTED)?;
        }
        if let Some(plan) = plan {
            report::notes(plan, self.seen, self.declaration);
        }
        Ok(())
    }
}

fn cri(answer: &CriStatus) -> (&'static str, String) {
    let colon = |detail: &str| [": ", detail].concat();
    match answer {
        CriStatus::Alive(detail) => ("alive", colon(detail)),
        CriStatus::NoCri(detail) => ("no-cri", colon(detail)),
        CriStatus::Silent(detail) => ("silent", colon(detail)),
        CriStatus::NotQueried => ("not-asked", String::new()),
    }
}

const fn name(standing: DriftState) -> &'static str {
    match standing {
        DriftState::AsWritten => "as-written",
        DriftState::Changed => "changed",
        DriftState::Gone => "gone",
    }
}
