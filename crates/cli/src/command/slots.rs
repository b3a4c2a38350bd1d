//! Flags about the slots of a bundle.

use std::collections::BTreeSet;

use image_swap_core::fleet::bundle::{InvalidApiServer, is_api_server, is_policy};

/// The values of a workload cluster in a bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct SlotArgs {
    /// The address of the workload cluster's API server for agents, HOST or HOST:PORT. Default: the
    /// Service kubernetes.
    #[arg(long, value_name = "ADDRESS", value_parser = api_server)]
    pub(crate) api_server: Option<String>,
    /// The value `policy` of the chart. Default: that of the bundle.
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub(crate) policy: Option<String>,
    /// An API that the workload cluster serves besides those of Kubernetes, as GROUP/VERSION. Can be
    /// repeated.
    #[arg(long, value_name = "GROUP/VERSION", value_parser = version)]
    served: Vec<String>,
}

impl SlotArgs {
    /// Returns the APIs that the workload cluster serves besides those of Kubernetes.
    pub(crate) fn served(&self) -> BTreeSet<String> {
        self.served.iter().cloned().collect()
    }
}

/// Parses the value `policy` of the chart.
fn policy(text: &str) -> Result<String, String> {
    let expected = || "expected fail, ignore or audit".to_owned();
    is_policy(text).then(|| text.to_owned()).ok_or_else(expected)
}

/// Parses the address of an API server.
fn api_server(text: &str) -> Result<String, InvalidApiServer> {
    is_api_server(text).then(|| text.to_owned()).ok_or(InvalidApiServer)
}

/// Parses an API version.
fn version(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || b".-".contains(&it))
    };
    let is_version = text.split_once('/').is_some_and(|(group, it)| is_part(group) && is_part(it));
    let expected = || "expected GROUP/VERSION, as in monitoring.coreos.com/v1".to_owned();
    is_version.then(|| text.to_owned()).ok_or_else(expected)
}
