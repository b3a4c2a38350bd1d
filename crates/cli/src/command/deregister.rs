//! `image-swap deregister`: deletes the registration of a release.

use std::process::ExitCode;

use image_swap_cluster::deregister;
use tracing::level_filters::LevelFilter;

use crate::{
    command::{block_on, named_release::NamedRelease},
    failure::Failure,
    logging,
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  image-swap deregister --namespace image-swap
  image-swap deregister -n image-swap --context my-cluster";

/// Arguments of `deregister`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    release: NamedRelease,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        logging::begin(LevelFilter::INFO, Output::Text)?;
        block_on(async {
            let (client, release) = self.release.connect().await?;
            deregister(&client, &release).await.map_err(Failure::broken)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
