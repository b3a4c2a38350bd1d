//! A plan, carried out: wholly, or not at all.

use crate::{
    host::{
        Host,
        lock::Lock,
        write::{clean, remove},
    },
    ledger::Ledger,
    observe::Seen,
    plan::{Outcome, Plan, step::Step},
    runtime::kind::Runtime,
    transaction::{
        Progress, Restarting, command,
        error::{Failed, Left, RestartError, Why},
        executor::Carrier,
        journal, preflight,
        rollback::{self, take_back},
        supervised_restart::Guarded,
        watchdog,
    },
};

/// The right to change a host: nobody else changes it through us meanwhile.
/// What is planned in its turn is what is there when it is carried out.
#[derive(Debug)]
pub struct Turn<'a> {
    host: &'a Host,
    lock: Lock,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was nothing to do.
    Nothing,
    /// It was carried out, and the runtime needs nothing else.
    Changed,
    /// It was carried out, and the runtime was restarted: what is known of that.
    Restarted(String),
    /// It was carried out, and a note of what is left to do.
    Changing(String),
}

impl<'a> Turn<'a> {
    /// Waits for its turn. What was killed before it, together with the process that
    /// takes changes back, is taken back then: `restarting` says by which command.
    ///
    /// # Errors
    /// Nothing can be written where we keep what we have to remember, or there is
    /// something that cannot be taken back.
    pub fn take(
        host: &'a Host,
        restarting: &Restarting,
        told: Progress<'_>,
    ) -> Result<Self, Failed> {
        let waits = || told("another image-swap is at work on this host: waiting for its end");
        let lock = host.lock(waits).map_err(|source| Failed {
            why: Why::Lock { path: Host::state(), source },
            left: Left::AsItWas,
        })?;
        let turn = Self { host, lock };
        rollback::resume(host, restarting.command.as_deref(), told)
            .map_err(|why| Failed { why: Why::Interrupted, left: Left::Broken(why) })?;
        Ok(turn)
    }

    /// Carries out `plan`, which was made of `seen` in this turn.
    ///
    /// # Errors
    /// Why it was given up, and how the host is now.
    pub fn carry_out(
        &self,
        plan: &Plan,
        seen: &Seen,
        restarting: &Restarting,
        told: Progress<'_>,
    ) -> Result<Applied, Failed> {
        self.clean(plan, seen);
        let as_it_was = |why: Why| Failed { why, left: Left::AsItWas };
        let guarded = match plan.outcome() {
            Outcome::InPlace => return Ok(Applied::Nothing),
            Outcome::NeedsRestart => {
                let why = plan.restart.clone().unwrap_or_default();
                return Err(as_it_was(Why::NeedsRestart(why)));
            }
            Outcome::Change => None,
            Outcome::ChangeAndRestart => {
                let guarded = Guarded::begin(self.host, &self.lock, plan, seen, restarting, told);
                Some(guarded.map_err(|error| as_it_was(error.into()))?)
            }
        };
        self.steps(plan, seen, guarded, told)
    }

    fn steps(
        &self,
        plan: &Plan,
        seen: &Seen,
        mut guarded: Option<Guarded<'_>>,
        told: Progress<'_>,
    ) -> Result<Applied, Failed> {
        let mut applied = Applied::Changed;
        let mut carrier = Carrier::new(self.host);
        for (number, step) in plan.steps.iter().enumerate() {
            let done = match (step, &mut guarded) {
                (Step::Restart { runtime }, Some(guarded)) => {
                    told(&format!("restarting {runtime}"));
                    guarded
                        .restart(told)
                        .map(|known| applied = Applied::Restarted(known))
                        .map_err(Why::from)
                }
                (Step::Reload { runtime }, _) => {
                    if let Some(left) = reload(self.host, *runtime, told) {
                        applied = Applied::Changing(left);
                    }
                    Ok(())
                }
                _ => {
                    if let Some(line) = line(step) {
                        told(&line);
                    }
                    carrier.carry(step, number).map_err(Why::from)
                }
            };
            // What is to come is put on disk when the ledger knows of it.
            let staged = done.and_then(|()| match step {
                Step::Write { path, .. } if *path == Ledger::path() => {
                    carrier.stage(&plan.steps, number + 1).map_err(Why::from)
                }
                _ => Ok(()),
            });
            if let Err(why) = staged {
                drop(carrier);
                return Err(self.give_up(why, plan, seen, guarded, told));
            }
        }
        if let Some(guarded) = guarded {
            let taken_back = |left| Failed { why: RestartError::TakenBack.into(), left };
            guarded.disarm().map_err(taken_back)?;
        }
        Ok(applied)
    }

    /// Puts the host back as it was.
    fn give_up(
        &self,
        why: Why,
        plan: &Plan,
        seen: &Seen,
        guarded: Option<Guarded<'_>>,
        told: Progress<'_>,
    ) -> Failed {
        told("taking everything back");
        let left = match guarded {
            Some(guarded) => guarded.take_back(),
            None => match take_back(self.host, &plan.undo(&seen.observed)) {
                errors if errors.is_empty() => Left::AsItWas,
                errors => Left::Differs(errors),
            },
        };
        Failed { why, left }
    }

    /// Takes away what a killed run left beside the files that it wrote.
    fn clean(&self, plan: &Plan, seen: &Seen) {
        let written = plan.steps.iter().filter_map(|step| match step {
            Step::Write { path, .. } => Some(path.clone()),
            _ => None,
        });
        let ledger = seen.observed.ledger().ok().flatten();
        let known = ledger.into_iter().flat_map(|ledger| ledger.files.into_keys());
        let own = [Ledger::path(), journal::path(), watchdog::report()];
        let paths = written.chain(known).chain([seen.observed.config.clone()]).chain(own);
        for path in paths {
            // What cannot be removed cannot be written either, and that is told.
            let _ = self.host.at(&path).and_then(|path| clean(&path));
        }
        preflight::clean(self.host);
        let _ = self.host.at(&watchdog::report()).and_then(|path| remove(&path));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.host.forget(&self.lock);
    }
}

/// What is told of a step.
fn line(step: &Step) -> Option<String> {
    Some(match step {
        Step::Write { path, .. } if *path != Ledger::path() => format!("writing {path}"),
        Step::Remove { path } if *path != Ledger::path() => format!("removing {path}"),
        _ => return None,
    })
}

/// Has the runtime read its files again; what is left to do if it does not.
fn reload(host: &Host, runtime: Runtime, told: Progress<'_>) -> Option<String> {
    let command = format!("systemctl reload {runtime}");
    told(&command);
    let failed = command::run(host, &command).err()?;
    Some(format!("{failed}; {runtime} reads the files when it is told to, or restarted"))
}
