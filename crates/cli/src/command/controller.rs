//! `image-swap controller`: runs the controller of a release.

use std::{future, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::ArgAction;
use image_swap_cluster::{
    AgentSettings, Controller, ControllerMetrics, Intervals, LeaderElection, LeaseTiming,
    NodeRestartSettings, ReadinessLimits, Release, Settings, config, connect,
};
use image_swap_core::{
    control::{policy::RequestedPolicy, webhooks::SYSTEM_NAMESPACES},
    labels,
    mirror::Fallback,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

use crate::{
    choice::{Choice, address, interval, one_of},
    command::{block_on, candidate},
    failure::Failure,
    logging::LogArgs,
};

const RELEASE: &str = "Release";
const ADMISSION: &str = "Admission";
const AGENTS: &str = "Agents of nodes";
const RESTARTS: &str = "Restarts of container runtimes";
const SERVER: &str = "Server";

/// Values of `--policy`.
const POLICIES: &[Choice<RequestedPolicy>] = &[
    ("fail", "The API server refuses them, once it has reached the webhook", RequestedPolicy::Fail),
    ("ignore", "The API server admits them unchanged", RequestedPolicy::Ignore),
    (
        "audit",
        "As ignore, and the webhook only reports what it would change",
        RequestedPolicy::Audit,
    ),
];

/// Values of `--agent-fallback`.
const FALLBACKS: &[Choice<Fallback>] = &[
    ("upstream", "Nodes ask the public registry if no mirror serves an image", Fallback::Upstream),
    ("never", "Nodes ask mirrors alone for what a rule covers", Fallback::Never),
];

const EXAMPLES: &str = "\
Examples:
  image-swap controller --namespace image-swap
  image-swap controller --namespace image-swap --kubeconfig ~/.kube/config --policy audit";

/// Arguments of `controller`.
#[expect(clippy::struct_excessive_bools, reason = "each flag goes with any other")]
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE", help_heading = RELEASE)]
    namespace: String,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = RELEASE)]
    name: String,
    /// The Secret with the declaration of the chart, if there is one.
    #[arg(long, value_name = "SECRET", help_heading = RELEASE)]
    chart_secret: Option<String>,
    /// A Secret with a serving certificate that another program renews, such as cert-manager.
    #[arg(long, value_name = "SECRET", help_heading = RELEASE)]
    tls_existing_secret: Option<String>,
    /// The labels of the namespace jet-system if the controller creates it: KEY=VALUE,KEY=VALUE.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = label, help_heading = RELEASE)]
    registry_info_labels: Vec<(String, String)>,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE", help_heading = RELEASE)]
    kubeconfig: Option<PathBuf>,
    /// The Service of the webhook replicas [default: NAME-admission].
    #[arg(long, value_name = "SERVICE", help_heading = ADMISSION)]
    service: Option<String>,
    /// The port of the Service.
    #[arg(long, value_name = "PORT", default_value_t = 443, help_heading = ADMISSION)]
    service_port: u16,
    /// The handling of ordinary pods while the webhook is unavailable.
    #[arg(long, value_parser = one_of(POLICIES), default_value = "fail", help_heading = ADMISSION)]
    policy: RequestedPolicy,
    /// Seconds that the API server waits for the webhook.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=30), help_heading = ADMISSION)]
    timeout_seconds: u8,
    /// Namespaces whose pods are admitted unchanged while the webhook is unavailable;
    /// kube-system always is one.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = SYSTEM_NAMESPACES, help_heading = ADMISSION)]
    system_namespaces: Vec<String>,
    /// The label that exempts a namespace (`disabled`), or with --opt-in includes it (`enabled`).
    #[arg(long, value_name = "LABEL", default_value = labels::OPT_OUT, help_heading = ADMISSION)]
    exclude_label: String,
    /// Swap images only in namespaces whose label is `enabled`.
    #[arg(long, help_heading = ADMISSION)]
    opt_in: bool,
    /// The namespaces whose new machine templates of Cluster API get the bootstrap script.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = ADMISSION)]
    template_namespaces: Vec<String>,
    /// Create pull Secrets for swapped pods.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set, help_heading = ADMISSION)]
    pull_secrets: bool,
    /// Delete the webhook configurations of other image swappers that no longer run.
    #[arg(long, help_heading = ADMISSION)]
    adopt: bool,
    /// The time without endpoints after which such a program counts as not running: `30s`,
    /// `10m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = interval, help_heading = ADMISSION)]
    adopt_after: Duration,
    /// Swap images although another image swapper runs.
    #[arg(long, help_heading = ADMISSION)]
    coexist: bool,
    /// The namespace of the agents of nodes; without it the controller does not configure nodes.
    #[arg(long, value_name = "NAMESPACE", help_heading = AGENTS)]
    agent_namespace: Option<String>,
    /// The namespace of trial pods, which prove a declaration on a node [default: NAME-trial].
    #[arg(long, value_name = "NAMESPACE", help_heading = AGENTS)]
    trial_namespace: Option<String>,
    /// The requests of nodes to the public registry.
    #[arg(long, value_parser = one_of(FALLBACKS), default_value = "upstream", help_heading = AGENTS)]
    agent_fallback: Fallback,
    /// Pass the declared credential to the agents.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set, help_heading = AGENTS)]
    agent_credentials: bool,
    /// The image of trial pods, under its public name [default: one that runs in the cluster].
    #[arg(long, value_name = "IMAGE", help_heading = AGENTS)]
    trial_image: Option<String>,
    /// The time without a report after which a node counts as one without an agent: `30s`, `2m`.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = interval, help_heading = AGENTS)]
    agent_deadline: Duration,
    /// Remove the startup taint image-swap.io/not-configured from configured nodes, and add it to
    /// nodes that refuse the declaration.
    #[arg(long, help_heading = AGENTS)]
    startup_taint: bool,
    /// The namespace of pods that restart container runtimes; without it administrators restart
    /// them.
    #[arg(long, value_name = "NAMESPACE", requires = "restart_image", help_heading = RESTARTS)]
    restart_namespace: Option<String>,
    /// The image of these pods: image-swap.
    #[arg(long, value_name = "IMAGE", requires = "restart_namespace", help_heading = RESTARTS)]
    restart_image: Option<String>,
    /// The pull Secrets of these pods.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "restart_namespace", help_heading = RESTARTS)]
    restart_pull_secrets: Vec<String>,
    /// The maximum number of workers whose runtime is restarted at once.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = at_least_one, help_heading = RESTARTS)]
    max_unavailable: usize,
    /// The command that restarts the runtime of a host without systemd.
    #[arg(long, value_name = "COMMAND", requires = "restart_namespace", help_heading = RESTARTS)]
    restart_command: Option<String>,
    /// Renew the Lease NAME-heartbeat, by which a management cluster sees this release.
    #[arg(long, help_heading = SERVER)]
    heartbeat: bool,
    /// The Secret with the access to a management cluster, from which this release pulls its
    /// declaration.
    #[arg(long, value_name = "SECRET", help_heading = SERVER)]
    hub_secret: Option<String>,
    /// The hash of the bundle from which the fleet controller applied this controller. Heartbeats
    /// report it.
    #[arg(long, value_name = "HASH", help_heading = SERVER)]
    bundle_hash: Option<String>,
    /// The interval of checks of the declared registry: `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = interval, help_heading = SERVER)]
    registry_check_interval: Duration,
    /// The address of /healthz, /readyz and /metrics, plain HTTP.
    #[arg(long, value_name = "IP:PORT", value_parser = address, default_value = "0.0.0.0:8080", help_heading = SERVER)]
    admin_listen: SocketAddr,
    #[command(flatten)]
    log: LogArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        self.log.begin()?;
        let release = Release { namespace: self.namespace, name: self.name };
        let trial_namespace = self.trial_namespace.filter(|name| !name.is_empty());
        let filled = |text: &String| !text.is_empty();
        let restart = self.restart_namespace.filter(filled).zip(self.restart_image.filter(filled));
        let restart = restart.map(|(namespace, image)| NodeRestartSettings {
            namespace,
            image,
            pull_secrets: self.restart_pull_secrets.into_iter().filter(filled).collect(),
            max_unavailable: self.max_unavailable,
            command: self.restart_command.filter(filled),
        });
        let agents = self.agent_namespace.map(|namespace| AgentSettings {
            namespace,
            trial_namespace: trial_namespace.unwrap_or_else(|| format!("{}-trial", release.name)),
            fallback: self.agent_fallback,
            credentials: self.agent_credentials,
            trial_image: self.trial_image.filter(|image| !image.is_empty()),
            deadline: self.agent_deadline,
            startup_taint: self.startup_taint,
            restart,
        });
        let settings = Settings {
            service: self.service.unwrap_or_else(|| release.admission()),
            release,
            chart_secret: self.chart_secret,
            service_port: self.service_port,
            policy: self.policy,
            timeout_seconds: self.timeout_seconds,
            system_namespaces: with_kube_system(self.system_namespaces),
            namespace_label: self.exclude_label,
            opt_in: self.opt_in,
            template_namespaces: self.template_namespaces.into_iter().filter(filled).collect(),
            pull_secrets: self.pull_secrets,
            adopt: self.adopt,
            coexist: self.coexist,
            tls_existing_secret: self.tls_existing_secret,
            registry_info_labels: self.registry_info_labels.into_iter().collect(),
            agents,
            heartbeat: self.heartbeat,
            hub_secret: self.hub_secret,
            bundle_hash: self.bundle_hash,
        };
        let intervals = Intervals {
            registry: self.registry_check_interval,
            grace: self.adopt_after,
            ..Intervals::default()
        };
        block_on(lead(settings, intervals, self.kubeconfig, self.admin_listen))
    }
}

/// Runs the controller until a signal stops it, then releases the leadership.
async fn lead(
    settings: Settings,
    intervals: Intervals,
    kubeconfig: Option<PathBuf>,
    admin_listen: SocketAddr,
) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    let admin = candidate::admin_port(admin_listen)?;
    let config = config(kubeconfig.as_deref()).await.map_err(Failure::broken)?;
    let client = connect(config.clone()).map_err(Failure::broken)?;
    let identity = candidate::identity("image-swap");
    let mut election =
        LeaderElection::new(&client, &settings.release, &identity, LeaseTiming::default());
    let controller = Controller::new(&client, settings, &identity, intervals).probing_by(config);
    let (ready, gate) = watch::channel(false);
    let metrics = ControllerMetrics::new(controller.report(), election.leadership()).ready_by(gate);
    let become_ready = async {
        controller.in_force(ReadinessLimits::default()).await;
        ready.send_replace(true);
        future::pending::<()>().await;
    };
    let leadership = election.leadership();
    tokio::select! {
        () = admin.serve(metrics) => {}
        () = become_ready => {}
        () = election.run() => {}
        () = controller.run(leadership) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("shutting down");
    // The namespace may be about to be deleted, and with it the rights of this process.
    controller.end().await;
    election.release().await;
    Ok(ExitCode::SUCCESS)
}

/// Parses a number of at least one.
fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected a number of at least 1, found {text}"))
}

/// Parses a label as kubectl writes it.
fn label(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = parts.ok_or_else(|| format!("expected KEY=VALUE, found {text}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn with_kube_system(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.is_empty());
    if !names.iter().any(|name| name == "kube-system") {
        names.insert(0, "kube-system".to_owned());
    }
    names
}
