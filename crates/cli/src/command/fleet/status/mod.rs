//! `image-swap fleet status`: prints the workload clusters of a management cluster.

mod text;

use std::process::ExitCode;

use image_swap_fleet::{FleetOverview, FleetScope, overview};

use crate::{
    command::{block_on, connect::ConnectArgs},
    failure::Failure,
    follow::{WatchedStatus, show},
    output::Output,
};

const EXAMPLES: &str = "\
Exit codes:
  0  the declaration is in force on all clusters, and none reports a problem
  1  the declaration is not in force everywhere, a cluster reports a problem, or one of several
     namespaces cannot be read
  2  no namespace can be read, or the API server does not answer or does not serve WorkloadCluster
     objects

Examples:
  image-swap fleet status --all-namespaces
  image-swap fleet status -n team-a -n team-b
  image-swap fleet status -A --watch
  image-swap fleet status -A -o json";

/// Arguments of `fleet status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A namespace with workload clusters. Can be repeated. The default is the namespace of the
    /// context.
    #[arg(short, long, value_name = "NAMESPACE", value_delimiter = ',')]
    namespace: Vec<String>,
    /// Show the workload clusters of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ConnectArgs,
    /// Show the clusters again each time they change, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl WatchedStatus for FleetOverview {
    fn text(&self) -> String {
        text::text(self)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.is_like(other)
    }

    fn is_healthy(&self) -> bool {
        self.healthy
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        block_on(self.show())
    }

    async fn show(self) -> Result<ExitCode, Failure> {
        let client = self.cluster.connect().await.map_err(Failure::unusable)?;
        let scope = match (self.all_namespaces, self.namespace.is_empty()) {
            (true, _) => FleetScope::All,
            (false, true) => FleetScope::Namespaces(vec![client.default_namespace().to_owned()]),
            (false, false) => FleetScope::Namespaces(self.namespace),
        };
        let read = async || overview(&client, &scope).await.map_err(Failure::unusable);
        show(read, self.watch, self.output).await
    }
}
