//! `image-swap leave`

use std::{path::PathBuf, process::ExitCode};

use image_swap_cluster::{Release, client, leave};
use tokio::runtime;
use tracing::level_filters::LevelFilter;

use crate::{
    failure::Failure,
    logging::{self, LogFormat},
};

/// Arguments of `leave`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release's namespace.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: String,
    /// The release's full name, as its objects are called.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    /// Which cluster; without it the pod's own, or kubectl's.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Self { namespace, name, kubeconfig } = self;
        logging::begin(LevelFilter::INFO, LogFormat::Text)?;
        let broken = |error: &dyn std::fmt::Display| Failure::Broken(error.to_string());
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(&error))?;
        let left = runtime.block_on(async {
            let client = client(kubeconfig.as_deref()).await?;
            leave(&client, &Release { namespace, name }).await
        });
        left.map_err(|error| broken(&error))?;
        Ok(ExitCode::SUCCESS)
    }
}
