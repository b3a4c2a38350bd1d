//! Programs of the workspace, built by cargo.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{host::Host, process};

/// Builds one program and returns its path.
pub(crate) fn build(host: &Host, subcommand: &str, arguments: &[&str]) -> Result<PathBuf> {
    build_with(host, subcommand, arguments, |_| ())
}

/// Builds programs, and returns their paths in any order.
pub(crate) fn build_all(host: &Host, subcommand: &str, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    built(host, subcommand, arguments, |_| ())
}

/// Builds one program as [`build`] does, after `prepare` changed the command of cargo.
pub(crate) fn build_with(
    host: &Host,
    subcommand: &str,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> Result<PathBuf> {
    let last = built(host, subcommand, arguments, prepare)?.pop();
    last.with_context(|| format!("expected an executable from cargo {subcommand}, found none"))
}

/// Builds programs, and returns their paths in the order of cargo's messages.
fn built(
    host: &Host,
    subcommand: &str,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> Result<Vec<PathBuf>> {
    let mut command = process::cargo(host, &[subcommand]);
    command.arg("--message-format=json-render-diagnostics").args(arguments);
    prepare(&mut command);
    Ok(process::text(&mut command)?.lines().filter_map(executable).collect())
}

/// Returns the path in `"executable":"/path"` of a message of cargo.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let (path, _) = rest.split_once('"')?;
    // A path with characters that JSON escapes is not supported.
    (!path.contains('\\')).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_in_the_messages() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/release/image-swap"}"#;
        assert_eq!(executable(message), Some("/t/release/image-swap".into()));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
    }
}
