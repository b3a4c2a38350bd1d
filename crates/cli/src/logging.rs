//! Logs, on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::Targets, fmt, layer::SubscriberExt as _};

use crate::{
    failure::Failure,
    output::{self, Output},
};

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
