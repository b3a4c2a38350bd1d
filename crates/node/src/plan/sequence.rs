//! The order of steps.

use std::collections::BTreeSet;

use crate::{
    files::{HostFile, HostPath},
    ledger::Ledger,
    observed::ObservedHost,
    plan::{HostPlan, PlannedStep},
    runtime::{kind::ContainerRuntime, reload::ReloadMode},
};

/// Steps by their purpose.
#[derive(Default)]
pub(super) struct StepSequence {
    /// Files that the runtime reads at every pull.
    files: Vec<PlannedStep>,
    /// Files that are removed or restored.
    gone: Vec<PlannedStep>,
    /// Files after which the runtime has to reload or restart.
    loaded: Vec<PlannedStep>,
    /// Directories that are empty after all other steps.
    directories: Vec<PlannedStep>,
}

/// The need for a restart, besides that of written files.
pub(super) enum RestartNeed {
    /// The reason for a restart although the main file stays; `None` without one.
    Of(Option<String>),
    /// No change needs a restart, and an earlier need is kept.
    Ignored,
}

impl StepSequence {
    /// Writes a file, and makes the directories above it that are not there.
    pub(super) fn write(
        &mut self,
        observed: &ObservedHost,
        path: HostPath,
        file: HostFile,
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
                self.files.push(PlannedStep::MakeDirectory { path, mode: 0o755 });
            }
        }
        match reload_mode(observed, &path) {
            ReloadMode::OnPull => self.files.push(PlannedStep::Write { path, file }),
            _ => self.loaded.push(PlannedStep::Write { path, file }),
        }
    }

    /// Adds a step that removes or restores a file.
    pub(super) fn back(&mut self, observed: &ObservedHost, step: PlannedStep) {
        match step.path().map(|path| reload_mode(observed, path)) {
            None | Some(ReloadMode::OnPull) => self.gone.push(step),
            Some(_) => self.loaded.push(step),
        }
    }

    /// Adds the removal of a directory.
    pub(super) fn remove_directory(&mut self, path: HostPath) {
        self.directories.push(PlannedStep::RemoveDirectory { path });
    }

    /// Returns all steps from `old` to `ledger`, which is written first and last.
    pub(super) fn plan(
        self,
        observed: &ObservedHost,
        old: Option<&Ledger>,
        ledger: &Ledger,
        needed: RestartNeed,
    ) -> HostPlan {
        let runtime = observed.runtime;
        let pending = old.is_some_and(|old| old.restart);
        let mut loaded = self.loaded.iter().filter_map(PlannedStep::path);
        let read_at_start = loaded.find(|path| reload_mode(observed, path) == ReloadMode::Restart);
        let restart = read_at_start.map(|path| format!("{runtime} reads {path} when it starts"));
        let restart = match needed {
            RestartNeed::Ignored => None,
            RestartNeed::Of(unread) => {
                restart.or(unread).or_else(|| pending.then(|| not_restarted(runtime)))
            }
        };
        // A runtime that does not run reads all files when it starts.
        let restart = restart.filter(|_| !observed.at_rest);
        let activation = match (&restart, self.loaded.is_empty()) {
            _ if observed.at_rest => None,
            (Some(_), _) => Some(PlannedStep::Restart { runtime }),
            (None, false) => Some(PlannedStep::Reload { runtime }),
            (None, true) => None,
        };
        let changes = activation.is_some()
            || !self.loaded.is_empty()
            || [&self.files, &self.gone, &self.directories].iter().any(|steps| !steps.is_empty());
        let settled = (!ledger.files.is_empty()).then_some(ledger);
        let mut plan = HostPlan { restart, ..HostPlan::default() };
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
            plan.steps.extend(missing.map(|path| PlannedStep::MakeDirectory { path, mode: 0o700 }));
            plan.steps.push(PlannedStep::Write { path: Ledger::path(), file: intent.file() });
        }
        let Self { files, gone, loaded: main, directories } = self;
        plan.steps.extend([files, gone, main].into_iter().flatten());
        plan.steps.extend(activation);
        plan.steps.extend(directories);
        if settled.is_some() {
            plan.steps.push(PlannedStep::Write { path: Ledger::path(), file: ledger.file() });
        } else {
            plan.steps.push(PlannedStep::Remove { path: Ledger::path() });
            let directories = Ledger::directories().into_iter().rev();
            plan.steps.extend(directories.map(|path| PlannedStep::RemoveDirectory { path }));
        }
        plan
    }
}

/// Returns the reason for a restart of a runtime that has not read its files as they are.
pub(super) fn not_restarted(runtime: ContainerRuntime) -> String {
    format!("{runtime} has not been restarted since its configuration changed")
}

fn reload_mode(observed: &ObservedHost, path: &HostPath) -> ReloadMode {
    ReloadMode::of(observed.runtime, &observed.config, path)
}
