//! `image-swap man`

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use clap::CommandFactory;

use crate::{cli::Cli, failure::Failure, output};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each verb into this directory instead of printing the main one.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { out } = self;
        let mut command = Cli::command();
        command.build();
        let Some(directory) = out else {
            let mut out = output::stdout();
            out.write_all(&page(command)?)?;
            out.flush()?;
            return Ok(ExitCode::SUCCESS);
        };
        let verbs: Vec<clap::Command> = command.get_subcommands().cloned().collect();
        let pages =
            verbs.into_iter().map(|verb| (format!("image-swap-{}.1", verb.get_name()), verb));
        for (name, verb) in std::iter::once(("image-swap.1".to_owned(), command)).chain(pages) {
            let path = directory.join(name);
            fs::write(&path, page(verb)?)
                .map_err(|error| Failure::Broken(Failure::file("write", &path, &error)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
