//! `image-swap man`: prints or writes man pages.

use std::{fs, path::PathBuf, process::ExitCode};

use crate::{failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap man | man -l -
  image-swap man --out share/man/man1";

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write a man page for each command into this directory, which is created.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    /// Prints or writes the manual of `command`.
    pub(crate) fn run(self, mut command: clap::Command) -> Result<ExitCode, Failure> {
        command.build();
        let Some(directory) = self.out else {
            return output::print(&page(command)?);
        };
        fs::create_dir_all(&directory)
            .map_err(|error| Failure::Broken(Failure::file("create", &directory, &error)))?;
        for verb in all(command) {
            let name = verb.get_display_name().unwrap_or_else(|| verb.get_name()).to_owned();
            let path = directory.join(format!("{name}.1"));
            fs::write(&path, page(verb)?)
                .map_err(|error| Failure::Broken(Failure::file("write", &path, &error)))?;
            output::note(&format!("wrote {}", path.display()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns `command` and its visible subcommands, at all levels.
fn all(command: clap::Command) -> Vec<clap::Command> {
    let below: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .flat_map(|verb| all(verb.clone()))
        .collect();
    [vec![command], below].concat()
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
