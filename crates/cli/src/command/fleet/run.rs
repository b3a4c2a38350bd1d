//! `image-swap fleet`: runs the fleet controller.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use image_swap_cluster::{LeaderElection, LeaseTiming, Release, client};
use image_swap_core::{
    fleet::inventory::{
        ClusterSource,
        cluster_profile::{ConfiguredProvider, CredentialPlugin},
        selector::LabelSelector,
    },
    mirror::Fallback,
};
use image_swap_fleet::{
    FleetController, FleetMetrics, FleetSettings, FleetTiming,
    sources::{SEARCH_INTERVAL, SourceSettings},
};
use image_swap_serve::raise_file_limit;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    choice::{Choice, FALLBACKS, address, one_of},
    command::{block_on_threads, candidate},
    failure::Failure,
    logging::LogArgs,
};

/// Threads of the tasks of workload clusters. A declaration for a thousand clusters needs more than
/// one.
const THREADS: usize = 2;
const MANAGEMENT: &str = "Management cluster";
const INVENTORY: &str = "Workload clusters";
const ROLLOUT: &str = "Rollout";
const SERVER: &str = "Server";

/// Values of `--source`.
const SOURCES: &[Choice<ClusterSource>] = &[
    ("cluster-api", "Clusters of Cluster API", ClusterSource::ClusterApi),
    ("cluster-profile", "ClusterProfiles of a cluster inventory", ClusterSource::ClusterProfile),
    (
        "kubeconfig",
        "Secrets with the label image-swap.io/fleet-cluster=enabled",
        ClusterSource::Kubeconfig,
    ),
    ("pull", "Clusters that pull, by fleet enroll", ClusterSource::Pull),
];

/// Arguments of the fleet controller.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The namespace of the fleet controller.
    #[arg(short, long, value_name = "NAMESPACE", required = true, help_heading = MANAGEMENT)]
    namespace: Option<String>,
    /// The full name of the release of the management cluster.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = MANAGEMENT)]
    name: String,
    /// The namespace of that release.
    #[arg(long, value_name = "NAMESPACE", required = true, help_heading = MANAGEMENT)]
    release_namespace: Option<String>,
    /// The kubeconfig of the management cluster; the default is that of kubectl, or the pod's own
    /// account.
    #[arg(long, value_name = "FILE", help_heading = MANAGEMENT)]
    kubeconfig: Option<PathBuf>,
    /// The namespaces with workload clusters. No other namespace is read.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true, help_heading = INVENTORY)]
    namespaces: Vec<String>,
    /// The label selector of workload clusters: `env=prod,tier in (a,b)`.
    #[arg(long, value_name = "SELECTOR", default_value = "", help_heading = INVENTORY)]
    selector: LabelSelector,
    /// The sources of the inventory.
    #[arg(long, value_name = "SOURCES", value_delimiter = ',', value_parser = one_of(SOURCES), default_values = ["cluster-api", "cluster-profile", "kubeconfig", "pull"], help_heading = INVENTORY)]
    source: Vec<ClusterSource>,
    /// A credential provider of cluster profiles with its plugin, secretreader or
    /// kubeconfig-secretreader. May be repeated.
    #[arg(long, value_name = "NAME=PLUGIN", value_parser = provider, help_heading = INVENTORY)]
    credential_provider: Vec<ConfiguredProvider>,
    /// The namespace of image-swap in workload clusters.
    #[arg(long, value_name = "NAMESPACE", default_value = "image-swap", help_heading = ROLLOUT)]
    workload_namespace: String,
    /// The labels of clusters that receive a declaration before the others.
    #[arg(long, value_name = "SELECTOR", help_heading = ROLLOUT)]
    canary: Option<LabelSelector>,
    /// The maximum number of clusters that receive a declaration at a time; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = ROLLOUT)]
    wave_size: usize,
    /// Write the bootstrap script of new machines to the Secret image-swap-bootstrap in the
    /// namespaces of clusters, with this fallback to public registries.
    #[arg(long, value_name = "FALLBACK", value_parser = one_of(FALLBACKS), help_heading = ROLLOUT)]
    bootstrap_fallback: Option<Fallback>,
    /// The address of /healthz, /readyz and /metrics, plain HTTP.
    #[arg(long, value_name = "IP:PORT", value_parser = address, default_value = "0.0.0.0:8080", help_heading = SERVER)]
    admin_listen: SocketAddr,
    /// Export the state of each workload cluster, with its namespace and name as labels.
    #[arg(long, help_heading = SERVER)]
    cluster_metrics: bool,
    #[command(flatten)]
    log: LogArgs,
}

impl RunArgs {
    /// Runs the fleet controller until a signal stops it.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        self.log.begin()?;
        let missing = |flag: &str| Failure::Unusable(format!("name the flag {flag}"));
        let namespace = self.namespace.ok_or_else(|| missing("--namespace"))?;
        let release_namespace =
            self.release_namespace.ok_or_else(|| missing("--release-namespace"))?;
        let filled = |name: &String| !name.is_empty();
        let settings = FleetSettings {
            namespace,
            release: Release { namespace: release_namespace, name: self.name },
            workload: Release { namespace: self.workload_namespace, name: "image-swap".to_owned() },
            sources: SourceSettings {
                namespaces: self.namespaces.into_iter().filter(filled).collect(),
                selector: self.selector,
                sources: self.source.into_iter().collect(),
                providers: self.credential_provider,
                search_interval: SEARCH_INTERVAL,
            },
            canary: self.canary,
            wave_size: self.wave_size,
            bootstrap: self.bootstrap_fallback,
            has_cluster_metrics: self.cluster_metrics,
            timing: FleetTiming::default(),
        };
        block_on_threads(THREADS, lead(settings, self.kubeconfig, self.admin_listen))
    }
}

/// Runs the fleet controller, then releases the leadership.
async fn lead(
    settings: FleetSettings,
    kubeconfig: Option<PathBuf>,
    admin_listen: SocketAddr,
) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    // Each workload cluster needs a connection, and two with a server that has only HTTP/1.1.
    raise_file_limit();
    let admin = candidate::admin_port(admin_listen)?;
    let client = client(kubeconfig.as_deref()).await.map_err(Failure::broken)?;
    let identity = candidate::identity("image-swap-fleet");
    let candidate = settings.candidate();
    let mut election = LeaderElection::new(&client, &candidate, &identity, LeaseTiming::default());
    let controller = FleetController::new(&client, settings);
    let metrics = FleetMetrics::new(controller.report(), election.leadership());
    let leadership = election.leadership();
    tokio::select! {
        () = admin.serve(metrics) => {}
        () = election.run() => {}
        () = controller.run(leadership) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("shutting down");
    election.release().await;
    Ok(ExitCode::SUCCESS)
}

/// Parses a credential provider with its plugin.
fn provider(text: &str) -> Result<ConfiguredProvider, String> {
    let expected =
        || format!("expected NAME=secretreader or NAME=kubeconfig-secretreader, found {text}");
    let (name, plugin) = text.split_once('=').ok_or_else(expected)?;
    let plugin = CredentialPlugin::named(plugin).ok_or_else(expected)?;
    Ok(ConfiguredProvider { name: name.to_owned(), plugin })
}
