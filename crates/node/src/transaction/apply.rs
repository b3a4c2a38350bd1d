//! Applies a plan completely or not at all.

use crate::{
    host::{
        Host,
        lock::Lock,
        write::{clean, remove},
    },
    ledger::Ledger,
    observe::HostObservation,
    plan::{HostPlan, PlanOutcome, PlannedStep},
    runtime::kind::ContainerRuntime,
    transaction::{
        HostChange, Progress, RestartSettings, command,
        error::{ApplyError, ApplyFailure, FinalState, RestartError},
        executor::StepExecutor,
        journal, preflight, rollback,
        supervised_restart::SupervisedRestart,
        watchdog,
    },
};

/// An exclusive lock on the host. A plan made under it is applied to the state that it was made
/// from.
pub struct HostSession<'a> {
    host: &'a Host,
    lock: Lock,
    /// The restart; `None` if no command is run on the host.
    restarting: Option<&'a RestartSettings>,
    progress: Progress<'a>,
}

/// The result of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The host was as planned already.
    Nothing,
    /// The plan was applied, and the runtime needs nothing else.
    Changed,
    /// The plan was applied, and the runtime was restarted; contains facts about the restart.
    Restarted(String),
    /// The plan was applied; contains a note with the remaining work. With
    /// [`HostSession::take_live`] it is the command that reloads the runtime.
    Changing(String),
}

impl<'a> HostSession<'a> {
    /// Waits for the lock. Then it rolls back a change that was killed together with its
    /// watchdog; `restarting` has the command for that.
    ///
    /// # Errors
    /// If image-swap cannot write below its own directory, or cannot roll that change back.
    pub fn take(
        host: &'a Host,
        restarting: &'a RestartSettings,
        progress: Progress<'a>,
    ) -> Result<Self, ApplyFailure> {
        let session = Self::lock(host, Some(restarting), progress)?;
        rollback::resume(host, restarting.command.as_deref(), progress).map_err(|reason| {
            ApplyFailure { reason: ApplyError::Interrupted, left: FinalState::Broken(reason) }
        })?;
        Ok(session)
    }

    /// Waits for the lock, for plans that change files alone: no command is run on the host. A
    /// step that reloads the runtime is left to the administrator, by [`ApplyOutcome::Changing`].
    ///
    /// # Errors
    /// If image-swap cannot write below its own directory, or if a change with a restart was
    /// killed half way, which cannot be rolled back without a restart.
    pub fn take_live(host: &'a Host, progress: Progress<'a>) -> Result<Self, ApplyFailure> {
        let session = Self::lock(host, None, progress)?;
        if host.has_journal() {
            let (reason, left) = (ApplyError::InterruptedRestart, FinalState::AsItWas);
            return Err(ApplyFailure { reason, left });
        }
        Ok(session)
    }

    fn lock(
        host: &'a Host,
        restarting: Option<&'a RestartSettings>,
        progress: Progress<'a>,
    ) -> Result<Self, ApplyFailure> {
        let waits = || progress("another image-swap changes this host: waiting for its end");
        let lock = host.lock(waits).map_err(|error| ApplyFailure {
            reason: ApplyError::Lock(error),
            left: FinalState::AsItWas,
        })?;
        Ok(Self { host, lock, restarting, progress })
    }

    /// Applies `plan`, which was made of `seen` under this lock.
    ///
    /// # Errors
    /// The reason why the plan was given up, and the state of the host.
    pub fn apply(
        &self,
        plan: &HostPlan,
        seen: &HostObservation,
    ) -> Result<ApplyOutcome, ApplyFailure> {
        let Self { host, ref lock, restarting, progress } = *self;
        HostChange { host, lock, plan, seen, restarting, progress }.apply()
    }
}

impl Drop for HostSession<'_> {
    fn drop(&mut self) {
        self.host.forget(&self.lock);
    }
}

impl HostChange<'_> {
    fn apply(&self) -> Result<ApplyOutcome, ApplyFailure> {
        self.clean();
        let as_it_was = |reason: ApplyError| ApplyFailure { reason, left: FinalState::AsItWas };
        let mut guarded = match (self.plan.outcome(), self.restarting) {
            (PlanOutcome::InPlace, _) => return Ok(ApplyOutcome::Nothing),
            (PlanOutcome::Change, _) => None,
            (PlanOutcome::ChangeAndRestart, Some(restarting)) => {
                let begun = SupervisedRestart::begin(self, restarting);
                Some(begun.map_err(|error| as_it_was(error.into()))?)
            }
            (PlanOutcome::NeedsRestart | PlanOutcome::ChangeAndRestart, _) => {
                let reason = self.plan.restart.clone().unwrap_or_default();
                return Err(as_it_was(ApplyError::NeedsRestart(reason)));
            }
        };
        let applied = match self.execute(&mut guarded) {
            Ok(applied) => applied,
            Err(reason) => {
                (self.progress)("rolling everything back");
                let left = match guarded {
                    Some(guarded) => guarded.roll_back(),
                    None => rollback::undo(self.host, &self.plan.undo(&self.seen.observed)),
                };
                return Err(ApplyFailure { reason, left });
            }
        };
        if let Some(guarded) = guarded {
            let rolled_back = |left| ApplyFailure { reason: RestartError::RolledBack.into(), left };
            guarded.commit().map_err(rolled_back)?;
        }
        Ok(applied)
    }

    fn execute(
        &self,
        guarded: &mut Option<SupervisedRestart<'_>>,
    ) -> Result<ApplyOutcome, ApplyError> {
        let mut applied = ApplyOutcome::Changed;
        let mut executor = StepExecutor::new(self.host);
        for (number, step) in self.plan.steps.iter().enumerate() {
            match (step, &mut *guarded) {
                (PlannedStep::Restart { runtime }, Some(guarded)) => {
                    (self.progress)(&format!("restarting {runtime}"));
                    applied = ApplyOutcome::Restarted(guarded.restart(self.progress)?);
                }
                (PlannedStep::Reload { runtime }, _) => {
                    if let Some(left) = self.reload(*runtime) {
                        applied = ApplyOutcome::Changing(left);
                    }
                }
                _ => {
                    if let Some(line) = line(step) {
                        (self.progress)(&line);
                    }
                    executor.execute(step, number)?;
                }
            }
            // Further files are put on disk once the ledger lists them.
            if matches!(step, PlannedStep::Write { path, .. } if *path == Ledger::path()) {
                executor.stage(&self.plan.steps, number + 1)?;
            }
        }
        Ok(applied)
    }

    /// Removes files that a killed run left beside the files that it wrote.
    fn clean(&self) {
        let written = self.plan.steps.iter().filter_map(|step| match step {
            PlannedStep::Write { path, .. } => Some(path.clone()),
            _ => None,
        });
        let observed = &self.seen.observed;
        let ledger = observed.ledger().ok().flatten();
        let known = ledger.into_iter().flat_map(|ledger| ledger.files.into_keys());
        let own = [Ledger::path(), journal::path(), watchdog::report()];
        for path in written.chain(known).chain([observed.config.clone()]).chain(own) {
            // A file that cannot be removed cannot be written either, which is an error then.
            let _ = self.host.at(&path).and_then(|path| clean(&path));
        }
        preflight::clean(self.host);
        let _ = self.host.at(&watchdog::report()).and_then(|path| remove(&path));
    }

    /// Reloads the runtime. Returns a note with the remaining work if the command fails, and the
    /// command itself if no command is run on the host.
    fn reload(&self, runtime: ContainerRuntime) -> Option<String> {
        let command = format!("systemctl reload {runtime}");
        if self.restarting.is_none() {
            return Some(command);
        }
        (self.progress)(&command);
        let failed = command::run(self.host, &command).err()?;
        Some(format!("{failed}; reload or restart {runtime}, so that it reads the files"))
    }
}

/// Returns the progress line of a step.
fn line(step: &PlannedStep) -> Option<String> {
    Some(match step {
        PlannedStep::Write { path, .. } if *path != Ledger::path() => format!("writing {path}"),
        PlannedStep::Remove { path } if *path != Ledger::path() => format!("removing {path}"),
        _ => return None,
    })
}
