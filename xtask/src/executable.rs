//! Programs of the workspace, built by cargo.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{host::Host, process};

/// Builds one program: where it is.
pub(crate) fn build(host: &Host, subcommand: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut command = process::cargo(host, &[subcommand]);
    command.arg("--message-format=json-render-diagnostics").args(arguments);
    let messages = process::text(&mut command)?;
    let last = messages.lines().rev().find_map(executable);
    last.with_context(|| format!("expected an executable from cargo {subcommand}, found none"))
}

/// `"executable":"/path"` in one of cargo's messages.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let (path, _) = rest.split_once('"')?;
    // Paths with characters that JSON escapes are beyond what this reads.
    (!path.contains('\\')).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/release/image-swap"}"#;
        assert_eq!(executable(message), Some("/t/release/image-swap".into()));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
    }
}
