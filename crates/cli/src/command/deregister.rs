//! `image-swap deregister`: deletes the registration of a release.

use std::{path::PathBuf, process::ExitCode};

use image_swap_cluster::{Release, client_in, deregister};
use tracing::level_filters::LevelFilter;

use crate::{command::block_on, failure::Failure, logging, output::Output};

const EXAMPLES: &str = "\
Examples:
  image-swap deregister --namespace image-swap
  image-swap deregister -n image-swap --context my-cluster";

/// Arguments of `deregister`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; the default is the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { namespace, name, kubeconfig, context } = self;
        logging::begin(LevelFilter::INFO, Output::Text)?;
        block_on(async {
            let client = client_in(kubeconfig.as_deref(), context.as_deref()).await;
            let client = client.map_err(Failure::broken)?;
            let release = Release { namespace, name };
            deregister(&client, &release).await.map_err(Failure::broken)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
