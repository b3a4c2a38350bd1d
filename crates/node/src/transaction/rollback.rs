//! The one place that puts a host back: for the watchdog, for the process that applies a plan,
//! and for the next run after both were killed.

use crate::{
    host::{Host, write::read},
    observe::daemon::RuntimeEndpoint,
    plan::PlannedStep,
    transaction::{
        Progress, command,
        error::{FinalState, StepError},
        executor::{StepExecutor, remove_stale_temporaries},
        journal::{self, RollbackPlan, UndoStep},
        runtime_health,
    },
};

/// Rolls back a change that was killed together with its watchdog; `command` restarts the
/// runtime, or else the command in the journal.
pub(super) fn resume(
    host: &Host,
    command: Option<&str>,
    progress: Progress<'_>,
) -> Result<(), String> {
    let order =
        journal::read(host).map_err(|error| format!("cannot read {}: {error}", journal::path()))?;
    let Some(order) = order else { return Ok(()) };
    progress("rolling back a change that was killed before it was complete");
    roll_back(host, &order.on(host, command))?.iter().for_each(|stays| progress(stays));
    Ok(())
}

/// Applies the steps of `undo` as far as possible, and returns the state of the host.
pub(super) fn undo(host: &Host, undo: &[PlannedStep]) -> FinalState {
    match execute(host, undo) {
        errors if errors.is_empty() => FinalState::AsItWas,
        errors => FinalState::Differs(errors),
    }
}

/// Applies all steps even if some fail, and returns the errors.
fn execute(host: &Host, undo: &[PlannedStep]) -> Vec<StepError> {
    remove_stale_temporaries(host, undo.iter().filter_map(PlannedStep::path));
    let mut executor = StepExecutor::new(host);
    undo.iter().filter_map(|step| executor.execute(step, usize::MAX).err()).collect()
}

/// Restores the files, restarts the runtime if it may have read those of the change, and removes
/// the journal. The next run can repeat it if this one is killed.
///
/// Returns the files that another process has changed since and that stay: the ledger still
/// lists them.
///
/// # Errors
/// If a file cannot be restored or the runtime not be restarted: the journal stays.
pub(super) fn roll_back(host: &Host, order: &RollbackPlan) -> Result<Vec<String>, String> {
    let swapped = was_swapped(host, order);
    if swapped && !order.restart {
        // Without space for it, the next run compares the file again.
        let _ = journal::write(host, &RollbackPlan { restart: true, ..order.clone() });
    }
    let mut stays = Vec::new();
    let (files, ledger) = order.parts();
    let mut errors = back(host, files, &mut stays);
    // After the files: a restart by another process from now on reads those.
    if swapped && !runtime_health::is_the_same(&order.place()) {
        let restarted = command::run(host, &order.command).map_err(|error| error.to_string());
        let place = RuntimeEndpoint { pid: None, ..order.place() };
        errors.extend(restarted.and_then(|()| runtime_health::wait(&place)).err());
    }
    if errors.is_empty() && stays.is_empty() {
        errors.extend(back(host, ledger, &mut stays));
    }
    if errors.is_empty() {
        errors.extend(journal::remove(host).map_err(|error| error.to_string()).err());
    }
    if errors.is_empty() { Ok(stays) } else { Err([errors, stays].concat().join("; ")) }
}

/// Applies `undo` as far as possible, and returns the errors; files that another process has
/// changed since are added to `stays`.
fn back(host: &Host, undo: &[UndoStep], stays: &mut Vec<String>) -> Vec<String> {
    remove_stale_temporaries(host, undo.iter().map(UndoStep::path));
    let steps = undo.iter().map(|undo| undo.step(host));
    let steps: Vec<PlannedStep> =
        steps.filter_map(|step| step.map_err(|reason| stays.push(reason)).ok()?).collect();
    execute(host, &steps).iter().map(ToString::to_string).collect()
}

/// Returns true if the main file of the runtime differs from the one before, or did when the
/// rollback began.
fn was_swapped(host: &Host, order: &RollbackPlan) -> bool {
    let begun = || journal::read(host).is_ok_and(|armed| armed.is_some_and(|armed| armed.restart));
    let now = host.at(&order.config).and_then(|path| read(&path));
    order.restart || now.map_or(true, |now| now != order.config_before()) || begun()
}
