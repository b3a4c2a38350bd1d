//! Plans: the changes that make a host as desired.

pub(crate) mod builder;
mod diff;
mod redact;
mod remaining;
pub(crate) mod revert;
mod sequence;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use image_swap_core::mirror::UnsupportedRule;

use crate::{
    condition::HostCondition,
    files::{HostEntry, HostFile, HostFiles, HostPath},
    ledger::Ledger,
    observed::ObservedHost,
    runtime::kind::ContainerRuntime,
};

/// The changes of a host, in order; a plan without steps changes nothing.
///
/// The steps contain credentials; the output of [`HostPlan::diff`] does not.
#[derive(Clone, Default)]
pub struct HostPlan {
    /// The steps. The ledger is written first and last, as a step like any other.
    pub steps: Vec<PlannedStep>,
    /// The reason for a restart; `None` if the runtime needs none.
    pub restart: Option<String>,
    /// True if a restart is allowed.
    pub restart_allowed: bool,
    /// The present state for each registry host.
    pub rows: Vec<MirrorRow>,
    /// Notes for the administrator.
    pub notes: Vec<String>,
    /// The conditions of docs/nodes.md that apply to the host.
    pub cases: Vec<&'static HostCondition>,
    /// The rules that the runtime cannot express.
    pub inexpressible: Vec<UnsupportedRule>,
    /// Settings of host files for each target host.
    pub contacts: Vec<Contact>,
    /// The configured directory of mirror files; `None` if the mirrors are in a file that the
    /// runtime reads when it starts.
    pub mirror_directory: Option<HostPath>,
    /// The edits of image-swap that stay although the rest is restored, and the reason; `None` if
    /// none stay. They move no image away from its registry.
    pub leftovers: Option<String>,
    /// A file of image-swap that a restore cannot see, since its directory is not mounted; `None`
    /// if there is none.
    pub unmounted: Option<HostPath>,
    /// Texts that [`Self::diff`] redacts.
    pub(crate) secrets: Vec<String>,
}

/// The outcome of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanOutcome {
    /// The host is as desired.
    InPlace,
    /// The plan has steps, and needs no restart.
    Change,
    /// The plan has steps and a restart, which is allowed.
    ChangeAndRestart,
    /// The plan needs a restart, which is not allowed: no step is applied.
    NeedsRestart,
}

/// The mirrors of one registry host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRow {
    /// The host that references name, `_default` for all others.
    pub host: String,
    /// The file that names the mirrors.
    pub path: HostPath,
    /// The state of that file.
    pub state: FileState,
    /// The URLs that are requested for it, in order, without the repository.
    pub urls: Vec<String>,
}

/// The state of a file that image-swap writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// The desired content, which the runtime reads.
    InPlace,
    /// The file does not exist.
    Missing,
    /// Written by image-swap for another declaration.
    Outdated,
    /// Changed by another tool since image-swap wrote it.
    Changed,
    /// Another tool wrote the file.
    Foreign,
    /// The desired content, which the runtime does not read yet.
    Unread,
}

impl HostPlan {
    /// Returns the outcome of the plan.
    pub fn outcome(&self) -> PlanOutcome {
        match (self.steps.is_empty(), &self.restart) {
            (true, _) => PlanOutcome::InPlace,
            (false, None) => PlanOutcome::Change,
            (false, Some(_)) if self.restart_allowed => PlanOutcome::ChangeAndRestart,
            (false, Some(_)) => PlanOutcome::NeedsRestart,
        }
    }

    /// Returns the steps that roll back [`Self::steps`] on `observed`, the host before them. They
    /// also fit if only some steps were applied. The ledger, which is written first, is rolled back
    /// when no file of image-swap is left.
    pub fn undo(&self, observed: &ObservedHost) -> Vec<PlannedStep> {
        let mut undo: Vec<PlannedStep> = Vec::new();
        let mut seen = BTreeSet::new();
        for step in &self.steps {
            match step {
                PlannedStep::MakeDirectory { path, .. } => {
                    undo.push(PlannedStep::RemoveDirectory { path: path.clone() });
                }
                PlannedStep::Write { path, .. } | PlannedStep::Remove { path }
                    if seen.insert(path) =>
                {
                    undo.push(match observed.files.file(path) {
                        Some(file) => PlannedStep::Write { path: path.clone(), file: file.clone() },
                        None => PlannedStep::Remove { path: path.clone() },
                    });
                }
                PlannedStep::RemoveDirectory { path } => {
                    let mode = if Ledger::directories().contains(path) { 0o700 } else { 0o755 };
                    undo.push(PlannedStep::MakeDirectory { path: path.clone(), mode });
                }
                _ => {}
            }
        }
        undo.reverse();
        undo
    }

    /// Returns the file that the plan writes at `path`; `None` if it writes none.
    pub fn written(&self, path: &HostPath) -> Option<&HostFile> {
        self.steps.iter().rev().find_map(|step| match step {
            PlannedStep::Write { path: found, file } if found == path => Some(file),
            _ => None,
        })
    }
}

/// Omits the steps, which contain credentials.
impl fmt::Debug for HostPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> =
            self.steps.iter().filter_map(PlannedStep::path).map(HostPath::to_string).collect();
        f.debug_struct("Plan")
            .field("paths", &paths)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// One change of a host. A step is idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedStep {
    /// Create a directory unless it exists. Its parent exists.
    MakeDirectory {
        /// The path of the directory.
        path: HostPath,
        /// The permissions of the directory, such as `0o755`.
        mode: u32,
    },
    /// Create or replace a file atomically. Its directory exists.
    Write {
        /// The path of the file.
        path: HostPath,
        /// Content, permissions and owner of the file.
        file: HostFile,
    },
    /// Remove a file if it exists.
    Remove {
        /// The path of the file.
        path: HostPath,
    },
    /// Remove a directory if it exists and is empty; keep it otherwise.
    RemoveDirectory {
        /// The path of the directory.
        path: HostPath,
    },
    /// Restart the runtime, which then reads the files of earlier steps.
    Restart {
        /// The runtime to restart.
        runtime: ContainerRuntime,
    },
    /// Reload the runtime, which stops no container.
    Reload {
        /// The runtime to reload.
        runtime: ContainerRuntime,
    },
}

impl PlannedStep {
    /// Returns the path that the step changes; `None` for a step without one.
    pub const fn path(&self) -> Option<&HostPath> {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::Write { path, .. }
            | Self::Remove { path }
            | Self::RemoveDirectory { path } => Some(path),
            Self::Restart { .. } | Self::Reload { .. } => None,
        }
    }
}

impl HostFiles {
    /// Applies `step` in memory, as it would be on a host.
    pub fn apply(&mut self, step: &PlannedStep) {
        match step {
            PlannedStep::MakeDirectory { path, .. } => {
                if !self.exists(path) {
                    self.name_in_parent(path, true);
                    self.insert(path.clone(), HostEntry::Directory(Vec::new()));
                }
            }
            PlannedStep::Write { path, file } => {
                self.name_in_parent(path, true);
                self.insert(path.clone(), HostEntry::File(file.clone()));
            }
            PlannedStep::Remove { path } => {
                self.name_in_parent(path, false);
                self.insert(path.clone(), HostEntry::Absent);
            }
            PlannedStep::RemoveDirectory { path } => {
                if self.names(path).is_empty() {
                    self.name_in_parent(path, false);
                    self.insert(path.clone(), HostEntry::Absent);
                }
            }
            PlannedStep::Restart { .. } | PlannedStep::Reload { .. } => {}
        }
    }

    fn name_in_parent(&mut self, path: &HostPath, there: bool) {
        let Some(parent) = path.parent() else { return };
        let Some(HostEntry::Directory(mut names)) = self.get(&parent).cloned() else { return };
        match names.binary_search_by(|name| name.as_str().cmp(path.name())) {
            Err(at) if there => names.insert(at, path.name().to_owned()),
            Ok(at) if !there => drop(names.remove(at)),
            _ => return,
        }
        self.insert(parent, HostEntry::Directory(names));
    }
}

/// Settings for one target host in files of the host, in addition to the declaration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// Host, with a port if the rules name one.
    pub host: String,
    /// Certificates of authorities, PEM.
    pub authorities: Vec<Vec<u8>>,
    /// Client certificate and key, PEM; `None` if the runtime presents none.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// True if the certificate of the host is not verified.
    pub skip_verify: bool,
    /// Headers of every request, by name.
    pub headers: BTreeMap<String, String>,
    /// True if users of the host bring credentials, as with docker and podman.
    pub users_log_in: bool,
}

/// Omits keys and headers, which may be credentials.
impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("host", &self.host)
            .field("authorities", &self.authorities.len())
            .field("client", &self.client.is_some())
            .field("skip_verify", &self.skip_verify)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}
