//! `image-swap controller`

use std::{
    env, future,
    net::SocketAddr,
    path::PathBuf,
    process::{self, ExitCode},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{ArgAction, ValueEnum};
use image_swap_cluster::{
    Controller, ControllerMetrics, Election, Intervals, ReadinessLimits, Release, Settings, Times,
    config, connect,
};
use image_swap_core::{
    cluster::{policy::Wanted, webhooks::SYSTEM_NAMESPACES},
    labels,
};
use image_swap_serve::AdminPort;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, level_filters::LevelFilter};

use crate::{
    failure::Failure,
    logging::{self, LogFormat},
};

const RELEASE: &str = "Release";
const ADMISSION: &str = "Admission";
const SERVER: &str = "Server";
const LOG: &str = "Log";

/// What becomes of ordinary pods that nobody could review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// They are refused, as soon as it is seen that the API server reaches us.
    #[default]
    Fail,
    /// They are let through.
    Ignore,
    /// They are let through, and no pod is changed: only reported on.
    Audit,
}

/// Arguments of `controller`.
#[expect(clippy::struct_excessive_bools, reason = "each flag goes with any other")]
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release's namespace.
    #[arg(long, value_name = "NAMESPACE", help_heading = RELEASE)]
    namespace: String,
    /// The release's full name, as its objects are called.
    #[arg(long, value_name = "NAME", default_value = "image-swap", help_heading = RELEASE)]
    name: String,
    /// The Secret with the chart's declaration, if it has one.
    #[arg(long, value_name = "SECRET", help_heading = RELEASE)]
    chart_secret: Option<String>,
    /// A Secret with a certificate that somebody else keeps, such as cert-manager.
    #[arg(long, value_name = "SECRET", help_heading = RELEASE)]
    tls_existing_secret: Option<String>,
    /// The labels of the namespace jet-system, where it is absent and is created:
    /// KEY=VALUE,KEY=VALUE.
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = label, help_heading = RELEASE)]
    registry_info_labels: Vec<(String, String)>,
    /// Which cluster; without it the pod's own, or kubectl's.
    #[arg(long, value_name = "FILE", help_heading = RELEASE)]
    kubeconfig: Option<PathBuf>,
    /// The Service before the admission replicas [default: NAME-admission].
    #[arg(long, value_name = "SERVICE", help_heading = ADMISSION)]
    service: Option<String>,
    /// Its port.
    #[arg(long, value_name = "PORT", default_value_t = 443, help_heading = ADMISSION)]
    service_port: u16,
    /// What becomes of ordinary pods that nobody could review.
    #[arg(long, value_enum, default_value_t, help_heading = ADMISSION)]
    policy: Policy,
    /// Seconds that the API server waits for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=30), help_heading = ADMISSION)]
    timeout_seconds: u8,
    /// Namespaces whose pods are let through unreviewed, if need be, beside kube-system.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = SYSTEM_NAMESPACES, help_heading = ADMISSION)]
    system_namespaces: Vec<String>,
    /// The label by which namespaces leave (`disabled`), or join with --opt-in (`enabled`).
    #[arg(long, value_name = "LABEL", default_value = labels::OPT_OUT, help_heading = ADMISSION)]
    exclude_label: String,
    /// Only namespaces labelled `enabled` take part.
    #[arg(long, help_heading = ADMISSION)]
    opt_in: bool,
    /// Whether swapped pods get a Secret to pull with.
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set, help_heading = ADMISSION)]
    pull_secrets: bool,
    /// Remove the registrations of dead programs that swap images.
    #[arg(long, help_heading = ADMISSION)]
    adopt: bool,
    /// The time for which such a program has no endpoint before it counts as dead: `30s`,
    /// `10m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = interval, help_heading = ADMISSION)]
    adopt_after: Duration,
    /// Change pods although another program that swaps images lives.
    #[arg(long, help_heading = ADMISSION)]
    coexist: bool,
    /// How often it is tried whether the registry can be reached: `30s`, `5m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = interval, help_heading = SERVER)]
    registry_check_interval: Duration,
    /// Where /healthz, /readyz and /metrics are answered, in plain HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", help_heading = SERVER)]
    admin_listen: SocketAddr,
    /// How much is logged: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO, help_heading = LOG)]
    log_level: LevelFilter,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t, help_heading = LOG)]
    log_format: LogFormat,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self {
            namespace,
            name,
            chart_secret,
            tls_existing_secret,
            registry_info_labels,
            kubeconfig,
            service,
            service_port,
            policy,
            timeout_seconds,
            system_namespaces,
            exclude_label,
            opt_in,
            pull_secrets,
            adopt,
            adopt_after,
            coexist,
            registry_check_interval,
            admin_listen,
            log_level,
            log_format,
        } = self;
        logging::begin(log_level, log_format)?;
        let release = Release { namespace, name };
        let settings = Settings {
            service: service.unwrap_or_else(|| release.admission()),
            release,
            chart_secret,
            service_port,
            policy: policy.into(),
            timeout_seconds,
            system_namespaces: with_kube_system(system_namespaces),
            namespace_label: exclude_label,
            opt_in,
            pull_secrets,
            adopt,
            coexist,
            tls_existing_secret,
            registry_info_labels: registry_info_labels.into_iter().collect(),
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(&error))?;
        let intervals = Intervals {
            registry: registry_check_interval,
            grace: adopt_after,
            ..Intervals::default()
        };
        runtime.block_on(lead(settings, intervals, kubeconfig, admin_listen))
    }
}

impl From<Policy> for Wanted {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Fail => Self::Fail,
            Policy::Ignore => Self::Ignore,
            Policy::Audit => Self::Audit,
        }
    }
}

/// Works until it is told to stop, then lets the next one lead at once.
async fn lead(
    settings: Settings,
    intervals: Intervals,
    kubeconfig: Option<PathBuf>,
    admin_listen: SocketAddr,
) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| broken(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| broken(&error))?;
    let admin = AdminPort::bind(admin_listen).map_err(|error| {
        Failure::Broken(format!("{admin_listen}: expected an address to listen on, found: {error}"))
    })?;
    let config = config(kubeconfig.as_deref()).await.map_err(|error| broken(&error))?;
    let client = connect(config.clone()).map_err(|error| broken(&error))?;
    let identity = identity();
    let mut election = Election::new(&client, &settings.release, &identity, Times::default());
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
    info!("told to stop");
    // The signal may be the end of the namespace, and of the rights of this process.
    controller.end().await;
    election.release().await;
    Ok(ExitCode::SUCCESS)
}

/// Whole seconds, minutes or hours, as Go writes them.
fn interval(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 30s, 5m or 1h, found {text}");
    let (number, seconds) = [('s', 1), ('m', 60), ('h', 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let whole = number.checked_mul(seconds).filter(|whole| *whole >= 10);
    whole.map(Duration::from_secs).ok_or_else(|| format!("{}, of ten seconds at least", expected()))
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

/// A name that no other process has: the pod's, and when this process began.
fn identity() -> String {
    let host = env::var("HOSTNAME").unwrap_or_else(|_| "image-swap".to_owned());
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{host}-{}-{began:x}", process::id())
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}
