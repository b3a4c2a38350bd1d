//! `image-swap fleet enroll`: enrolls a cluster that pulls, and prints the manifest for it.

use std::process::ExitCode;

use image_swap_cluster::{Release, clock::written};
use image_swap_core::fleet::kubeconfig::server_url;
use image_swap_fleet::{EnrolmentRequest, enroll};
use image_swap_text::yaml;

use super::cluster_args::{PullingClusterArgs, failed};
use crate::{
    command::{block_on, slots::SlotArgs},
    failure::Failure,
    output,
};

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
    #[command(flatten)]
    cluster: PullingClusterArgs,
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
    #[command(flatten)]
    slots: SlotArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let request = self.request()?;
        let enrolled = block_on(async {
            let config = self.cluster.hub.config().await.map_err(Failure::unusable)?;
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

    /// Returns the request for an enrolment.
    fn request(&self) -> Result<EnrolmentRequest, Failure> {
        let names = self.cluster.names()?;
        let release =
            Release { namespace: self.release_namespace.clone(), name: self.name.clone() };
        Ok(EnrolmentRequest {
            names,
            release,
            server: self.server.clone(),
            api_server: self.slots.api_server.clone(),
            policy: self.slots.policy.clone(),
            served: self.slots.served(),
        })
    }
}

/// Parses the URL of an API server.
fn server(text: &str) -> Result<String, String> {
    server_url(text).map_err(|error| error.to_string())
}
