//! `image-swap fleet enroll`: enrolls a cluster that pulls, and prints the manifest for it.

use std::process::ExitCode;

use image_swap_cluster::{Client, Release, clock::written, status::find};
use image_swap_core::fleet::{kubeconfig::server_url, pull::PullNames};
use image_swap_fleet::{EnrolmentRequest, enroll};
use image_swap_text::yaml;

use super::cluster_args::{PullingClusterArgs, failed};
use crate::{
    command::{block_on, slots::SlotArgs},
    failure::Failure,
    output,
};

/// Namespace of the release, if none is found.
const NAMESPACE: &str = "image-swap";

const EXAMPLES: &str = "\
Examples:
  image-swap fleet enroll edge-1 --namespace clusters > edge-1.yaml
  image-swap fleet enroll edge-1 --namespace clusters --server https://hub.example.org:6443 \\
    > edge-1.yaml
  kubectl apply --server-side --force-conflicts --field-manager=image-swap-fleet \\
    --filename=edge-1.yaml

`fleet enroll` runs on the management cluster, and `kubectl apply` on the workload cluster. The
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
    /// The namespace of that release; the default is that of the only release of this name.
    #[arg(long, value_name = "NAMESPACE")]
    release_namespace: Option<String>,
    /// The URL of the management cluster for the workload cluster; the default is that of the
    /// kubeconfig.
    #[arg(long, value_name = "URL", value_parser = server)]
    server: Option<String>,
    #[command(flatten)]
    slots: SlotArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let names = self.cluster.names()?;
        let enrolled = block_on(async {
            let config = self.cluster.hub.config().await.map_err(Failure::unusable)?;
            let client = self.cluster.hub.connect().await.map_err(Failure::unusable)?;
            let request = self.request(names.clone(), self.release(&client).await?);
            enroll(&config, &request).await.map_err(|error| failed(&names, &error))
        })?;
        let mut printed = String::new();
        for object in &enrolled.objects {
            printed.push_str("---\n");
            printed.push_str(&yaml::print(&object.value));
        }
        output::note(&format!(
            "{} has declaration {}; apply the manifest there before {}; it contains credentials",
            names.cluster,
            enrolled.revision,
            written(enrolled.expires),
        ));
        output::print(printed.as_bytes())
    }

    /// Returns the release of the management cluster.
    async fn release(&self, client: &Client) -> Result<Release, Failure> {
        let namespace = if let Some(namespace) = &self.release_namespace {
            namespace.clone()
        } else {
            namespace_of(find(client).await.map_err(Failure::broken)?, &self.name)?
        };
        Ok(Release { namespace, name: self.name.clone() })
    }

    /// Returns the request for an enrolment.
    fn request(&self, names: PullNames, release: Release) -> EnrolmentRequest {
        EnrolmentRequest {
            names,
            release,
            server: self.server.clone(),
            api_server: self.slots.api_server.clone(),
            policy: self.slots.policy.clone(),
            served: self.slots.served(),
        }
    }
}

/// Returns the namespace of the only release `name` of `found`, or the usual one if there is none.
fn namespace_of(found: Vec<Release>, name: &str) -> Result<String, Failure> {
    let of_name = found.into_iter().filter(|release| release.name == name);
    let mut namespaces: Vec<String> = of_name.map(|release| release.namespace).collect();
    if namespaces.len() > 1 {
        return Err(Failure::Unusable(format!(
            "found {} releases {name}; choose one with --release-namespace {}",
            namespaces.len(),
            namespaces.join(", or --release-namespace ")
        )));
    }
    Ok(namespaces.pop().unwrap_or_else(|| NAMESPACE.to_owned()))
}

/// Parses the URL of an API server.
fn server(text: &str) -> Result<String, String> {
    server_url(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_is_that_of_the_only_release() {
        let release = |namespace: &str, name: &str| Release {
            namespace: namespace.into(),
            name: name.into(),
        };
        let found = vec![release("default", "image-swap"), release("other", "second")];
        assert_eq!(namespace_of(found, "image-swap").unwrap(), "default");
        assert_eq!(namespace_of(Vec::new(), "image-swap").unwrap(), "image-swap");
        let found = vec![release("a", "image-swap"), release("b", "image-swap")];
        let error = namespace_of(found, "image-swap").unwrap_err().to_string();
        let expected = "choose one with --release-namespace a, or --release-namespace b";
        assert!(error.contains(expected), "{error}");
    }
}
