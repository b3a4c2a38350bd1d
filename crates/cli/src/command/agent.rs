//! `image-swap agent`

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use image_swap_agent::{NodeAgent, NodeAgentSettings};
use image_swap_cluster::{Release, client};
use image_swap_node::ContainerRuntime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, level_filters::LevelFilter};

use crate::{
    choice::{Choice, interval, one_of},
    command::block_on,
    failure::Failure,
    logging,
    output::Output,
};

const RELEASE: &str = "Release";
const HOST: &str = "Host";
const LOG: &str = "Log";

/// The variable with the name of the node in the pods of the chart.
const NODE_NAME: &str = "NODE_NAME";

/// Values of `--runtime`.
const RUNTIMES: &[Choice<ContainerRuntime>] = &[
    ("containerd", "containerd with a configuration of its own", ContainerRuntime::Containerd),
    ("crio", "CRI-O", ContainerRuntime::Crio),
    ("k3s", "The containerd of k3s or RKE2", ContainerRuntime::K3s),
];

const EXAMPLES: &str = "\
Examples:
  image-swap agent --namespace image-swap --node worker-1 --runtime containerd";

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE", help_heading = RELEASE)]
    namespace: String,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = RELEASE)]
    name: String,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE", help_heading = RELEASE)]
    kubeconfig: Option<PathBuf>,
    /// The name of the node [default: the variable `NODE_NAME`].
    #[arg(long, value_name = "NODE", help_heading = HOST)]
    node: Option<String>,
    /// The container runtime of the node.
    #[arg(long, value_parser = one_of(RUNTIMES), help_heading = HOST)]
    runtime: ContainerRuntime,
    /// The directory where the host's root directory is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host", help_heading = HOST)]
    root: PathBuf,
    /// The longest time between two checks of the host's files: `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = interval, help_heading = HOST)]
    resync: Duration,
    /// The log level: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO, help_heading = LOG)]
    log_level: LevelFilter,
    /// The form of the log.
    #[arg(long, value_enum, default_value_t, help_heading = LOG)]
    log_format: Output,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let node = self.node.or_else(|| env::var(NODE_NAME).ok()).filter(|name| !name.is_empty());
        let node = node.ok_or_else(|| {
            Failure::Unusable(format!(
                "the name of the node is unknown; set --node or the variable {NODE_NAME}"
            ))
        })?;
        logging::begin(self.log_level, self.log_format)?;
        let release = Release { namespace: self.namespace, name: self.name };
        let settings = NodeAgentSettings {
            secret: release.nodes(),
            namespace: release.namespace,
            node,
            runtime: self.runtime,
            root: self.root,
            resync: self.resync,
        };
        block_on(follow(settings, self.kubeconfig))
    }
}

/// Runs the agent until a signal stops it.
async fn follow(
    settings: NodeAgentSettings,
    kubeconfig: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    let client = client(kubeconfig.as_deref()).await.map_err(Failure::broken)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("shutting down");
    };
    NodeAgent::new(client, settings).run(stop).await;
    Ok(ExitCode::SUCCESS)
}
