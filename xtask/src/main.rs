//! Project tasks.

mod cluster;

use clap::Parser;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
enum Task {
    Cluster(cluster::Args),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Cluster(args) => args.run(),
    }
}
