//! The one place that puts a host back: for the watchdog, for the process that applies a plan,
//! and for the next run after both were killed.

use crate::{
    host::{Host, write::read},
    observe::daemon::Place,
    plan::step::Step,
    transaction::{
        Progress, command,
        error::StepError,
        executor::{Carrier, clean_beside},
        journal::{self, Order, Undo},
        runtime_health,
    },
};

/// The word of a rollback after which the host is as it was.
pub(super) const DONE: &str = "done";

/// Takes back what a change and its guard left when both were killed; `command` is
/// run to restart the runtime, else the one that they would have run.
pub(super) fn resume(host: &Host, command: Option<&str>, told: Progress<'_>) -> Result<(), String> {
    let order = journal::read(host)
        .map_err(|error| format!("{}: expected to read it, found {error}", journal::path()))?;
    let Some(order) = order else { return Ok(()) };
    told("a change that was killed half way is taken back first");
    put_back(host, &order.on(host, command))?.iter().for_each(|stays| told(stays));
    Ok(())
}

/// Takes steps back as far as that is possible.
pub(super) fn take_back(host: &Host, undo: &[Step]) -> Vec<StepError> {
    clean_beside(host, undo.iter().filter_map(Step::path));
    let mut carrier = Carrier::new(host);
    undo.iter().filter_map(|step| carrier.carry(step, usize::MAX).err()).collect()
}

/// Puts the files back, has the runtime read them again if it may have read ours, and
/// then forgets that there was anything to do. Whoever is killed on the way leaves
/// enough for the next to begin again.
///
/// Returns what stays as somebody else has made it meanwhile: the ledger still knows of it.
///
/// # Errors
/// What could not be put back; it is still to be done.
pub(super) fn put_back(host: &Host, order: &Order) -> Result<Vec<String>, String> {
    let swapped = was_swapped(host, order);
    if swapped && !order.restart {
        // Where there is no space for it, whoever goes on looks at the file again.
        let _ = journal::write(host, &Order { restart: true, ..order.clone() });
    }
    let mut stays = Vec::new();
    let (files, ledger) = order.parts();
    let mut errors = back(host, files, &mut stays);
    // Looked at when the files are back: whoever restarts it from now on has it read those.
    if swapped && !runtime_health::is_the_same(&order.place()) {
        let restarted = command::run(host, &order.command).map_err(|error| error.to_string());
        let place = Place { pid: None, ..order.place() };
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

/// Takes steps back: what could not be; `stays` is what others have changed.
fn back(host: &Host, undo: &[Undo], stays: &mut Vec<String>) -> Vec<String> {
    clean_beside(host, undo.iter().map(Undo::path));
    let steps = undo.iter().map(|undo| undo.step(host));
    let steps: Vec<Step> =
        steps.filter_map(|step| step.map_err(|why| stays.push(why)).ok()?).collect();
    take_back(host, &steps).iter().map(ToString::to_string).collect()
}

/// Whether the runtime's file is, or was when this began, another than before.
fn was_swapped(host: &Host, order: &Order) -> bool {
    let begun = || journal::read(host).is_ok_and(|armed| armed.is_some_and(|armed| armed.restart));
    let now = host.at(&order.config).and_then(|path| read(&path));
    order.restart || now.map_or(true, |now| now != order.config_before()) || begun()
}

/// What is said of a host that was put back.
pub(super) fn said(put_back: Result<Vec<String>, String>) -> String {
    match put_back {
        Ok(stays) if stays.is_empty() => DONE.to_owned(),
        Ok(stays) => stays.join("; "),
        Err(why) => why,
    }
}
