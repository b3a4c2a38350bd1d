//! Applies steps to a host.

use std::{collections::HashMap, io};

use crate::{
    files::{HostFile, HostPath},
    host::{
        Host,
        write::{Access, Staged, clean, make_directory, remove, remove_directory, stage},
    },
    plan::PlannedStep,
    transaction::error::StepError,
};

/// An executor of steps. It writes the content of every file to disk before it replaces the
/// first one, apart from the ledger. A full disk is detected while the host is unchanged.
pub(crate) struct StepExecutor<'a> {
    host: &'a Host,
    staged: HashMap<usize, Staged>,
}

impl<'a> StepExecutor<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        Self { host, staged: HashMap::new() }
    }

    /// Makes all directories and stages all files of `steps` from number `first`
    /// on. Of a path that is written twice the first is staged.
    pub(crate) fn stage(&mut self, steps: &[PlannedStep], first: usize) -> Result<(), StepError> {
        let mut seen: Vec<&HostPath> = Vec::new();
        for (number, step) in steps.iter().enumerate().skip(first) {
            match step {
                PlannedStep::MakeDirectory { .. } => self.execute(step, number)?,
                PlannedStep::Write { path, file } if !seen.contains(&path) => {
                    seen.push(path);
                    let staged =
                        self.prepare(path, file).map_err(|error| StepError::of(step, error))?;
                    self.staged.insert(number, staged);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Executes one step; `number` is its number in the plan.
    pub(crate) fn execute(&mut self, step: &PlannedStep, number: usize) -> Result<(), StepError> {
        self.try_step(step, number).map_err(|error| StepError::of(step, error))
    }

    fn try_step(&mut self, step: &PlannedStep, number: usize) -> io::Result<()> {
        match step {
            PlannedStep::MakeDirectory { path, mode } => {
                make_directory(&self.host.at(path)?, *mode)
            }
            PlannedStep::Write { path, file } => match self.staged.remove(&number) {
                Some(staged) => staged.commit(),
                None => self.prepare(path, file)?.commit(),
            },
            PlannedStep::Remove { path } => remove(&self.host.path_without_following(path)?),
            PlannedStep::RemoveDirectory { path } => {
                remove_directory(&self.host.at(path)?).map(drop)
            }
            // The runtime is not the file system's business.
            PlannedStep::Restart { .. } | PlannedStep::Reload { .. } => Ok(()),
        }
    }

    fn prepare(&self, path: &HostPath, file: &HostFile) -> io::Result<Staged> {
        let place = self.host.at(path)?;
        // A file with a credential belongs to image-swap's own user, even if the file that
        // it replaces does not.
        let owner = match file.owner {
            None if !file.is_private() => Access::of(&place)?.and_then(|there| there.owner),
            owner => owner,
        };
        stage(&place, &file.bytes, Access { mode: file.mode, owner })
    }
}

/// Removes unfinished files of a killed run beside `paths`. They are in no ledger, and would
/// prevent the removal of their directories.
pub(crate) fn remove_stale_temporaries<'p>(
    host: &Host,
    paths: impl IntoIterator<Item = &'p HostPath>,
) {
    for path in paths {
        // A file that stays keeps its directory.
        let _ = host.path_without_following(path).and_then(|path| clean(&path));
    }
}
