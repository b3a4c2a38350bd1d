//! Logs, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::Targets, fmt, layer::SubscriberExt as _};

use crate::{
    failure::Failure,
    output::{self, Output},
};

/// Flags about the log of a program that runs until a signal ends it.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// The log level: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log_level: LevelFilter,
    /// The form of the log.
    #[arg(long, value_enum, default_value_t)]
    log_format: Output,
}

impl LogArgs {
    /// Starts the log.
    ///
    /// # Errors
    /// This process has a log already.
    pub(crate) fn begin(self) -> Result<(), Failure> {
        begin(self.log_level, self.log_format)
    }

    /// Returns the form of the log.
    pub(crate) const fn format(self) -> Output {
        self.log_format
    }
}

/// Logs messages of this program from `level` on, and warnings and errors of its libraries.
pub(crate) fn begin(level: LevelFilter, format: Output) -> Result<(), Failure> {
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // kube logs each unsuccessful response without naming the request, refused probes
        // included, and the whole of each response that it cannot parse: maybe a Secret.
        .with_target("kube_client::client", LevelFilter::OFF)
        .with_target("kube_client::client::tls", level.min(LevelFilter::WARN))
        // A prefix, of all crates of this program.
        .with_target("image_swap", level);
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = match format {
        Output::Text => layer.with_target(false).with_ansi(output::colours()).boxed(),
        Output::Json => layer.json().boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(Failure::broken)
}
