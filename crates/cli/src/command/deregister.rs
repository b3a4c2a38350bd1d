//! `image-swap deregister`

use std::{path::PathBuf, process::ExitCode};

use image_swap_cluster::{Release, client_in, deregister};
use tokio::runtime;
use tracing::level_filters::LevelFilter;

use crate::{
    failure::Failure,
    logging::{self, LogFormat},
};

/// Arguments of `deregister`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release's namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The release's full name, as its objects are called.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    /// The kubeconfig of the cluster; without it that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; without it the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { namespace, name, kubeconfig, context } = self;
        logging::begin(LevelFilter::INFO, LogFormat::Text)?;
        let broken = |error: &dyn std::fmt::Display| Failure::Broken(error.to_string());
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(&error))?;
        let left = runtime.block_on(async {
            let client = client_in(kubeconfig.as_deref(), context.as_deref()).await?;
            deregister(&client, &Release { namespace, name }).await
        });
        left.map_err(|error| broken(&error))?;
        Ok(ExitCode::SUCCESS)
    }
}
