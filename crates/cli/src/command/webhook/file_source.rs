//! The declaration of a webhook from a file, reloaded when it changes.

use std::{path::PathBuf, sync::Arc};

use image_swap_core::{declaration::Declaration, diagnostic::Diagnostic};
use image_swap_webhook::{
    reload::{self, Accepted, FileFollower},
    watch::Watch,
};

use super::handles::{WebhookHandles, broken};
use crate::{
    declaration::{AcceptError, DeclarationArgs, DeclarationUse, Dialect, now},
    failure::Failure,
    output, text,
};

/// A declaration and the file that is watched.
pub(super) struct DeclarationFiles {
    args: DeclarationArgs,
    declaration: Declaration,
    watch: Option<(Watch, PathBuf)>,
}

impl DeclarationFiles {
    /// Reads the declaration. Prints its warnings on standard error.
    pub(super) fn read(args: DeclarationArgs) -> Result<Self, Failure> {
        // A pipe can be read only once.
        let file = args.path().filter(|path| !text::is_stdin(path) && path.is_file());
        // Watched before it is read: no change in between is missed.
        let watch = file.map(|file| {
            let mut watch = Watch::new(&[file]);
            watch.read();
            (watch, file.to_owned())
        });
        let declaration = args.load_for(Dialect::Canonical, DeclarationUse::Images)?;
        Ok(Self { args, declaration, watch })
    }

    /// Puts the declaration in force and follows its file. Adds lines to `shown`.
    pub(super) fn put_in_force(
        self,
        in_force: &WebhookHandles,
        shown: &mut Vec<String>,
    ) -> Result<Option<FileFollower>, Failure> {
        let Self { args, declaration, watch } = self;
        let rules = output::counted(declaration.rules().rules().len(), "rule");
        in_force.rules.replace(declaration.into_rules());
        let Some((watch, file)) = watch else {
            shown.push(format!("declaration: {rules}, not reloaded"));
            return Ok(None);
        };
        shown.push(format!("declaration: {rules} from {}, reloaded on change", file.display()));
        let following = reload::follow_declaration(
            watch,
            file,
            move |text| accept(&args, text),
            in_force.rules.clone(),
            Arc::clone(&in_force.metrics),
        );
        following.map(Some).map_err(|error| broken("start a thread", &error))
    }
}

/// Returns the rules in `text`. An error contains places and messages for a log, and no line
/// of `text`.
fn accept(args: &DeclarationArgs, text: &str) -> Result<Accepted, String> {
    let declaration = args.accept(text, now()).map_err(|error| match error {
        AcceptError::Kind(reason) => reason,
        AcceptError::Content(error) => {
            let errors = error.findings.iter().filter(|finding| finding.is_error());
            errors.map(line).collect::<Vec<_>>().join("; ")
        }
    })?;
    let concerns = |finding: &&Diagnostic| DeclarationUse::Images.concerns(finding);
    let warnings = declaration.findings().iter().filter(concerns).map(line).collect();
    Ok(Accepted { rules: declaration.into_rules(), warnings })
}

/// Returns `finding` as one line.
fn line(finding: &Diagnostic) -> String {
    let Diagnostic { severity: _, code, place, key, message, hint } = finding;
    let within = key.map_or_else(String::new, |key| format!(" of {key}"));
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    let (line, column) = (place.line, place.column);
    format!("line {line}, column {column}{within}: {}: {message}{hint}", code.as_str())
}
