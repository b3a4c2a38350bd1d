//! `image-swap fleet enroll`: enrolls a cluster that pulls, and prints the manifest for it.

use std::{path::PathBuf, process::ExitCode};

use image_swap_cluster::{Release, clock::written, config_in};
use image_swap_core::fleet::{bundle::is_policy, kubeconfig::server_url, pull::PullNames};
use image_swap_fleet::{EnrolmentError, EnrolmentRequest, enroll};
use image_swap_text::yaml;

use crate::{command::block_on, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap fleet enroll edge-1 --namespace clusters > edge-1.yaml
  image-swap fleet enroll edge-1 --namespace clusters --server https://hub.example.org:6443 \\
    > edge-1.yaml
  kubectl apply --server-side --force-conflicts --field-manager=image-swap-fleet \\
    --filename=edge-1.yaml

The second command runs on the management cluster, the last one on the workload cluster. The
manifest contains credentials.";

/// Arguments of `fleet enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the cluster.
    #[arg(value_name = "NAME")]
    cluster: String,
    /// The namespace of the cluster's objects on the management cluster: one of fleet.namespaces.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The kubeconfig of the management cluster; the default is that of kubectl, or the pod's own
    /// account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; the default is the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The full name of the release of the management cluster.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    /// The namespace of that release.
    #[arg(long, value_name = "NAMESPACE", default_value = "image-swap")]
    release_namespace: String,
    /// The URL of the management cluster for the workload cluster; the default is that of the
    /// kubeconfig.
    #[arg(long, value_name = "URL", value_parser = server)]
    server: Option<String>,
    /// The address of the workload cluster's API server for agents, HOST or HOST:PORT. Default: the
    /// Service kubernetes.
    #[arg(long, value_name = "ADDRESS")]
    api_server: Option<String>,
    /// The value `policy` of the chart. Default: that of the bundle.
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<String>,
    /// An API that the workload cluster serves beside those of Kubernetes, as GROUP/VERSION. Can be
    /// repeated.
    #[arg(long, value_name = "GROUP/VERSION")]
    served: Vec<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let (kubeconfig, context) = (self.kubeconfig.clone(), self.context.clone());
        let request = self.request()?;
        let enrolled = block_on(async {
            let config = config_in(kubeconfig.as_deref(), context.as_deref()).await;
            let config = config.map_err(|error| Failure::Unusable(error.to_string()))?;
            enroll(&config, &request).await.map_err(|error| failed(&request.names, &error))
        })?;
        let mut printed = String::new();
        for object in &enrolled.objects {
            printed.push_str("---\n");
            printed.push_str(&yaml::print(&object.value));
        }
        output::note(&format!(
            "{} has declaration {}; apply the manifest there before {}; it contains credentials",
            request.names.cluster,
            enrolled.revision,
            written(enrolled.expires),
        ));
        output::print(printed.as_bytes())
    }

    fn request(self) -> Result<EnrolmentRequest, Failure> {
        let names = names(&self.namespace, &self.cluster)?;
        let release = Release { namespace: self.release_namespace, name: self.name };
        let Self { server, api_server, policy, served, .. } = self;
        let served = served.into_iter().collect();
        Ok(EnrolmentRequest { names, release, server, api_server, policy, served })
    }
}

/// Returns the names for a cluster.
pub(super) fn names(namespace: &str, cluster: &str) -> Result<PullNames, Failure> {
    PullNames::new(namespace, cluster)
        .map_err(|error| Failure::Unusable(format!("the name {cluster}: {error}")))
}

/// Returns the failure of a command about a cluster.
pub(super) fn failed(names: &PullNames, error: &EnrolmentError) -> Failure {
    let message = format!("{}/{}: {error}", names.namespace, names.cluster);
    if error.is_broken() { Failure::Broken(message) } else { Failure::Unusable(message) }
}

/// Parses the URL of an API server.
fn server(text: &str) -> Result<String, String> {
    server_url(text).map_err(|error| error.to_string())
}

/// Parses the value `policy` of the chart.
fn policy(text: &str) -> Result<String, String> {
    let expected = || "expected fail, ignore or audit".to_owned();
    is_policy(text).then(|| text.to_owned()).ok_or_else(expected)
}
