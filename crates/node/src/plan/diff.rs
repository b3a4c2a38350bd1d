//! A plan as people read it: a unified diff, without credentials.

use std::fmt::Write as _;

use image_swap_text::{diff::push_hunks, encoding::Encoding};

use crate::{
    files::HostFile,
    ledger::Ledger,
    observed::ObservedHost,
    plan::{HostPlan, PlannedStep, redact::Redacted},
};

impl HostPlan {
    /// Returns the changes of `observed`, the host before the plan, as a unified diff. It
    /// contains no credential in any spelling, and not the ledger.
    pub fn diff(&self, observed: &ObservedHost) -> String {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.path() != Some(&Ledger::path())) {
            match step {
                PlannedStep::Write { path, file } => {
                    let old = observed.files.file(path);
                    let from = if old.is_some() { path.as_str() } else { "/dev/null" };
                    let _ = writeln!(text, "--- {from}\n+++ {path}{}", mode(old, file));
                    self.changes(old, Some(file), &mut text);
                }
                PlannedStep::Remove { path } => {
                    let _ = writeln!(text, "--- {path}\n+++ /dev/null");
                    self.changes(observed.files.file(path), None, &mut text);
                }
                PlannedStep::Restart { runtime } => {
                    let _ = writeln!(text, "# restart {runtime}");
                }
                PlannedStep::Reload { runtime } => {
                    let _ = writeln!(text, "# reload {runtime}");
                }
                PlannedStep::MakeDirectory { .. } | PlannedStep::RemoveDirectory { .. } => {}
            }
        }
        text
    }

    fn changes(&self, old: Option<&HostFile>, new: Option<&HostFile>, out: &mut String) {
        let bytes =
            |file: Option<&HostFile>| file.map(|file| file.bytes.clone()).unwrap_or_default();
        let text = |file| Encoding::decode(&bytes(file)).map(|(_, text)| text);
        let (Some(old), Some(new)) = (text(old), text(new)) else {
            out.push_str("(not shown: it is not text)\n");
            return;
        };
        let (Some(shown_old), Some(shown_new)) =
            (Redacted::new(&old, &self.secrets), Redacted::new(&new, &self.secrets))
        else {
            out.push_str("(not shown: it contains a key, or a credential over several lines)\n");
            return;
        };
        push_hunks(out, &old, &new, |line| shown_old.line(line), |line| shown_new.line(line));
    }
}

/// Returns the permissions as text if they change or are unusual; otherwise an empty text.
fn mode(old: Option<&HostFile>, new: &HostFile) -> String {
    match old {
        Some(old) if old.mode != new.mode => {
            format!(" (mode {:03o} instead of {:03o})", new.mode, old.mode)
        }
        None if new.mode != 0o644 => format!(" (mode {:03o})", new.mode),
        _ => String::new(),
    }
}
