//! `image-swap agent`: runs the agent of a node.

use std::{env, future::Future, path::PathBuf, process::ExitCode, time::Duration};

use image_swap_agent::{AgentRestart, NodeAgent, NodeAgentSettings, RestoredHost};
use image_swap_cluster::{Release, client};
use image_swap_node::ContainerRuntime;
use tokio::{
    signal::unix::{SignalKind, signal},
    task,
};
use tracing::{info, warn};

use crate::{
    choice::{Choice, interval, one_of},
    command::block_on,
    failure::Failure,
    logging::LogArgs,
};

const RELEASE: &str = "Release";
const HOST: &str = "Host";

/// The variable with the name of the node in the pods of the chart.
const NODE_NAME: &str = "NODE_NAME";

/// The flag without which a release is needed.
const RESTORE_ONLY: &str = "restore_only";

/// Values of `--runtime`.
const RUNTIMES: &[Choice<ContainerRuntime>] = &[
    ("containerd", "containerd with a configuration of its own", ContainerRuntime::Containerd),
    ("crio", "CRI-O", ContainerRuntime::Crio),
    ("k3s", "The containerd of k3s or RKE2", ContainerRuntime::K3s),
];

/// Values of `--restart`.
const RESTARTS: &[Choice<AgentRestart>] = &[
    ("never", "An administrator restarts the runtime", AgentRestart::Never),
    ("rolling", "The controller restarts it, one node after the other", AgentRestart::Rolling),
];

const EXAMPLES: &str = "\
Examples:
  image-swap agent --namespace image-swap --node worker-1 --runtime containerd
  image-swap agent --restore-only --root /host";

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespace of the release; required without --restore-only.
    #[arg(short, long, value_name = "NAMESPACE", required_unless_present = RESTORE_ONLY, help_heading = RELEASE)]
    namespace: Option<String>,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = RELEASE)]
    name: String,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE", help_heading = RELEASE)]
    kubeconfig: Option<PathBuf>,
    /// The name of the node [default: the variable `NODE_NAME`].
    #[arg(long, value_name = "NODE", help_heading = HOST)]
    node: Option<String>,
    /// The container runtime of the node; required without --restore-only.
    #[arg(long, value_parser = one_of(RUNTIMES), required_unless_present = RESTORE_ONLY, help_heading = HOST)]
    runtime: Option<ContainerRuntime>,
    /// The directory where the host's root directory is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host", help_heading = HOST)]
    root: PathBuf,
    /// The longest time between two checks of the host's files: `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = interval, help_heading = HOST)]
    resync: Duration,
    /// The restart of the runtime for a declaration that needs one. The agent itself restarts
    /// nothing.
    #[arg(long, value_parser = one_of(RESTARTS), default_value = "never", help_heading = HOST)]
    restart: AgentRestart,
    /// Restore the host without the API server, and then wait for SIGTERM. The record of image-swap
    /// on the host names the runtime.
    #[arg(
        long,
        conflicts_with_all = ["namespace", "name", "kubeconfig", "node", "runtime", "resync", "restart"],
        help_heading = HOST
    )]
    restore_only: bool,
    #[command(flatten)]
    log: LogArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (Some(namespace), Some(runtime)) = (self.namespace, self.runtime) else {
            self.log.begin()?;
            return block_on(restore_only(self.root));
        };
        let node = self.node.or_else(|| env::var(NODE_NAME).ok()).filter(|name| !name.is_empty());
        let node = node.ok_or_else(|| {
            Failure::Unusable(format!(
                "the name of the node is unknown; set --node or the variable {NODE_NAME}"
            ))
        })?;
        self.log.begin()?;
        let release = Release { namespace, name: self.name };
        let settings = NodeAgentSettings {
            secret: release.nodes(),
            namespace: release.namespace,
            node,
            runtime,
            root: self.root,
            resync: self.resync,
            restart: self.restart,
        };
        block_on(follow(settings, self.kubeconfig))
    }
}

/// Runs the agent until a signal stops it.
async fn follow(
    settings: NodeAgentSettings,
    kubeconfig: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let stop = stopped()?;
    let client = client(kubeconfig.as_deref()).await.map_err(Failure::broken)?;
    NodeAgent::new(client, settings).run(stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Restores the host below `root`, and waits for a signal.
async fn restore_only(root: PathBuf) -> Result<ExitCode, Failure> {
    let stop = stopped()?;
    let restored = task::spawn_blocking(move || RestoredHost::restore(&root));
    let restored = restored.await.map_err(Failure::broken)?.map_err(Failure::broken)?;
    report(&restored);
    stop.await;
    Ok(ExitCode::SUCCESS)
}

/// Logs the restoration of a host.
fn report(restored: &RestoredHost) {
    let RestoredHost { runtime, command, notes } = restored;
    for note in notes {
        warn!("{note}");
    }
    match runtime {
        None => info!("nothing to restore: image-swap has not changed this host"),
        Some(runtime) => info!(%runtime, "the edits of image-swap on this host are removed"),
    }
    if let Some(command) = command {
        warn!(command, "run the command on the host to complete the restoration");
    }
    info!("waiting for SIGTERM");
}

/// Returns the wait for SIGTERM or SIGINT, which stop nothing else from now on.
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("shutting down");
    })
}
