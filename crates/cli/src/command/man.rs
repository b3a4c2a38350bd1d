//! `image-swap man`

use std::{fs, path::PathBuf, process::ExitCode};

use crate::{failure::Failure, output};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each verb into this directory instead of printing the main one.
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
            .map_err(|error| Failure::Broken(Failure::file("make", &directory, &error)))?;
        for verb in all(command) {
            let name = verb.get_display_name().unwrap_or_else(|| verb.get_name()).to_owned();
            let path = directory.join(format!("{name}.1"));
            fs::write(&path, page(verb)?)
                .map_err(|error| Failure::Broken(Failure::file("write", &path, &error)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A command and all below it that people are told of.
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
