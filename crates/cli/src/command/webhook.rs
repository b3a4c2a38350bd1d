//! `image-swap webhook`

mod declared;
mod identity;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use image_swap_core::admission::{Mode, Settings};
use image_swap_webhook::{CertificateInForce, Limits, Metrics, RulesInForce, Server};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tracing::{info, level_filters::LevelFilter, warn};

use self::{declared::Declared, identity::Identity};
use crate::{
    declaration::DeclarationArgs,
    failure::Failure,
    logging::{self, LogFormat},
    output,
};

/// Threads that answer requests: admission takes some microseconds, and each
/// thread has memory of its own.
const WORKERS: usize = 2;

const SERVER: &str = "Server";
const ADMISSION: &str = "Admission";
const CERTIFICATE: &str = "Certificate";
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
    /// The serving certificate, PEM, leaf first; followed when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = CERTIFICATE)]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = CERTIFICATE)]
    tls_key: Option<PathBuf>,
    /// Where a self-made certificate authority is kept, when no certificate is
    /// given [default: $XDG_STATE_HOME/image-swap].
    #[arg(long, value_name = "DIR", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    certificate_dir: Option<PathBuf>,
    /// A further name or address for the self-made certificate, beside those of
    /// this machine; may be repeated.
    #[arg(long, value_name = "NAME", conflicts_with = "tls_cert", help_heading = CERTIFICATE)]
    dns_name: Vec<String>,
    /// How much is logged: off, error, warn, info, debug or trace. From debug on
    /// every review is.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO, help_heading = LOG)]
    log_level: LevelFilter,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t, help_heading = LOG)]
    log_format: LogFormat,
    /// Seconds that open requests get to end when the server is told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, help_heading = SERVER)]
    drain_timeout: u64,
}

/// What the server runs on.
struct InForce {
    rules: RulesInForce,
    certificate: CertificateInForce,
    metrics: Arc<Metrics>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self {
            declaration,
            listen,
            admin_listen,
            mode,
            disable_label,
            tls_cert,
            tls_key,
            certificate_dir,
            dns_name,
            log_level,
            log_format,
            drain_timeout,
        } = self;
        logging::begin(log_level, log_format)?;
        let rules = RulesInForce::default();
        let certificate = CertificateInForce::default();
        let metrics = Metrics::new(&rules, &certificate);
        let server = Server {
            listen,
            admin_listen,
            limits: Limits::default(),
            settings: Settings { mode, disable_label },
            rules: rules.clone(),
            certificate: certificate.clone(),
            metrics: Arc::clone(&metrics),
        };
        let in_force = InForce { rules, certificate, metrics };
        let identity = match tls_cert.zip(tls_key) {
            Some((chain, key)) => Identity::Files { chain, key },
            None => Identity::SelfMade { directory: certificate_dir, names: dns_name },
        };
        let declared = Declared::read(declaration)?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .map_err(|error| broken("a runtime", &error))?;
        runtime.block_on(serve(
            server,
            in_force,
            declared,
            identity,
            log_format,
            Duration::from_secs(drain_timeout),
        ))
    }
}

/// Serves until it is told to stop.
async fn serve(
    server: Server,
    in_force: InForce,
    declared: Declared,
    identity: Identity,
    log_format: LogFormat,
    patience: Duration,
) -> Result<ExitCode, Failure> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| broken("SIGTERM", &error))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| broken("SIGINT", &error))?;
    // The ports first: without them nothing is written or followed.
    let bound = server.bind().await.map_err(|error| Failure::Broken(error.to_string()))?;
    let address = bound.address().map_err(|error| broken("the port that was taken", &error))?;
    let admin = bound.admin_address().map_err(|error| broken("the port that was taken", &error))?;
    let mut told = vec![
        format!("reviews: https://{address}/mutate"),
        format!("probes and metrics: http://{admin}/healthz, /readyz, /metrics"),
    ];
    let _certificate = identity.put_in_force(address, &in_force, &mut told)?;
    let _declaration = declared.put_in_force(&in_force, &mut told)?;
    let running = bound.run();
    for line in told {
        match log_format {
            LogFormat::Text => output::note(&line),
            LogFormat::Json => info!("{line}"),
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(seconds = patience.as_secs(), "told to stop: open requests are finished");
    let drained = tokio::select! {
        drained = running.drain(patience) => drained,
        // Told twice.
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    };
    if drained.cut > 0 {
        warn!(connections = drained.cut, "connections were cut: they did not end in time");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Something that the system refused.
fn broken(expected: &str, error: &std::io::Error) -> Failure {
    Failure::Broken(format!("expected {expected}, found: {error}"))
}
