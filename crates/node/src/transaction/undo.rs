//! Steps back: made of the steps of a plan, and compared with the host before they are applied.

use crate::{
    files::{HostEntry, HostFile, HostPath},
    host::Host,
    ledger::{OriginalFile, WrittenFile},
    plan::{
        HostPlan, PlannedStep,
        revert::{self, RestoredFile},
    },
    transaction::journal::UndoStep,
};

impl UndoStep {
    /// Returns the undo step of `step`, which rolls back a part of `plan`; `None` if it changes no
    /// file.
    pub(super) fn of(step: &PlannedStep, plan: &HostPlan) -> Option<Self> {
        let file = |path: &HostPath, before: Option<&HostFile>| {
            let written = plan.steps.iter().filter_map(|step| match step {
                PlannedStep::Write { path: found, file } if found == path => {
                    Some(file.bytes[..].into())
                }
                _ => None,
            });
            Self::File {
                path: path.clone(),
                before: OriginalFile::of(before),
                contents: written.collect(),
            }
        };
        Some(match step {
            PlannedStep::MakeDirectory { path, mode } => {
                Self::MakeDirectory { path: path.clone(), mode: *mode }
            }
            PlannedStep::Write { path, file: before } => file(path, Some(before)),
            PlannedStep::Remove { path } => file(path, None),
            PlannedStep::RemoveDirectory { path } => Self::RemoveDirectory { path: path.clone() },
            PlannedStep::Restart { .. } | PlannedStep::Reload { .. } => return None,
        })
    }

    /// Returns the step that is left on `host`; `None` if the file is restored.
    ///
    /// # Errors
    /// Returns the reason why a file that another process changed stays.
    pub(super) fn step(&self, host: &Host) -> Result<Option<PlannedStep>, String> {
        let (path, before, contents) = match self.clone() {
            Self::MakeDirectory { path, mode } => {
                return Ok(Some(PlannedStep::MakeDirectory { path, mode }));
            }
            Self::RemoveDirectory { path } => {
                return Ok(Some(PlannedStep::RemoveDirectory { path }));
            }
            Self::File { path, before, contents } => (path, before, contents),
        };
        let stays = |reason: &str| {
            format!("another process changed {path}, which stays as it is: {reason}")
        };
        let now = match host.stat(&path) {
            HostEntry::Absent => None,
            HostEntry::File(file) => Some(file),
            _ => return Err(stays("it is not a regular file")),
        };
        let put = |file: Option<HostFile>| match file {
            Some(file) => PlannedStep::Write { path: path.clone(), file },
            None => PlannedStep::Remove { path: path.clone() },
        };
        let was = before.file();
        Ok(match now {
            now if now == was => None,
            Some(now) if was.as_ref().is_none_or(|was| was.bytes != now.bytes) => {
                if contents.is_empty() {
                    return Err(stays("image-swap had removed it"));
                }
                match revert::revert(&path, &WrittenFile { before, contents }, &now) {
                    RestoredFile::Remove => Some(put(None)),
                    RestoredFile::Write { file, .. } => (file != now).then(|| put(Some(file))),
                    RestoredFile::Stays(reason) => return Err(stays(&reason)),
                }
            }
            _ => Some(put(was)),
        })
    }
}
