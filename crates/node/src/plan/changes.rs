//! From what a host should hold to steps, and a ledger of them.

use std::collections::BTreeSet;

use super::{Plan, Step, back};
use crate::{
    Before, Case, Desired, Entry, File, Form, HostPath, Ledger, Observed, Refusal, Restart, State,
    Written, case,
};

/// What a host should hold, collected.
pub(crate) struct Changes<'a> {
    observed: &'a Observed,
    old: Option<Ledger>,
    form: Form,
    restart: Restart,
    wanted: Vec<Want>,
    /// How the runtime is told, if the main file changes.
    pub(crate) telling: Telling,
    /// Why the runtime has to be told although its main file stays as it is.
    pub(crate) unread: Option<String>,
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) notes: Vec<String>,
}

/// A file that should be there.
struct Want {
    path: HostPath,
    file: File,
    part: Part,
}

/// How much of a file is ours.
enum Part {
    /// All of it.
    Whole,
    /// Some lines: what it would be without us.
    Edited(Option<File>),
}

/// How a runtime is told that its main file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    #[expect(dead_code, reason = "runtimes without a daemon come next")]
    /// It reads files whenever it pulls.
    Nothing,
    #[expect(dead_code, reason = "CRI-O and dockerd come next")]
    /// It reads them again when asked to.
    Reload,
    /// It reads them when it starts.
    Restart,
}

impl<'a> Changes<'a> {
    /// Nothing yet.
    ///
    /// # Errors
    /// If the host was told in another form.
    pub(crate) fn new(
        observed: &'a Observed,
        desired: &Desired<'_>,
        telling: Telling,
    ) -> Result<Self, Refusal> {
        let old = ledger(observed)?;
        let (runtime, form) = (observed.runtime.name(), desired.form);
        if let Some(old) = old.as_ref().filter(|old| old.runtime != runtime || old.form != form) {
            let found = format!(
                "expected a host that was told nothing, or in the form {form} of {runtime}; found what was written in the form {} of {}",
                old.form, old.runtime
            );
            return Err(Refusal::new(&case::MIXED_FORMS, found));
        }
        Ok(Self {
            observed,
            old,
            form,
            restart: desired.restart,
            wanted: Vec::new(),
            telling,
            unread: None,
            cases: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Nothing, which gives everything back.
    pub(crate) fn none(
        observed: &'a Observed,
        restart: Restart,
        telling: Telling,
    ) -> Result<Self, Refusal> {
        let old = ledger(observed)?;
        let form = old.as_ref().map_or(Form::CertsD, |old| old.form);
        Ok(Self {
            observed,
            old,
            form,
            restart,
            wanted: Vec::new(),
            telling,
            unread: None,
            cases: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Whether the bytes at `path` are ours.
    pub(crate) fn is_ours(&self, path: &HostPath) -> bool {
        let file = self.observed.files.file(path);
        file.zip(self.old.as_ref()).is_some_and(|(file, old)| old.is_ours(path, &file.bytes))
    }

    /// Whether we wrote at `path` once.
    pub(crate) fn is_known(&self, path: &HostPath) -> bool {
        self.old.as_ref().is_some_and(|old| old.files.contains_key(path))
    }

    /// The file at `path` as it would be without us.
    pub(crate) fn base(&self, path: &HostPath) -> Option<File> {
        let now = self.observed.files.file(path)?;
        let written = self.old.as_ref().and_then(|old| old.files.get(path));
        match written.map(|written| back::of(path, written, now)) {
            Some(back::Back::Remove) => None,
            Some(back::Back::Write { file, .. }) => Some(file),
            None | Some(back::Back::Stays(_)) => Some(now.clone()),
        }
    }

    /// A file that is ours as a whole.
    pub(crate) fn whole(&mut self, path: HostPath, file: File) {
        self.wanted.push(Want { path, file, part: Part::Whole });
    }

    /// A file in which we edit: `base` is what it would be without us.
    pub(crate) fn edited(&mut self, path: HostPath, file: File, base: Option<File>) {
        self.wanted.push(Want { path, file, part: Part::Edited(base) });
    }

    /// How the file at `path` is, if it is wanted.
    pub(crate) fn state(&self, path: &HostPath, is_read: bool) -> State {
        let wanted = self.wanted.iter().find(|want| want.path == *path);
        let now = self.observed.files.file(path);
        match (now, wanted) {
            (None, _) => State::Missing,
            (Some(now), Some(want)) if *now == want.file && is_read => State::InPlace,
            (Some(now), Some(want)) if *now == want.file => State::Unread,
            (Some(now), _)
                if self.is_ours(path) || is_marked(&now.bytes) && !self.is_known(path) =>
            {
                State::Outdated
            }
            (Some(_), _) if self.is_known(path) => State::Changed,
            (Some(_), _) => State::Foreign,
        }
    }

    /// Says that `case` was met, once.
    pub(crate) fn met(&mut self, case: &'static Case, found: &str) {
        if !self.cases.contains(&case) {
            self.cases.push(case);
        }
        self.notes.push(format!("{found}: {}", case.words));
    }

    /// The plan.
    ///
    /// # Errors
    /// If something that is no file stands where one has to go.
    pub(crate) fn plan(mut self) -> Result<Plan, Refusal> {
        let observed = self.observed;
        let wanted = std::mem::take(&mut self.wanted);
        let old = self.old.take();
        let mut ledger = Ledger::new(observed.runtime, self.form);
        let mut steps = Steps::default();
        for Want { path, file, part } in wanted {
            let now = self.there(&path)?;
            let known = old.as_ref().and_then(|old| old.files.get(&path));
            let is_ours = now.zip(known).is_some_and(|(now, known)| known.is_ours(&now.bytes));
            if let (Some(now), Some(known)) = (now, known)
                && !is_ours
                && known.before.file().as_ref() != Some(now)
            {
                self.met(&case::CHANGED, &format!("{path} was changed since we wrote it"));
            }
            let writes = now != Some(&file);
            let written = match (known, part) {
                // What others wrote into it since is not taken for ours.
                (Some(known), Part::Edited(_)) if !writes && !is_ours => known.clone(),
                (Some(known), Part::Edited(base)) if !is_ours => Written {
                    before: Before::of(base.as_ref()),
                    ..known.clone().holding(&file.bytes)
                },
                (Some(known), _) => known.clone().holding(&file.bytes),
                (None, Part::Edited(base)) => Written::new(base.as_ref(), &file.bytes),
                (None, Part::Whole) => {
                    let before = now.filter(|now| !is_marked(&now.bytes));
                    Written::new(before, &file.bytes)
                }
            };
            ledger.files.insert(path.clone(), written);
            if writes {
                let is_config = path == observed.config;
                let steps = if is_config { &mut steps.config } else { &mut steps.files };
                directories(observed, &path, &mut ledger, steps);
                steps.push(Step::Write { path, file });
            }
        }
        self.stale(old.as_ref(), &mut ledger, &mut steps);
        Ok(self.ordered(old.as_ref(), &ledger, steps))
    }

    /// The regular file at `path`.
    fn there(&self, path: &HostPath) -> Result<Option<&'a File>, Refusal> {
        match self.observed.files.get(path) {
            None | Some(Entry::Absent) => Ok(None),
            Some(Entry::File(file)) => Ok(Some(file)),
            Some(Entry::Link(target, _)) => {
                let found = format!("{path}: expected a file, found a link to {target}");
                Err(Refusal::new(&case::LINK, found))
            }
            Some(Entry::Directory(_)) => {
                let found = format!("{path}: expected a file, found a directory");
                Err(Refusal::new(&case::NO_FILE, found))
            }
            Some(Entry::Other(what)) => {
                let found = format!("{path}: expected a file, found {what}");
                Err(Refusal::new(&case::NO_FILE, found))
            }
        }
    }

    /// What we wrote once and is no longer wanted.
    fn stale(&mut self, old: Option<&Ledger>, ledger: &mut Ledger, steps: &mut Steps) {
        let Some(old) = old else { return };
        let mut stale: Vec<_> =
            old.files.iter().filter(|(path, _)| !ledger.files.contains_key(*path)).collect();
        // What names a CA goes before the CA does.
        stale.sort_by_key(|(path, _)| {
            std::path::Path::new(path.as_str()).extension().is_none_or(|end| end != "toml")
        });
        for (path, written) in stale {
            let Some(now) = self.observed.files.file(path) else { continue };
            let steps =
                if *path == self.observed.config { &mut steps.config } else { &mut steps.gone };
            match back::of(path, written, now) {
                back::Back::Remove => steps.push(Step::Remove { path: path.clone() }),
                back::Back::Write { file, left } => {
                    if !left.is_empty() {
                        self.notes.push(format!(
                            "{path}: somebody else changed {}: left as it is",
                            left.join(", ")
                        ));
                    }
                    if file != *now {
                        steps.push(Step::Write { path: path.clone(), file });
                    }
                }
                back::Back::Stays(why) => {
                    self.notes
                        .push(format!("{path} was changed since we wrote it, and stays: {why}"));
                }
            }
        }
        // The innermost first.
        for directory in old.directories.iter().rev() {
            if ledger.files.keys().any(|path| path.is_below(directory)) {
                ledger.directories.insert(directory.clone());
            } else if self.observed.files.exists(directory) {
                steps.directories.push(Step::RemoveDirectory { path: directory.clone() });
            }
        }
    }

    /// All steps, the ledger first and last.
    fn ordered(self, old: Option<&Ledger>, ledger: &Ledger, steps: Steps) -> Plan {
        let runtime = self.observed.runtime;
        let pending = old.is_some_and(|old| old.restart) || self.unread.is_some();
        let tells = !steps.config.is_empty() || pending;
        let told = match self.telling {
            Telling::Restart if tells => Some(Step::Restart { runtime }),
            Telling::Reload if tells => Some(Step::Reload { runtime }),
            _ => None,
        };
        let restarts = matches!(told, Some(Step::Restart { .. }));
        let why = if steps.config.is_empty() {
            let written =
                format!("{} was written, and {runtime} not restarted since", self.observed.config);
            self.unread.unwrap_or(written)
        } else {
            format!("{runtime} reads {} when it starts", self.observed.config)
        };
        let mut plan = Plan {
            restart: restarts.then_some(why),
            restart_allowed: self.restart == Restart::Allow,
            cases: self.cases,
            notes: self.notes,
            ..Plan::default()
        };
        let changes = told.is_some()
            || [&steps.files, &steps.gone, &steps.config, &steps.directories]
                .iter()
                .any(|steps| !steps.is_empty());
        let settled = (!ledger.files.is_empty()).then_some(ledger);
        if !changes && old == settled {
            return plan;
        }
        if changes {
            let mut intent = ledger.clone();
            if let Some(old) = old {
                intent.remember(old);
            }
            intent.restart = restarts || pending;
            for path in Ledger::directories() {
                if !self.observed.files.exists(&path) {
                    plan.steps.push(Step::MakeDirectory { path, mode: 0o700 });
                }
            }
            plan.steps.push(Step::Write { path: Ledger::path(), file: intent.file() });
        }
        plan.steps.extend(steps.files);
        plan.steps.extend(steps.gone);
        plan.steps.extend(steps.config);
        plan.steps.extend(told);
        plan.steps.extend(steps.directories);
        if settled.is_some() {
            plan.steps.push(Step::Write { path: Ledger::path(), file: ledger.file() });
        } else {
            plan.steps.push(Step::Remove { path: Ledger::path() });
            let directories = Ledger::directories().into_iter().rev();
            plan.steps.extend(directories.map(|path| Step::RemoveDirectory { path }));
        }
        plan
    }
}

/// Steps by what they are for.
#[derive(Default)]
struct Steps {
    files: Vec<Step>,
    gone: Vec<Step>,
    /// The main file, so that the runtime is told right after it.
    config: Vec<Step>,
    /// Directories that are empty when all else is gone.
    directories: Vec<Step>,
}

fn ledger(observed: &Observed) -> Result<Option<Ledger>, Refusal> {
    observed.ledger().map_err(|error| Refusal::new(&case::LEDGER, error.to_string()))
}

/// Makes the directories above `path` that are not there.
fn directories(observed: &Observed, path: &HostPath, ledger: &mut Ledger, steps: &mut Vec<Step>) {
    let mut missing = BTreeSet::new();
    let mut above = path.parent();
    while let Some(directory) =
        above.filter(|path| !observed.files.exists(path) && path.as_str() != "/")
    {
        above = directory.parent();
        missing.insert(directory);
    }
    for path in missing {
        if ledger.directories.insert(path.clone()) {
            steps.push(Step::MakeDirectory { path, mode: 0o755 });
        }
    }
}

/// Whether a file says that it is ours, though no ledger does.
pub(crate) fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(b"# Written by image-swap ")
}
