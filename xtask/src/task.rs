//! The command line: one module for each task.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    bench, circles, cluster, fuzz, guarantees,
    host::{Host, print_line},
    image, matrix, mutants, prose, release, test,
};

/// Tasks of this project
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
Environment:
  IMAGE_SWAP_CACHE       folder of parts and tools, instead of
                         $XDG_CACHE_HOME/image-swap or ~/.cache/image-swap
  IMAGE_SWAP_KUBERNETES  Kubernetes version of the parts, instead of the newest
  IMAGE_SWAP_<PROGRAM>   path of a program to use instead of the pinned one, such
                         as IMAGE_SWAP_KUBELET or IMAGE_SWAP_CARGO_NEXTEST
  CI                     true: a missing part or tool is a failure; Debian packages
                         may be installed on this machine"
)]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Test(test::Args),
    Circles(circles::Args),
    Prose(prose::Args),
    Guarantees(guarantees::Args),
    Matrix(matrix::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Cluster(cluster::Args),
    Image(image::Args),
    Release(release::Args),
    Mutants(mutants::Args),
}

/// Runs the task that the command line names. The exit code is 0, or 1 after a failure, or
/// 2 for a wrong command line.
pub(crate) fn run() -> ExitCode {
    let Line { task } = Line::parse();
    let result = Host::new().and_then(|host| match task {
        Task::Test(args) => args.run(&host),
        Task::Circles(args) => Ok(args.run(&host)),
        Task::Prose(args) => args.run(&host),
        Task::Guarantees(args) => Ok(args.run(&host)),
        Task::Matrix(args) => args.run(&host),
        Task::Bench(args) => args.run(&host),
        Task::Fuzz(args) => args.run(&host),
        Task::Cluster(args) => args.run(&host),
        Task::Image(args) => args.run(&host),
        Task::Release(args) => args.run(&host),
        Task::Mutants(args) => args.run(&host),
    });
    result.unwrap_or_else(|error| {
        print_line(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Line;

    #[test]
    fn command_line_is_well_formed() {
        Line::command().debug_assert();
    }

    #[test]
    fn tasks_are_listed_by_name() {
        let help = Line::command().render_help().to_string();
        for task in [
            "test",
            "circles",
            "prose",
            "guarantees",
            "matrix",
            "bench",
            "fuzz",
            "cluster",
            "image",
            "release",
            "mutants",
        ] {
            assert!(help.contains(&format!("\n  {task} ")), "{task} in {help}");
        }
    }
}
