//! The tasks, each a module of its name.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    bench, cluster, fuzz,
    host::{Host, say},
    image, mutants, test,
};

/// The project's own tasks
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
Environment:
  IMAGE_SWAP_CACHE  where tools and downloads are kept, instead of
                    $XDG_CACHE_HOME/image-swap or ~/.cache/image-swap
  CI                true: install the tools that are missing, and fail where one
                    is not to be had, instead of skipping what needs it"
)]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, once")]
enum Task {
    Test(test::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Cluster(cluster::Args),
    Image(image::Args),
    Mutants(mutants::Args),
}

/// Runs the task that the command line names: exit code 0, 1 if something is
/// wrong with the project, 2 if with the command line.
pub(crate) fn run() -> ExitCode {
    let Line { task } = Line::parse();
    let result = Host::new().and_then(|host| match task {
        Task::Test(args) => Ok(args.run(&host)),
        Task::Bench(args) => args.run(&host),
        Task::Fuzz(args) => args.run(&host),
        Task::Cluster(args) => args.run(&host),
        Task::Image(args) => args.run(&host),
        Task::Mutants(args) => args.run(&host),
    });
    result.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Line;

    #[test]
    fn the_command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn tasks_are_listed_by_name() {
        let help = Line::command().render_help().to_string();
        for task in ["test", "bench", "fuzz", "cluster", "image", "mutants"] {
            assert!(help.contains(&format!("\n  {task} ")), "{task} in {help}");
        }
    }
}
