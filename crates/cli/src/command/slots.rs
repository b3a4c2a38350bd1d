//! Flags about the slots of a bundle.

use std::collections::BTreeSet;

use image_swap_core::fleet::bundle::is_policy;

/// The values of a workload cluster in a bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct SlotArgs {
    /// The address of the workload cluster's API server for agents, HOST or HOST:PORT. Default: the
    /// Service kubernetes.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) api_server: Option<String>,
    /// The value `policy` of the chart. Default: that of the bundle.
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub(crate) policy: Option<String>,
    /// An API that the workload cluster serves beside those of Kubernetes, as GROUP/VERSION. Can be
    /// repeated.
    #[arg(long, value_name = "GROUP/VERSION")]
    served: Vec<String>,
}

impl SlotArgs {
    /// Returns the APIs that the workload cluster serves beside those of Kubernetes.
    pub(crate) fn served(&self) -> BTreeSet<String> {
        self.served.iter().cloned().collect()
    }
}

/// Parses the value `policy` of the chart.
fn policy(text: &str) -> Result<String, String> {
    let expected = || "expected fail, ignore or audit".to_owned();
    is_policy(text).then(|| text.to_owned()).ok_or_else(expected)
}
