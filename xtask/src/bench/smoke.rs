//! The benchmark of the fleet with few clusters: it still runs, and every measure is printed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
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
    // With the features of the whole workspace, so that the tests share all compiled crates.
    let selected = ["--workspace", "--bin", "image-swap", "--bench", "fleet"];
    let built = executable::build_all(host, "build", &selected)?;
    let binary = named("image-swap", &built)?;
    let program = named("fleet", &built)?;
    // An expired deadline kills the benchmark, whose end ends its servers.
    let mut command = Command::new("timeout");
    command.arg(DEADLINE.as_secs().to_string()).arg(program);
    command.args(["--bench", &format!("--clusters={CLUSTERS}")]).env("IMAGE_SWAP", binary);
    let printed = process::text(&mut command)?;
    let found: Vec<_> = printed.lines().filter_map(measure).map(|it| it.name).collect();
    let mut names = goal::GOALS.iter().map(|goal| goal.name).filter(|it| it.starts_with(FLEET));
    match names.find(|name| !found.iter().any(|it| it == name)) {
        Some(name) => bail!("expected the measure {name}, found none in:\n{printed}"),
        None => Ok(Outcome::Passed(format!("{CLUSTERS} clusters"))),
    }
}

/// Returns the program `name`. cargo appends a hash to the names of benchmarks.
fn named<'p>(name: &str, built: &'p [PathBuf]) -> Result<&'p Path> {
    let is_named = |path: &&PathBuf| {
        let rest = path.file_name().and_then(|file| file.to_str()?.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let found = built.iter().find(is_named).map(PathBuf::as_path);
    found.with_context(|| format!("expected the program {name} from cargo, found {built:?}"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::named;

    #[test]
    fn program_is_found_by_its_name() {
        let built = ["/t/deps/fleet-1a2b", "/t/image-swap"].map(PathBuf::from);
        assert_eq!(named("fleet", &built).unwrap(), Path::new("/t/deps/fleet-1a2b"));
        assert_eq!(named("image-swap", &built).unwrap(), Path::new("/t/image-swap"));
        assert!(named("image", &[PathBuf::from("/t/images")]).is_err());
    }
}
