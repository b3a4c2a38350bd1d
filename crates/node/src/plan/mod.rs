//! What to change on a host.

mod back;
mod changes;
mod contact;
mod diff;
mod order;
mod redact;
mod step;

use std::{collections::BTreeSet, fmt};

use image_swap_core::{nodes::Inexpressible, rule::Kind};
use image_swap_text::base64;

#[cfg(feature = "shell")]
pub(crate) use self::back::{Back, of as without_us};
pub(crate) use self::changes::{Changes, is_marked};
pub use self::{contact::Contact, step::Step};
use crate::{
    Case, Desired, File, HostPath, Ledger, Observed, Refusal, Restart, Runtime, case, containerd,
    containers, docker, owner, rancher,
};

/// What to change on a host, in order. Nothing is to be done where there is no step.
///
/// The steps hold credentials; what [`Plan::diff`] prints does not.
#[derive(Clone, Default)]
pub struct Plan {
    /// What to do. The ledger is written first and last, as a step like any other.
    pub steps: Vec<Step>,
    /// Why the runtime has to be restarted, if it has to be.
    pub restart: Option<String>,
    /// Whether that is allowed.
    pub restart_allowed: bool,
    /// What is there now, for each host that the runtime is told about.
    pub rows: Vec<Row>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The rows of docs/nodes.md that were met.
    pub cases: Vec<&'static Case>,
    /// The rules that the runtime cannot be told.
    pub inexpressible: Vec<Inexpressible>,
    /// Settings of host files for each target host.
    pub contacts: Vec<Contact>,
    /// What [`Self::diff`] shows nowhere.
    secrets: Vec<String>,
}

/// What a plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is as it should be.
    InPlace,
    /// There is something to do, and nothing has to be restarted.
    Change,
    /// There is something to do, with a restart, which is allowed.
    ChangeAndRestart,
    /// There is something to do that needs a restart, which is not allowed: do nothing.
    NeedsRestart,
}

/// What a runtime is told about one registry host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The host that references name, `_default` for all others.
    pub host: String,
    /// The file that tells, or should.
    pub path: HostPath,
    /// How that is.
    pub state: State,
    /// The URLs that are asked for it, in order, without the repository.
    pub urls: Vec<String>,
}

/// How a file of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be, and read by the runtime.
    InPlace,
    /// Not there.
    Missing,
    /// Ours, and no longer what is declared.
    Outdated,
    /// Ours, and changed by somebody else since.
    Changed,
    /// Somebody else's.
    Foreign,
    /// As it should be, but the runtime does not read it yet.
    Unread,
}

impl Plan {
    /// What the plan comes to.
    pub fn outcome(&self) -> Outcome {
        match (self.steps.is_empty(), &self.restart) {
            (true, _) => Outcome::InPlace,
            (false, None) => Outcome::Change,
            (false, Some(_)) if self.restart_allowed => Outcome::ChangeAndRestart,
            (false, Some(_)) => Outcome::NeedsRestart,
        }
    }

    /// The steps that take back what [`Self::steps`] did to `observed`, which is
    /// the host before them; also where only some of them were carried out. The
    /// ledger, which is written first, is taken back when no file of ours is left.
    pub fn undo(&self, observed: &Observed) -> Vec<Step> {
        let mut undo: Vec<Step> = Vec::new();
        let mut seen = BTreeSet::new();
        for step in &self.steps {
            match step {
                Step::MakeDirectory { path, .. } => {
                    undo.push(Step::RemoveDirectory { path: path.clone() });
                }
                Step::Write { path, .. } | Step::Remove { path } if seen.insert(path) => {
                    undo.push(match observed.files.file(path) {
                        Some(file) => Step::Write { path: path.clone(), file: file.clone() },
                        None => Step::Remove { path: path.clone() },
                    });
                }
                Step::RemoveDirectory { path } => {
                    let mode = if Ledger::directories().contains(path) { 0o700 } else { 0o755 };
                    undo.push(Step::MakeDirectory { path: path.clone(), mode });
                }
                _ => {}
            }
        }
        undo.reverse();
        undo
    }

    /// The file that is to replace the one at `path`, if one is.
    pub fn written(&self, path: &HostPath) -> Option<&File> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Write { path: found, file } if found == path => Some(file),
            _ => None,
        })
    }
}

/// Not the steps: they hold credentials.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> =
            self.steps.iter().filter_map(Step::path).map(HostPath::to_string).collect();
        f.debug_struct("Plan")
            .field("paths", &paths)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// What makes a host as `desired`.
///
/// # Errors
/// If the host is not ours to edit, or its configuration is one that cannot be
/// edited without breaking something: see the table in docs/nodes.md.
pub fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    owner::check(observed)?;
    let mut plan = match observed.runtime {
        Runtime::Containerd => containerd::plan(desired, observed),
        Runtime::Crio | Runtime::Podman => containers::plan(desired, observed),
        Runtime::K3s | Runtime::Rke2 => rancher::plan(desired, observed),
        Runtime::Docker => docker::plan(desired, observed),
    }?;
    // A rule without a target exempts its images.
    let rules = desired.declaration.rules().rules().iter().enumerate();
    let rules = rules.filter(|(_, it)| it.kind != Kind::Noswap && !it.target.is_empty());
    let is_left = |id| plan.inexpressible.iter().any(|it| it.rule == id);
    let (left, rest): (Vec<_>, Vec<_>) = rules.partition(|(id, _)| is_left(*id));
    // Trust for targets may be all that there is to write.
    let removes = |step: &Step| *step == Step::Remove { path: Ledger::path() };
    let leaves_nothing = match &plan.steps[..] {
        [] => !matches!(observed.ledger(), Ok(Some(_))),
        steps => steps.iter().any(removes),
    };
    let none = rest.is_empty() && leaves_nothing;
    if let Some(first) = plan.inexpressible.first().filter(|_| none) {
        let runtime = observed.runtime;
        let found = format!("{runtime} can express none of {} rules: {}", left.len(), first.why);
        return Err(Refusal::new(&case::NO_RULE, found));
    }
    plan.secrets.extend(secrets(desired));
    Ok(plan)
}

/// What takes our edits away again: a file that still is what we last wrote gets
/// its very bytes back, in another only our edits are taken back.
///
/// # Errors
/// If the ledger of what we wrote cannot be read.
pub fn restore(observed: &Observed, restart: Restart) -> Result<Plan, Refusal> {
    Changes::none(observed, restart)?.plan()
}

/// Every spelling of the declared credentials.
fn secrets(desired: &Desired<'_>) -> Vec<String> {
    let Some(registry) = &desired.declaration.registry else { return Vec::new() };
    let (username, password) = (registry.username.expose(), registry.password.expose());
    if username.is_empty() {
        return Vec::new();
    }
    let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    vec![base64::encode([username, ":", password].concat()), json(password), password.to_owned()]
}
