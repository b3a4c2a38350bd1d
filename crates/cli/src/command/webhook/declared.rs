//! The declaration a webhook serves, and follows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use image_swap_core::{declaration::Declaration, finding::Finding};
use image_swap_webhook::{
    reload::{self, Accepted, FileFollower},
    watch::Watch,
};

use super::{InForce, broken};
use crate::{
    declaration::{DeclarationArgs, now},
    failure::Failure,
    output,
};

/// A declaration that was read, and what there is to follow.
pub(super) struct Declared {
    args: DeclarationArgs,
    declaration: Declaration,
    watch: Option<(Watch, PathBuf)>,
}

impl Declared {
    /// Reads it, or says on standard error what is wrong with it.
    pub(super) fn read(args: DeclarationArgs) -> Result<Self, Failure> {
        // What is no regular file, a pipe say, can be read but once.
        let file = args.path().filter(|path| *path != Path::new("-") && path.is_file());
        let file = file.map(Path::to_owned);
        // Watched first, read then: a change in between is not missed.
        let watch = file.map(|file| {
            let mut watch = Watch::new(&[&file]);
            watch.read();
            (watch, file)
        });
        let declaration = args.serving(args.load()?)?;
        if !declaration.findings().is_empty() {
            output::note(&output::findings(declaration.findings(), Some(&declaration)));
        }
        Ok(Self { args, declaration, watch })
    }

    /// Puts it in force, follows it, and adds to what the user is told.
    pub(super) fn put_in_force(
        self,
        in_force: &InForce,
        told: &mut Vec<String>,
    ) -> Result<Option<FileFollower>, Failure> {
        let Self { args, declaration, watch } = self;
        let rules = match declaration.rules().rules().len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
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

/// The rules in `text`; or what is wrong with it, for a log: places and
/// messages, none of the text's own lines.
fn accept(args: &DeclarationArgs, text: &str) -> Result<Accepted, String> {
    let declaration = args.accept(text, now()).map_err(|refused| {
        let errors = refused.findings.iter().filter(|finding| finding.is_error());
        errors.map(line).collect::<Vec<_>>().join("; ")
    })?;
    let warnings = declaration.findings().iter().map(line).collect();
    Ok(Accepted { rules: declaration.into_rules(), warnings })
}

/// A finding in one line.
fn line(finding: &Finding) -> String {
    let Finding { severity: _, code, place, key, message, hint } = finding;
    let within = key.map_or_else(String::new, |key| format!(" of {key}"));
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    let (line, column) = (place.line, place.column);
    format!("line {line}, column {column}{within}: {}: {message}{hint}", code.as_str())
}
