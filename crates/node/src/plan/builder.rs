//! Builds a plan and its ledger from the files that a host should have.

use image_swap_core::render::Rendered;
use image_swap_text::{redact::without_userinfo, toml::Toml};

use crate::{
    condition::{self, HostCondition, PlanRefusal},
    desired::{ConfigForm, RestartPolicy},
    files::{HostEntry, HostFile, HostPath},
    ledger::{Ledger, WrittenFile},
    observed::{ObservedHost, RuntimeStart},
    plan::{
        FileState, HostPlan, MirrorRow, PlanOutcome, PlannedStep,
        revert::{RestoredFile, revert},
        sequence::{RestartNeed, StepSequence, not_restarted},
    },
    runtime::{kind::ContainerRuntime, reload::ReloadMode},
};

/// The files that a host should have, and notes about them.
pub(crate) struct PlanBuilder<'a> {
    observed: &'a ObservedHost,
    old: Option<Ledger>,
    form: ConfigForm,
    restart: RestartPolicy,
    wanted: Vec<WantedFile>,
    /// The reason for a restart although the main file stays; `None` if there is none.
    pub(crate) unread: Option<String>,
    /// True if the plan restores the host instead of configuring it.
    restores: bool,
    /// True if files that the runtime reads when it starts keep the edits of image-swap.
    keeps_start: bool,
    /// The plan without its steps.
    pub(crate) plan: HostPlan,
    /// Notes about files that the plan may edit, by path.
    edits: Vec<(HostPath, String)>,
}

/// A file that the host should have.
struct WantedFile {
    path: HostPath,
    file: HostFile,
    /// The file without image-swap; `None` if there is none.
    base: Option<HostFile>,
    /// True if image-swap owns some lines of the file, and not the whole of it.
    is_edited: bool,
}

impl<'a> PlanBuilder<'a> {
    /// Returns a builder without files: its plan restores everything. `form` is `None` for that
    /// of the ledger.
    ///
    /// # Errors
    /// If the host was configured for another runtime or in another form.
    pub(crate) fn new(
        observed: &'a ObservedHost,
        form: Option<ConfigForm>,
        restart: RestartPolicy,
    ) -> Result<Self, PlanRefusal> {
        let old =
            observed.ledger().map_err(|error| condition::LEDGER.refusal(error.to_string()))?;
        let runtime = observed.runtime.name();
        let restores = form.is_none();
        let form = form.or_else(|| Some(old.as_ref()?.form)).unwrap_or_default();
        if let Some(old) = old.as_ref().filter(|old| old.runtime != runtime || old.form != form) {
            let found = format!(
                "image-swap configured this host in the form {} of {}, not in the form {form} of {runtime}",
                old.form, old.runtime
            );
            return Err(condition::MIXED_FORMS.refusal(found));
        }
        Ok(Self {
            observed,
            old,
            form,
            restart,
            wanted: Vec::new(),
            unread: None,
            restores,
            keeps_start: false,
            plan: HostPlan::default(),
            edits: Vec::new(),
        })
    }

    /// Returns true if image-swap wrote the bytes at `path`.
    pub(crate) fn has_written(&self, path: &HostPath) -> bool {
        let file = self.observed.files.file(path);
        file.zip(self.old.as_ref()).is_some_and(|(file, old)| old.has_written(path, &file.bytes))
    }

    /// Returns true if the ledger lists `path`.
    pub(crate) fn is_known(&self, path: &HostPath) -> bool {
        self.old.as_ref().is_some_and(|old| old.files.contains_key(path))
    }

    /// Returns the file at `path` without the edits of image-swap.
    pub(crate) fn base(&self, path: &HostPath) -> Option<HostFile> {
        let now = self.observed.files.file(path)?;
        let written = self.old.as_ref().and_then(|old| old.files.get(path));
        match written.map(|written| revert(path, written, now)) {
            Some(RestoredFile::Remove) => None,
            Some(RestoredFile::Write { file, .. }) => Some(file),
            None | Some(RestoredFile::Stays(_)) => Some(now.clone()),
        }
    }

    /// Returns the file of another tool at `path`: the one that is there, or the one that
    /// was there before image-swap replaced it.
    pub(crate) fn before(&self, path: &HostPath) -> Option<HostFile> {
        let known = self.old.as_ref().and_then(|old| old.files.get(path));
        match known {
            Some(written) => written.before.file(),
            None => self.observed.files.file(path).filter(|now| !is_marked(&now.bytes)).cloned(),
        }
    }

    /// Adds a file that image-swap owns.
    pub(crate) fn whole(&mut self, path: HostPath, file: HostFile) {
        let now = self.observed.files.file(&path);
        let base = now.filter(|now| !is_marked(&now.bytes)).cloned();
        self.wanted.push(WantedFile { path, file, base, is_edited: false });
    }

    /// Adds an edited file; `base` is the file without the edit.
    pub(crate) fn edited(&mut self, path: HostPath, file: HostFile, base: Option<HostFile>) {
        self.wanted.push(WantedFile { path, file, base, is_edited: true });
    }

    /// Notes that the runtime has to be restarted if a file that it reads when it starts was
    /// changed since, and returns true then. The plan depends on one of these files.
    pub(crate) fn depends_on_start(&mut self) -> bool {
        let is_unread = self.observed.start == RuntimeStart::BeforeChange;
        if is_unread && self.unread.is_none() {
            self.unread = Some(not_restarted(self.observed.runtime));
        }
        is_unread
    }

    /// Returns the state of the file at `path`.
    pub(crate) fn state(&self, path: &HostPath, is_read: bool) -> FileState {
        let wanted = self.wanted.iter().find(|want| want.path == *path);
        let now = self.observed.files.file(path);
        match (now, wanted) {
            (None, _) => FileState::Missing,
            (Some(now), Some(want)) if now.is_like(&want.file) && is_read => FileState::InPlace,
            (Some(now), Some(want)) if now.is_like(&want.file) => FileState::Unread,
            (Some(now), _)
                if self.has_written(path) || is_marked(&now.bytes) && !self.is_known(path) =>
            {
                FileState::Outdated
            }
            (Some(_), _) if self.is_known(path) => FileState::Changed,
            (Some(_), _) => FileState::Foreign,
        }
    }

    /// Returns a row for each of `hosts`, with the URLs that are requested for it and the file that
    /// contains them. `is_read` is true if the runtime reads that file.
    pub(crate) fn rows<'h>(
        &self,
        hosts: impl Iterator<Item = (&'h str, Vec<String>)>,
        is_read: bool,
        path: impl Fn(&str) -> HostPath,
    ) -> Vec<MirrorRow> {
        let row = |(host, urls): (&str, Vec<String>)| {
            let path = path(host);
            MirrorRow { host: host.to_owned(), state: self.state(&path, is_read), path, urls }
        };
        hosts.map(row).collect()
    }

    /// Notes that the host meets `case`.
    pub(crate) fn note_case(&mut self, case: &'static HostCondition, found: &str) {
        let note = self.note(case, found);
        self.plan.notes.push(note);
    }

    /// Notes that `case` applies to the file at `path`, which is edited for it. The note is dropped
    /// if the file is already as edited.
    pub(crate) fn note_case_for_edit(
        &mut self,
        path: &HostPath,
        case: &'static HostCondition,
        found: &str,
    ) {
        let note = self.note(case, found);
        self.edits.push((path.clone(), note));
    }

    fn note(&mut self, case: &'static HostCondition, found: &str) -> String {
        if !self.plan.cases.contains(&case) {
            self.plan.cases.push(case);
        }
        format!("{found}: {}", case.advice)
    }

    /// Returns the plan of the `rendered` files, with a row for each host.
    ///
    /// # Errors
    /// If there is something other than a file at one of the paths.
    pub(crate) fn plan_of(
        self,
        rendered: Rendered,
        rows: Vec<MirrorRow>,
    ) -> Result<HostPlan, PlanRefusal> {
        let mut plan = self.finish()?;
        plan.rows = rows;
        plan.inexpressible = rendered.inexpressible;
        plan.notes.extend(rendered.notes.iter().map(|&note| note.to_owned()));
        Ok(plan)
    }

    /// Returns the plan without rows and notes of a renderer.
    ///
    /// # Errors
    /// If there is something other than a file at one of the paths.
    fn finish(mut self) -> Result<HostPlan, PlanRefusal> {
        let observed = self.observed;
        let wanted = std::mem::take(&mut self.wanted);
        let old = self.old.take();
        let mut ledger = Ledger::new(observed.runtime, self.form);
        let mut steps = StepSequence::default();
        for WantedFile { path, file, base, is_edited } in wanted {
            let now = self.there(&path)?;
            let known = old.as_ref().and_then(|old| old.files.get(&path));
            let is_unchanged =
                now.zip(known).is_some_and(|(now, known)| known.has_content(&now.bytes));
            let writes = now.is_none_or(|now| !now.is_like(&file));
            if let (Some(now), Some(known)) = (now, known)
                && writes
                && !is_unchanged
                && known.before.file().is_none_or(|before| !now.is_like(&before))
            {
                let found = format!("{path} was changed since image-swap wrote it");
                self.note_case(&condition::CHANGED, &found);
            }
            let written = match known {
                Some(known) if !is_edited || is_unchanged => WrittenFile {
                    before: known.before.clone(),
                    contents: vec![file.bytes[..].into()],
                },
                // Later edits of other tools are not listed as own.
                Some(known) if !writes => known.clone(),
                _ => WrittenFile::new(base.as_ref(), &file.bytes),
            };
            ledger.files.insert(path.clone(), written);
            if writes {
                steps.write(observed, path, file, &mut ledger);
            }
        }
        self.stale(old.as_ref(), &mut ledger, &mut steps);
        let restart_allowed = self.restart == RestartPolicy::Allow;
        ledger.restart = self.keeps_start && old.as_ref().is_some_and(|old| old.restart);
        let needed =
            if self.keeps_start { RestartNeed::Ignored } else { RestartNeed::Of(self.unread) };
        let plan = steps.plan(observed, old.as_ref(), &ledger, needed);
        let edits = self.edits.into_iter().filter(|(path, _)| plan.written(path).is_some());
        let notes = edits.map(|(_, note)| note).chain(self.plan.notes).collect();
        let HostPlan { steps, restart, .. } = plan;
        Ok(HostPlan { steps, restart, restart_allowed, notes, ..self.plan })
    }

    /// Returns the regular file at `path`; `None` if it is absent.
    fn there(&self, path: &HostPath) -> Result<Option<&'a HostFile>, PlanRefusal> {
        match self.observed.files.get(path) {
            None | Some(HostEntry::Absent) => Ok(None),
            Some(HostEntry::File(file)) => Ok(Some(file)),
            Some(HostEntry::Link(target, _)) => {
                Err(condition::LINK.refusal(format!("{path} is a symbolic link to {target}")))
            }
            Some(other) => {
                let what =
                    if let HostEntry::Other(what) = other { what.as_str() } else { "a directory" };
                Err(condition::NO_FILE.refusal(format!("{path}: expected a file, found {what}")))
            }
        }
    }

    /// Adds steps that restore the files of the ledger that are no longer wanted.
    fn stale(&mut self, old: Option<&Ledger>, ledger: &mut Ledger, steps: &mut StepSequence) {
        let Some(old) = old else { return };
        let stale = old.files.iter().filter(|(path, _)| !ledger.files.contains_key(*path));
        // A file that names a CA goes before the CA.
        let (first, rest): (Vec<_>, Vec<_>) = stale.partition(|(path, _)| {
            std::path::Path::new(path.as_str()).extension().is_some_and(|end| end == "toml")
        });
        for (path, written) in first.into_iter().chain(rest) {
            let Some(now) = self.observed.files.file(path) else {
                if !self.observed.is_gone(path, old) {
                    ledger.files.insert(path.clone(), written.clone());
                    self.plan.notes.push(format!(
                        "{path} is in a directory that is not mounted, and stays as it is"
                    ));
                    if self.restores {
                        self.plan.unmounted.get_or_insert_with(|| path.clone());
                    }
                }
                continue;
            };
            if self.keeps_start && is_kept(self.observed, path, written, now) {
                ledger.files.insert(path.clone(), written.clone());
                let runtime = self.observed.runtime;
                self.plan.leftovers.get_or_insert_with(|| {
                    format!(
                        "{path} keeps the edits of image-swap until {runtime} may be restarted, and they move no image"
                    )
                });
                continue;
            }
            match revert(path, written, now) {
                RestoredFile::Remove => {
                    steps.back(self.observed, PlannedStep::Remove { path: path.clone() });
                }
                RestoredFile::Write { file, left } => {
                    if !left.is_empty() {
                        self.plan.notes.push(format!(
                            "{path}: another tool changed {}, which stays as it is",
                            without_userinfo(&left.join(", "))
                        ));
                    }
                    if !now.is_like(&file) {
                        steps.back(self.observed, PlannedStep::Write { path: path.clone(), file });
                    }
                }
                RestoredFile::Stays(reason) => {
                    let note = format!(
                        "{path} was changed since image-swap wrote it, and stays: {reason}"
                    );
                    self.plan.notes.push(note);
                }
            }
        }
        // The innermost first.
        for directory in old.directories.iter().rev() {
            if ledger.files.keys().any(|path| path.is_below(directory)) {
                ledger.directories.insert(directory.clone());
            } else if self.observed.files.exists(directory) {
                steps.remove_directory(directory.clone());
            }
        }
    }
}

/// Plans the restoration of a host: the original bytes of a file that image-swap wrote last, and
/// the removal of image-swap's edits from any other file.
///
/// If only directories of the host are mounted and a restart is needed, the files that are read
/// when the runtime starts keep edits that move no image: see [`HostPlan::leftovers`].
///
/// # Errors
/// If the ledger cannot be read.
pub fn restore(observed: &ObservedHost, restart: RestartPolicy) -> Result<HostPlan, PlanRefusal> {
    let whole = PlanBuilder::new(observed, None, restart)?.finish()?;
    if !observed.is_mounted || whole.outcome() != PlanOutcome::NeedsRestart {
        return Ok(whole);
    }
    let mut part = PlanBuilder::new(observed, None, restart)?;
    part.keeps_start = true;
    if part.old.as_ref().is_some_and(|old| moves_images(observed, old)) {
        return Ok(whole);
    }
    part.finish()
}

/// Returns true if edits of image-swap in files that the runtime reads when it starts move images,
/// or have taken settings away from there.
fn moves_images(observed: &ObservedHost, ledger: &Ledger) -> bool {
    let leaves = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Toml::parse(text).ok()?.leaves())
    };
    let adds_only = |written: &WrittenFile| {
        let before = written.before.file().map(|file| file.bytes).unwrap_or_default();
        let after = written.contents.last().map(crate::LedgerBytes::get).unwrap_or_default();
        leaves(&before).zip(leaves(&after)).is_some_and(|(before, after)| {
            before.iter().all(|(key, value)| after.get(key) == Some(value))
        })
    };
    match observed.runtime {
        ContainerRuntime::Containerd => {
            let edited = ledger.files.get(&observed.config);
            ledger.form != ConfigForm::CertsD || !edited.is_none_or(adds_only)
        }
        // Files of CRI-O refer to a file of credentials.
        ContainerRuntime::Crio => false,
        _ => true,
    }
}

/// Returns true if the edits `written` to the file `now` at `path` stay until a restart.
fn is_kept(
    observed: &ObservedHost,
    path: &HostPath,
    written: &WrittenFile,
    now: &HostFile,
) -> bool {
    let mode = ReloadMode::of(observed.runtime, &observed.config, path);
    // The drop-in of CRI-O refers to the file of credentials.
    let of_crio = observed.runtime == ContainerRuntime::Crio && path.is_below(&"/etc/crio".into());
    let is_edited = match revert(path, written, now) {
        RestoredFile::Remove => true,
        RestoredFile::Write { file, .. } => !now.is_like(&file),
        RestoredFile::Stays(_) => false,
    };
    (mode == ReloadMode::Restart || of_crio) && is_edited
}

/// The first words of every file that image-swap writes in a format with comments.
pub(crate) const MARK: &str = "# Written by image-swap ";

/// Returns true if a file bears the mark of image-swap, though no ledger lists it.
pub(crate) fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}
