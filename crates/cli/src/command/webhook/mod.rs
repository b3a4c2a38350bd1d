//! `image-swap webhook`: runs the admission webhook.

mod file_source;
mod handles;
mod in_cluster;
mod tls_source;

use std::{
    any::Any,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use image_swap_core::admission::{Mode, Settings};
use image_swap_serve::{BindError, Limits, pki::CertificateInForce};
use image_swap_webhook::{
    AdmissionMetrics, RulesInForce, SettingsInForce, TemplateNamespaces, Webhook,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing::{info, warn};

use self::{
    file_source::DeclarationFiles,
    handles::{WebhookHandles, broken},
    in_cluster::{CLUSTER, InCluster},
    tls_source::ServingCertificate,
};
use crate::{
    choice::address,
    command::block_on_threads,
    declaration::DeclarationArgs,
    exemptions::ExemptionArgs,
    failure::Failure,
    logging::LogArgs,
    output::{self, Output},
};

/// Threads that handle requests. A review takes some microseconds, so one thread handles
/// tens of thousands per second. Two threads wake each other at every burst, which mostly
/// costs more than it gains.
const WORKERS: usize = 1;

const SERVER: &str = "Server";
const ADMISSION: &str = "Admission";

const EXAMPLES: &str = "\
Examples:
  image-swap webhook -f examples/registry-secret.yaml
  image-swap webhook -f examples/values.yaml --mode audit --log-level debug
  image-swap webhook -f examples/values.yaml --listen 0.0.0.0:8443 --dns-name webhook.example.org";

/// Arguments of `webhook`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    declaration: DeclarationArgs,
    /// The address of the webhook, HTTPS; with port 0 the system chooses one
    /// [default: 127.0.0.1:8443; with --in-cluster 0.0.0.0:8443].
    #[arg(long, value_name = "IP:PORT", value_parser = address, help_heading = SERVER)]
    listen: Option<SocketAddr>,
    /// The address of /healthz, /readyz and /metrics, plain HTTP
    /// [default: 127.0.0.1:8080; with --in-cluster 0.0.0.0:8080].
    #[arg(long, value_name = "IP:PORT", value_parser = address, help_heading = SERVER)]
    admin_listen: Option<SocketAddr>,
    /// Change the images of pods (enforce), or only report the changes (audit).
    #[arg(long, value_name = "enforce|audit", default_value_t, help_heading = ADMISSION)]
    mode: Mode,
    /// The label that exempts a pod if its value is `disabled`.
    #[arg(long, value_name = "LABEL", default_value_t = Settings::default().disable_label, help_heading = ADMISSION)]
    disable_label: String,
    #[command(flatten)]
    exemptions: ExemptionArgs,
    #[command(flatten)]
    certificate: ServingCertificate,
    #[command(flatten)]
    log: LogArgs,
    /// Seconds that requests are still accepted after SIGTERM, while /readyz already answers
    /// 503.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = SERVER)]
    shutdown_delay: u64,
    /// Seconds that open requests have to finish after that.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, help_heading = SERVER)]
    drain_timeout: u64,
    /// Read rules and certificate from the Secrets of a release (for the chart).
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
    /// Returns the addresses of the webhook and of the admin port. Without a cluster the default
    /// is the loopback interface: only programs on this machine call the webhook.
    fn addresses(&self) -> [SocketAddr; 2] {
        let ip = if self.in_cluster { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let or = |given: Option<SocketAddr>, port| given.unwrap_or_else(|| (ip, port).into());
        [or(self.listen, 8443), or(self.admin_listen, 8080)]
    }

    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let [listen, admin_listen] = self.addresses();
        self.log.begin()?;
        let settings = Settings {
            mode: self.mode,
            disable_label: self.disable_label,
            exemptions: self.exemptions.exemptions(),
            ..Settings::default()
        };
        let settings = SettingsInForce::from(settings);
        let rules = RulesInForce::default();
        let templates = TemplateNamespaces::default();
        let certificate = CertificateInForce::default();
        let metrics = AdmissionMetrics::new(&rules, &certificate);
        let webhook = Webhook {
            listen,
            admin_listen,
            limits: Limits::default(),
            settings: settings.clone(),
            rules: rules.clone(),
            templates: templates.clone(),
            certificate: certificate.clone(),
            metrics: Arc::clone(&metrics),
        };
        let in_force = WebhookHandles { rules, certificate, settings, templates, metrics };
        let source = if self.in_cluster {
            RulesFrom::Cluster(self.cluster)
        } else {
            let files = DeclarationFiles::read(self.declaration)?;
            RulesFrom::Files(Box::new(files), self.certificate)
        };
        let served = serve(
            webhook,
            in_force,
            source,
            self.log.format(),
            [self.shutdown_delay, self.drain_timeout].map(Duration::from_secs),
        );
        block_on_threads(WORKERS, served)
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
        signal(SignalKind::terminate()).map_err(|error| broken("handle SIGTERM", &error))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| broken("handle SIGINT", &error))?;
    // The ports first: without them nothing is written or followed.
    let wanted = webhook.admin_listen;
    let bound = webhook.bind().map_err(|error| {
        let is_admin = matches!(&error, BindError::Listen { address, .. } if *address == wanted);
        let flag = if is_admin { "--admin-listen" } else { "--listen" };
        Failure::Broken(format!("{flag}: {error}"))
    })?;
    let (address, admin) = (bound.address, bound.admin_address);
    let mut shown = Vec::new();
    // Held: a follower ends when it drops.
    let _followers: Box<dyn Any> = match source {
        RulesFrom::Files(declared, identity) => {
            let certificate = identity.put_in_force(address, &in_force, &mut shown)?;
            Box::new((certificate, declared.put_in_force(&in_force, &mut shown)?))
        }
        RulesFrom::Cluster(cluster) => {
            shown.push(format!("listening on https://{address}/mutate"));
            Box::new(cluster.put_in_force(in_force, &mut shown).await?)
        }
    };
    let running = bound.run();
    shown.insert(1, format!("probes and metrics: http://{admin}/healthz, /readyz, /metrics"));
    for line in shown {
        match log_format {
            Output::Text => output::line(&line),
            Output::Json => info!("{line}"),
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(seconds = delay.as_secs(), "shutting down: still accepting requests");
    running.leave();
    tokio::select! {
        () = sleep(delay) => {}
        // The second signal.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(seconds = patience.as_secs(), "waiting for open requests");
    let drained = tokio::select! {
        drained = running.drain(patience) => drained,
        // The second signal.
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    };
    if drained.cut > 0 {
        warn!(connections = drained.cut, "closed connections that did not finish in time");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn default_address_is_loopback_without_a_cluster() {
        let addresses = |words: &[&str]| {
            let words = [&["webhook"], words].concat();
            Line::try_parse_from(words).unwrap().args.addresses().map(|it| it.to_string())
        };
        assert_eq!(addresses(&[]), ["127.0.0.1:8443", "127.0.0.1:8080"]);
        let in_cluster = addresses(&["--in-cluster", "--namespace", "apps"]);
        assert_eq!(in_cluster, ["0.0.0.0:8443", "0.0.0.0:8080"]);
        assert_eq!(addresses(&["--listen", "[::]:1"]), ["[::]:1", "127.0.0.1:8080"]);
    }
}
