//! The benchmark of the fleet with few clusters: it still runs, and every measure is printed.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};
use image_swap_testbed::Parts;

use super::{goal, measure};
use crate::{executable, host::Host, process, steps::Outcome};

/// Number of clusters.
const CLUSTERS: usize = 20;
/// Start of the names of the measures.
const FLEET: &str = "fleet/";
/// The deadline of the benchmark, which takes a minute.
const DEADLINE: Duration = Duration::from_mins(10);

/// Runs the benchmark with [`CLUSTERS`] clusters. Their values have no bound.
pub(crate) fn run(host: &Host) -> Result<Outcome> {
    let parts = Parts::present()?;
    if let Err(missing) = parts.servers().and_then(|_| parts.helm()) {
        return Ok(Outcome::Missing(missing.to_string()));
    }
    let binary = executable::build(host, "build", &["--package", "image-swap"])?;
    let program =
        executable::build(host, "build", &["--package", "image-swap-fleet", "--bench", "fleet"])?;
    // An expired deadline kills the benchmark, whose end ends its servers.
    let mut command = Command::new("timeout");
    command.arg(DEADLINE.as_secs().to_string()).arg(program);
    command.args(["--bench", &format!("--clusters={CLUSTERS}")]).env("IMAGE_SWAP", &binary);
    let printed = process::text(&mut command)?;
    let found: Vec<_> = printed.lines().filter_map(measure).map(|it| it.name).collect();
    let mut names = goal::GOALS.iter().map(|goal| goal.name).filter(|it| it.starts_with(FLEET));
    match names.find(|name| !found.iter().any(|it| it == name)) {
        Some(name) => bail!("expected the measure {name}, found none in:\n{printed}"),
        None => Ok(Outcome::Passed(format!("{CLUSTERS} clusters"))),
    }
}
