//! `image-swap node status`

use std::{io::Write, process::ExitCode};

use image_swap_core::declaration::Declaration;
use image_swap_node::{
    Answer, Asks, Drift, Outcome, Plan, Refusal, Restart, Seen, Standing, drift,
};
use serde::Serialize;

use super::{
    options::{ConfigureArgs, broken},
    report,
};
use crate::{
    failure::Failure,
    output::{self, BAD, GOOD, Output, STRONG, styled},
};

/// Arguments of `node status`. Without a declaration it is about what we wrote
/// last; with one, also about what is declared now.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
}

/// How a host is, as programs read it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    runtime: report::RuntimeRow,
    socket: &'a str,
    cri: &'static str,
    config: &'a str,
    form: Option<String>,
    files: Vec<FileRow<'a>>,
    outcome: Option<&'static str>,
    why: Option<String>,
    hosts: Vec<report::HostRow<'a>>,
    inexpressible: Vec<report::RuleRow<'a>>,
    rolled_back: Option<String>,
    interrupted: bool,
}

#[derive(Serialize)]
struct FileRow<'a> {
    path: &'a str,
    state: &'static str,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure } = self;
        let args = &configure.host;
        let host = args.host()?;
        let absent = configure.declaration.is_absent();
        let declaration = if absent { None } else { Some(configure.load()?) };
        let desired = declaration.as_ref().map(|it| configure.desired(it, Restart::Never));
        let seen = args.observe(&host, desired.as_ref(), Asks::Nobody).map_err(broken)?;
        let drift = drift(&seen.observed).map_err(broken)?;
        let planned =
            desired.as_ref().map(|desired| image_swap_node::plan(desired, &seen.observed));
        let status = Status {
            seen: &seen,
            drift: drift.as_ref(),
            planned: planned.as_ref(),
            declaration: declaration.as_ref(),
            rolled_back: host.rolled_back(),
            interrupted: host.is_interrupted(),
        };
        let mut out = output::stdout();
        match args.output {
            Output::Json => output::json_line(&mut out, &status.report())?,
            Output::Text => status.print(&mut out)?,
        }
        out.flush()?;
        Ok(if status.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// All that is known.
struct Status<'a> {
    seen: &'a Seen,
    drift: Option<&'a Drift>,
    planned: Option<&'a Result<Plan, Refusal>>,
    declaration: Option<&'a Declaration>,
    rolled_back: Option<String>,
    interrupted: bool,
}

impl Status<'_> {
    fn is_good(&self) -> bool {
        let kept = self.drift.is_none_or(|drift| {
            drift.files.iter().all(|(_, standing)| *standing == Standing::AsWritten)
        });
        let told = match self.planned {
            None => true,
            Some(Ok(plan)) => plan.outcome() == Outcome::InPlace,
            Some(Err(_)) => false,
        };
        let alive = matches!(self.seen.daemon.answer, Answer::Alive(_) | Answer::NotAsked);
        kept && told && alive && self.rolled_back.is_none() && !self.interrupted
    }

    fn why(&self) -> Option<String> {
        match self.planned? {
            Ok(plan) => plan.restart.clone(),
            Err(refusal) => Some(refusal.to_string()),
        }
    }

    fn outcome(&self) -> Option<&'static str> {
        Some(match self.planned? {
            Ok(plan) => report::name(plan.outcome()),
            Err(_) => "refused",
        })
    }

    fn report(&self) -> Report<'_> {
        let Seen { observed, daemon, .. } = self.seen;
        let plan = self.planned.and_then(|planned| planned.as_ref().ok());
        Report {
            runtime: report::runtime(self.seen),
            socket: daemon.socket.as_str(),
            cri: cri(&daemon.answer).0,
            config: observed.config.as_str(),
            form: self.drift.map(|drift| drift.form.to_string()),
            files: self.files(),
            outcome: self.outcome(),
            why: self.why(),
            hosts: plan
                .map(|plan| plan.rows.iter().map(report::host).collect())
                .unwrap_or_default(),
            inexpressible: plan
                .map(|plan| report::rules(plan, self.declaration))
                .unwrap_or_default(),
            rolled_back: self.rolled_back.clone(),
            interrupted: self.interrupted,
        }
    }

    fn files(&self) -> Vec<FileRow<'_>> {
        let files = self.drift.into_iter().flat_map(|drift| &drift.files);
        files
            .map(|(path, standing)| FileRow { path: path.as_str(), state: name(*standing) })
            .collect()
    }

    fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        let Seen { observed, daemon, .. } = self.seen;
        let version = observed.version.map_or("unknown".to_owned(), |version| version.to_string());
        let (word, said) = cri(&daemon.answer);
        let strong = |text: &str| styled(STRONG, &format!("{text:<9}"));
        writeln!(out, "{} {} {version}", strong("runtime"), observed.runtime)?;
        writeln!(out, "{} {} ({word}{said})", strong("socket"), daemon.socket)?;
        writeln!(out, "{} {}", strong("config"), observed.config)?;
        match self.drift {
            None => writeln!(out, "{} nothing", strong("applied"))?,
            Some(drift) => writeln!(out, "{} {}", strong("applied"), drift.form)?,
        }
        for FileRow { path, state } in self.files() {
            let style = if state == name(Standing::AsWritten) { GOOD } else { BAD };
            writeln!(out, "  {} {path}", styled(style, &format!("{state:<10}")))?;
        }
        let plan = self.planned.and_then(|planned| planned.as_ref().ok());
        let rows = plan.map(|plan| plan.rows.as_slice()).unwrap_or_default();
        let width = rows.iter().map(|row| row.host.len()).max().unwrap_or_default();
        for row in rows {
            let state = report::state(row.state);
            let style = if state == "in-place" { GOOD } else { BAD };
            let (host, state) = (&row.host, styled(style, &format!("{state:<8}")));
            writeln!(out, "  {host:<width$} {state} {}", row.urls.join(", "))?;
        }
        if let Some(outcome) = self.outcome() {
            let why = self.why().map_or(String::new(), |why| [": ", &why].concat());
            writeln!(out, "{} {outcome}{why}", strong("declared"))?;
        }
        if let Some(rolled_back) = &self.rolled_back {
            writeln!(out, "{} {rolled_back}", styled(BAD, "taken back"))?;
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

fn cri(answer: &Answer) -> (&'static str, String) {
    let colon = |said: &str| [": ", said].concat();
    match answer {
        Answer::Alive(said) => ("alive", colon(said)),
        Answer::NoCri(said) => ("no-cri", colon(said)),
        Answer::Silent(said) => ("silent", colon(said)),
        Answer::NotAsked => ("not-asked", String::new()),
    }
}

const fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::AsWritten => "as-written",
        Standing::Changed => "changed",
        Standing::Gone => "gone",
    }
}
