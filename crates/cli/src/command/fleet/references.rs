//! `image-swap fleet references`: lists the objects that refer to the bootstrap script.

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use image_swap_core::machine_template::ScriptReference;
use image_swap_fleet::{note_references, references};

use crate::{
    command::{block_on, connect::ConnectArgs},
    failure::Failure,
    output::{counted, end, stdout},
};

const EXAMPLES: &str = "\
Examples:
  image-swap fleet references --namespaces clusters";

/// Longest list of a namespace in the output, in objects.
const LONGEST: usize = 100;

/// Arguments of `fleet references`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespaces with machine templates.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    namespaces: Vec<String>,
    /// Write the list to an annotation of each Secret, publish it in an Event, and exit with 0 in any
    /// case. The chart does so when it is uninstalled.
    #[arg(long)]
    note: bool,
    #[command(flatten)]
    hub: ConnectArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (mut printed, mut is_complete) = (String::new(), true);
        block_on(async {
            let client = match self.hub.connect().await {
                Ok(client) => client,
                Err(error) if self.note => {
                    let _ = writeln!(printed, "{error}");
                    return Ok(());
                }
                Err(error) => return Err(Failure::unusable(error)),
            };
            for namespace in self.namespaces.iter().filter(|it| !it.is_empty()) {
                let mut outcome = references(&client, namespace).await;
                if let Ok(found) = &outcome {
                    add(&mut printed, namespace, found);
                    if self.note
                        && let Err(error) = note_references(&client, namespace, found).await
                    {
                        outcome = Err(error);
                    }
                }
                if let Err(error) = outcome {
                    is_complete = false;
                    let _ = writeln!(printed, "{namespace}: {error}");
                }
            }
            Ok(())
        })?;
        let mut out = stdout();
        out.write_all(printed.as_bytes())?;
        // A failed hook would be an error of Helm.
        end(&mut out, is_complete || self.note)
    }
}

/// Adds the objects of `namespace` to the lines for an administrator.
fn add(printed: &mut String, namespace: &str, found: &[ScriptReference]) {
    for reference in found.iter().take(LONGEST) {
        let _ = writeln!(printed, "{} {namespace}/{}", reference.kind, reference.name);
    }
    if let Some(more) = found.len().checked_sub(LONGEST).filter(|more| *more > 0) {
        let _ = writeln!(printed, "and {}", counted(more, "more object"));
    }
    let _ = if found.is_empty() {
        writeln!(printed, "{namespace}: no object refers to the Secret image-swap-bootstrap")
    } else {
        writeln!(
            printed,
            "{namespace}: keep the Secret image-swap-bootstrap until {} no longer {} to it",
            counted(found.len(), "object"),
            if found.len() == 1 { "refers" } else { "refer" }
        )
    };
}
