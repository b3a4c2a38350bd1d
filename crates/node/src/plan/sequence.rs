//! Steps in their order.

use std::collections::BTreeSet;

use crate::{
    files::{File, HostPath},
    ledger::Ledger,
    observed::Observed,
    plan::{Plan, Step},
    runtime::reload::Telling,
};

/// Steps by what they are for.
#[derive(Default)]
pub(super) struct Steps {
    /// Files that are read whenever something is pulled.
    files: Vec<Step>,
    /// Files that leave, or get back what they were.
    gone: Vec<Step>,
    /// Files of which the runtime is told right after them.
    told: Vec<Step>,
    /// Directories that are empty when all else is gone.
    directories: Vec<Step>,
}

impl Steps {
    /// Writes a file, and makes the directories above it that are not there.
    pub(super) fn write(
        &mut self,
        observed: &Observed,
        path: HostPath,
        file: File,
        ledger: &mut Ledger,
    ) {
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
                self.files.push(Step::MakeDirectory { path, mode: 0o755 });
            }
        }
        match telling(observed, &path) {
            Telling::Nothing => self.files.push(Step::Write { path, file }),
            _ => self.told.push(Step::Write { path, file }),
        }
    }

    /// A step that takes a file of ours away.
    pub(super) fn back(&mut self, observed: &Observed, step: Step) {
        match step.path().map(|path| telling(observed, path)) {
            None | Some(Telling::Nothing) => self.gone.push(step),
            Some(_) => self.told.push(step),
        }
    }

    /// Removes a directory of ours.
    pub(super) fn remove_directory(&mut self, path: HostPath) {
        self.directories.push(Step::RemoveDirectory { path });
    }

    /// All steps from `old` to `ledger`, which is written first and last.
    pub(super) fn plan(
        self,
        observed: &Observed,
        old: Option<&Ledger>,
        ledger: &Ledger,
        restart_allowed: bool,
        unread: Option<String>,
    ) -> Plan {
        let runtime = observed.runtime;
        let pending = old.is_some_and(|old| old.restart);
        let mut told = self.told.iter().filter_map(Step::path);
        let read_at_start = told.find(|path| telling(observed, path) == Telling::Restart);
        let restart = match read_at_start {
            Some(path) => Some(format!("{runtime} reads {path} when it starts")),
            None if unread.is_some() => unread,
            None => pending.then(|| {
                format!("{runtime} has not been restarted since its configuration changed")
            }),
        };
        // A runtime that does not run reads all files when it starts.
        let restart = restart.filter(|_| !observed.at_rest);
        let told = match (&restart, self.told.is_empty()) {
            _ if observed.at_rest => None,
            (Some(_), _) => Some(Step::Restart { runtime }),
            (None, false) => Some(Step::Reload { runtime }),
            (None, true) => None,
        };
        let changes = told.is_some()
            || !self.told.is_empty()
            || [&self.files, &self.gone, &self.directories].iter().any(|steps| !steps.is_empty());
        let settled = (!ledger.files.is_empty()).then_some(ledger);
        let mut plan = Plan { restart, restart_allowed, ..Plan::default() };
        if !changes && old == settled {
            return plan;
        }
        if changes {
            let mut intent = ledger.clone();
            if let Some(old) = old {
                intent.remember(old);
            }
            intent.restart = plan.restart.is_some();
            let missing = Ledger::directories().into_iter();
            let missing = missing.filter(|path| !observed.files.exists(path));
            plan.steps.extend(missing.map(|path| Step::MakeDirectory { path, mode: 0o700 }));
            plan.steps.push(Step::Write { path: Ledger::path(), file: intent.file() });
        }
        let Self { files, gone, told: main, directories } = self;
        plan.steps.extend([files, gone, main].into_iter().flatten());
        plan.steps.extend(told);
        plan.steps.extend(directories);
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

fn telling(observed: &Observed, path: &HostPath) -> Telling {
    Telling::of(observed.runtime, &observed.config, path)
}
