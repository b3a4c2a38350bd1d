//! `image-swap webhook`

mod file_source;
mod handles;
mod in_cluster;
mod tls_source;

use std::{any::Any, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use image_swap_core::admission::{Mode, Settings};
use image_swap_serve::{Limits, pki::CertificateInForce};
use image_swap_webhook::{AdmissionMetrics, RulesInForce, SettingsInForce, Webhook};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing::{info, level_filters::LevelFilter, warn};

use self::{
    file_source::DeclarationFiles,
    handles::{WebhookHandles, broken},
    in_cluster::{CLUSTER, InCluster},
    tls_source::ServingCertificate,
};
use crate::{
    declaration::DeclarationArgs,
    exemptions::ExemptionArgs,
    failure::Failure,
    logging,
    output::{self, Output},
};

/// Threads that answer requests. Admission takes some microseconds: one answers
/// tens of thousands a second. With two, every burst has them wake each other,
/// which mostly costs more than it helps.
const WORKERS: usize = 1;

const SERVER: &str = "Server";
const ADMISSION: &str = "Admission";
const LOG: &str = "Log";

/// Arguments of `webhook`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// Where reviews are answered, over TLS; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443", help_heading = SERVER)]
    listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics are answered, in plain HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", help_heading = SERVER)]
    admin_listen: SocketAddr,
    /// Whether pods are changed, or only reported on.
    #[arg(long, value_name = "enforce|audit", default_value_t, help_heading = ADMISSION)]
    mode: Mode,
    /// Pods with this label set to `disabled` are left alone.
    #[arg(long, value_name = "LABEL", default_value_t = Settings::default().disable_label, help_heading = ADMISSION)]
    disable_label: String,
    #[command(flatten)]
    exemptions: ExemptionArgs,
    #[command(flatten)]
    certificate: ServingCertificate,
    /// How much is logged: off, error, warn, info, debug or trace. From debug on
    /// every review is.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO, help_heading = LOG)]
    log_level: LevelFilter,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t, help_heading = LOG)]
    log_format: Output,
    /// Seconds that everything is still accepted when the server is told to
    /// stop, while /readyz already answers 503.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = SERVER)]
    shutdown_delay: u64,
    /// Seconds that open requests get to end when the server is told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, help_heading = SERVER)]
    drain_timeout: u64,
    /// Follow what the controller keeps in the cluster (run by the chart).
    #[arg(
        long,
        requires = "namespace",
        conflicts_with_all = ["declaration", "tls_cert", "certificate_dir", "dns_name"],
        help_heading = CLUSTER
    )]
    in_cluster: bool,
    #[command(flatten)]
    cluster: InCluster,
}

/// The source of rules and certificate.
enum RulesFrom {
    Files(Box<DeclarationFiles>, ServingCertificate),
    Cluster(InCluster),
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        logging::begin(self.log_level, self.log_format)?;
        let settings = Settings {
            mode: self.mode,
            disable_label: self.disable_label,
            exemptions: self.exemptions.exemptions(),
            ..Settings::default()
        };
        let settings = SettingsInForce::from(settings);
        let rules = RulesInForce::default();
        let certificate = CertificateInForce::default();
        let metrics = AdmissionMetrics::new(&rules, &certificate);
        let webhook = Webhook {
            listen: self.listen,
            admin_listen: self.admin_listen,
            limits: Limits::default(),
            settings: settings.clone(),
            rules: rules.clone(),
            certificate: certificate.clone(),
            metrics: Arc::clone(&metrics),
        };
        let in_force = WebhookHandles { rules, certificate, settings, metrics };
        let source = if self.in_cluster {
            RulesFrom::Cluster(self.cluster)
        } else {
            let files = DeclarationFiles::read(self.declaration)?;
            RulesFrom::Files(Box::new(files), self.certificate)
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .map_err(|error| broken("a runtime", &error))?;
        runtime.block_on(serve(
            webhook,
            in_force,
            source,
            self.log_format,
            [self.shutdown_delay, self.drain_timeout].map(Duration::from_secs),
        ))
    }
}

/// Serves until a signal stops it.
async fn serve(
    webhook: Webhook,
    in_force: WebhookHandles,
    source: RulesFrom,
    log_format: Output,
    [delay, patience]: [Duration; 2],
) -> Result<ExitCode, Failure> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| broken("SIGTERM", &error))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| broken("SIGINT", &error))?;
    // The ports first: without them nothing is written or followed.
    let bound = webhook.bind().map_err(Failure::broken)?;
    let (address, admin) = (bound.address, bound.admin_address);
    let mut told = vec![
        format!("reviews: https://{address}/mutate"),
        format!("probes and metrics: http://{admin}/healthz, /readyz, /metrics"),
    ];
    // Held: a follower ends when it drops.
    let _followers: Box<dyn Any> = match source {
        RulesFrom::Files(declared, identity) => {
            let certificate = identity.put_in_force(address, &in_force, &mut told)?;
            Box::new((certificate, declared.put_in_force(&in_force, &mut told)?))
        }
        RulesFrom::Cluster(cluster) => Box::new(cluster.put_in_force(in_force, &mut told).await?),
    };
    let running = bound.run();
    for line in told {
        match log_format {
            Output::Text => output::note(&line),
            Output::Json => info!("{line}"),
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(seconds = delay.as_secs(), "told to stop: accepts until that is known");
    running.leave();
    tokio::select! {
        () = sleep(delay) => {}
        // The second signal.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(seconds = patience.as_secs(), "open requests are finished");
    let drained = tokio::select! {
        drained = running.drain(patience) => drained,
        // The second signal.
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    };
    if drained.cut > 0 {
        warn!(connections = drained.cut, "connections were cut: they did not end in time");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
