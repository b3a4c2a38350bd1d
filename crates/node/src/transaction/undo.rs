//! Steps back: made of the steps of a plan, and compared with the host before they are applied.

use crate::{
    files::{Entry, File, HostPath},
    host::Host,
    ledger::{Before, Written},
    plan::{
        Plan, Step,
        revert::{self, Back},
    },
    transaction::journal::Undo,
};

impl Undo {
    /// `step`, which takes back something of `plan`, if it is one that changes files.
    pub(super) fn of(step: &Step, plan: &Plan) -> Option<Self> {
        let file = |path: &HostPath, before: Option<&File>| {
            let written = plan.steps.iter().filter_map(|step| match step {
                Step::Write { path: found, file } if found == path => Some(file.bytes[..].into()),
                _ => None,
            });
            Self::File { path: path.clone(), before: Before::of(before), ours: written.collect() }
        };
        Some(match step {
            Step::MakeDirectory { path, mode } => {
                Self::MakeDirectory { path: path.clone(), mode: *mode }
            }
            Step::Write { path, file: before } => file(path, Some(before)),
            Step::Remove { path } => file(path, None),
            Step::RemoveDirectory { path } => Self::RemoveDirectory { path: path.clone() },
            Step::Restart { .. } | Step::Reload { .. } => return None,
        })
    }

    /// What is left to do of it on `host`.
    ///
    /// # Errors
    /// Why the file stays as somebody else has made it meanwhile.
    pub(super) fn step(&self, host: &Host) -> Result<Option<Step>, String> {
        let (path, before, ours) = match self.clone() {
            Self::MakeDirectory { path, mode } => {
                return Ok(Some(Step::MakeDirectory { path, mode }));
            }
            Self::RemoveDirectory { path } => return Ok(Some(Step::RemoveDirectory { path })),
            Self::File { path, before, ours } => (path, before, ours),
        };
        let stays = |why: &str| format!("{path} was changed meanwhile, and stays: {why}");
        let now = match host.look(&path) {
            Entry::Absent => None,
            Entry::File(file) => Some(file),
            _ => return Err(stays("it is no regular file")),
        };
        let put = |file: Option<File>| match file {
            Some(file) => Step::Write { path: path.clone(), file },
            None => Step::Remove { path: path.clone() },
        };
        let was = before.file();
        Ok(match now {
            now if now == was => None,
            Some(now) if was.as_ref().is_none_or(|was| was.bytes != now.bytes) => {
                if ours.is_empty() {
                    return Err(stays("it had been removed"));
                }
                match revert::of(&path, &Written { before, ours }, &now) {
                    Back::Remove => Some(put(None)),
                    Back::Write { file, .. } => (file != now).then(|| put(Some(file))),
                    Back::Stays(why) => return Err(stays(&why)),
                }
            }
            _ => Some(put(was)),
        })
    }
}
