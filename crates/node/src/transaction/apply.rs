//! Applies a plan completely or not at all.

use crate::{
    host::{
        Host,
        lock::Lock,
        write::{clean, remove},
    },
    ledger::Ledger,
    observe::Seen,
    plan::{Outcome, Plan, Step},
    runtime::kind::Runtime,
    transaction::{
        HostChange, Progress, Restarting, command,
        error::{Failed, Left, RestartError, Why},
        executor::Carrier,
        journal, preflight, rollback,
        supervised_restart::Guarded,
        watchdog,
    },
};

/// An exclusive lock on the host. A plan made under it is applied to the state that it was made
/// from.
pub struct Turn<'a> {
    host: &'a Host,
    lock: Lock,
    restarting: &'a Restarting,
    progress: Progress<'a>,
}

/// The result of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The host was as planned already.
    Nothing,
    /// The plan was applied, and the runtime needs nothing else.
    Changed,
    /// The plan was applied, and the runtime was restarted: facts about the restart.
    Restarted(String),
    /// The plan was applied, and a note names what is left to do.
    Changing(String),
}

impl<'a> Turn<'a> {
    /// Waits for the lock. Then it rolls back a change that was killed together with its
    /// watchdog; `restarting` has the command for that.
    ///
    /// # Errors
    /// If image-swap cannot write below its own directory, or cannot roll that change back.
    pub fn take(
        host: &'a Host,
        restarting: &'a Restarting,
        progress: Progress<'a>,
    ) -> Result<Self, Failed> {
        let waits = || progress("another image-swap is at work on this host: waiting for its end");
        let lock = host.lock(waits).map_err(|source| Failed {
            why: Why::Lock { path: Host::state(), source },
            left: Left::AsItWas,
        })?;
        let turn = Self { host, lock, restarting, progress };
        rollback::resume(host, restarting.command.as_deref(), progress)
            .map_err(|why| Failed { why: Why::Interrupted, left: Left::Broken(why) })?;
        Ok(turn)
    }

    /// Applies `plan`, which was made of `seen` under this lock.
    ///
    /// # Errors
    /// The reason why the plan was given up, and the state of the host.
    pub fn carry_out(&self, plan: &Plan, seen: &Seen) -> Result<Applied, Failed> {
        let Self { host, ref lock, restarting, progress } = *self;
        HostChange { host, lock, plan, seen, restarting, progress }.apply()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.host.forget(&self.lock);
    }
}

impl HostChange<'_> {
    fn apply(&self) -> Result<Applied, Failed> {
        self.clean();
        let as_it_was = |why: Why| Failed { why, left: Left::AsItWas };
        let mut guarded = match self.plan.outcome() {
            Outcome::InPlace => return Ok(Applied::Nothing),
            Outcome::NeedsRestart => {
                let why = self.plan.restart.clone().unwrap_or_default();
                return Err(as_it_was(Why::NeedsRestart(why)));
            }
            Outcome::Change => None,
            Outcome::ChangeAndRestart => {
                Some(Guarded::begin(self).map_err(|error| as_it_was(error.into()))?)
            }
        };
        let applied = match self.execute(&mut guarded) {
            Ok(applied) => applied,
            Err(why) => {
                (self.progress)("taking everything back");
                let left = match guarded {
                    Some(guarded) => guarded.roll_back(),
                    None => rollback::undo(self.host, &self.plan.undo(&self.seen.observed)),
                };
                return Err(Failed { why, left });
            }
        };
        if let Some(guarded) = guarded {
            let rolled_back = |left| Failed { why: RestartError::TakenBack.into(), left };
            guarded.commit().map_err(rolled_back)?;
        }
        Ok(applied)
    }

    fn execute(&self, guarded: &mut Option<Guarded<'_>>) -> Result<Applied, Why> {
        let mut applied = Applied::Changed;
        let mut carrier = Carrier::new(self.host);
        for (number, step) in self.plan.steps.iter().enumerate() {
            match (step, &mut *guarded) {
                (Step::Restart { runtime }, Some(guarded)) => {
                    (self.progress)(&format!("restarting {runtime}"));
                    applied = Applied::Restarted(guarded.restart(self.progress)?);
                }
                (Step::Reload { runtime }, _) => {
                    if let Some(left) = self.reload(*runtime) {
                        applied = Applied::Changing(left);
                    }
                }
                _ => {
                    if let Some(line) = line(step) {
                        (self.progress)(&line);
                    }
                    carrier.carry(step, number)?;
                }
            }
            // Further files are put on disk once the ledger lists them.
            if matches!(step, Step::Write { path, .. } if *path == Ledger::path()) {
                carrier.stage(&self.plan.steps, number + 1)?;
            }
        }
        Ok(applied)
    }

    /// Removes files that a killed run left beside the files that it wrote.
    fn clean(&self) {
        let written = self.plan.steps.iter().filter_map(|step| match step {
            Step::Write { path, .. } => Some(path.clone()),
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

    /// Has the runtime read its files again. Returns a note of what is left to do if it does not.
    fn reload(&self, runtime: Runtime) -> Option<String> {
        let command = format!("systemctl reload {runtime}");
        (self.progress)(&command);
        let failed = command::run(self.host, &command).err()?;
        Some(format!("{failed}; {runtime} reads the files when it is told to, or restarted"))
    }
}

/// Returns the progress line of a step.
fn line(step: &Step) -> Option<String> {
    Some(match step {
        Step::Write { path, .. } if *path != Ledger::path() => format!("writing {path}"),
        Step::Remove { path } if *path != Ledger::path() => format!("removing {path}"),
        _ => return None,
    })
}
