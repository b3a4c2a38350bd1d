//! The declaration a webhook serves, and follows.

use std::{path::PathBuf, sync::Arc};

use image_swap_core::{declaration::Declaration, diagnostic::Diagnostic};
use image_swap_webhook::{
    reload::{self, Accepted, FileFollower},
    watch::Watch,
};

use super::handles::{WebhookHandles, broken};
use crate::{
    declaration::{DeclarationArgs, Dialect, now},
    failure::Failure,
    output, text,
};

/// A declaration that was read, and the file to follow.
pub(super) struct DeclarationFiles {
    args: DeclarationArgs,
    declaration: Declaration,
    watch: Option<(Watch, PathBuf)>,
}

impl DeclarationFiles {
    /// Reads the declaration, and prints its findings on standard error.
    pub(super) fn read(args: DeclarationArgs) -> Result<Self, Failure> {
        // A pipe can be read only once.
        let file = args.path().filter(|path| !text::is_stdin(path) && path.is_file());
        // Watched first, read then: a change in between is not missed.
        let watch = file.map(|file| {
            let mut watch = Watch::new(&[file]);
            watch.read();
            (watch, file.to_owned())
        });
        let declaration = args.load_for(Dialect::Canonical)?;
        Ok(Self { args, declaration, watch })
    }

    /// Puts the declaration in force, follows it, and adds lines to the output.
    pub(super) fn put_in_force(
        self,
        in_force: &WebhookHandles,
        told: &mut Vec<String>,
    ) -> Result<Option<FileFollower>, Failure> {
        let Self { args, declaration, watch } = self;
        let rules = output::counted(declaration.rules().rules().len(), "rule");
        in_force.rules.replace(declaration.into_rules());
        let Some((watch, file)) = watch else {
            told.push(format!("declaration: {rules}, read once"));
            return Ok(None);
        };
        told.push(format!("declaration: {rules} from {}, followed", file.display()));
        let following = reload::follow_declaration(
            watch,
            file,
            move |text| accept(&args, text),
            in_force.rules.clone(),
            Arc::clone(&in_force.metrics),
        );
        following.map(Some).map_err(|error| broken("a thread", &error))
    }
}

/// Returns the rules in `text`. An error holds places and messages for a log, and none of the
/// lines of `text`.
fn accept(args: &DeclarationArgs, text: &str) -> Result<Accepted, String> {
    let declaration = args.accept(text, now()).map_err(|refused| {
        let errors = refused.findings.iter().filter(|finding| finding.is_error());
        errors.map(line).collect::<Vec<_>>().join("; ")
    })?;
    let warnings = declaration.findings().iter().map(line).collect();
    Ok(Accepted { rules: declaration.into_rules(), warnings })
}

/// A finding in one line.
fn line(finding: &Diagnostic) -> String {
    let Diagnostic { severity: _, code, place, key, message, hint } = finding;
    let within = key.map_or_else(String::new, |key| format!(" of {key}"));
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    let (line, column) = (place.line, place.column);
    format!("line {line}, column {column}{within}: {}: {message}{hint}", code.as_str())
}
