//! `cargo xtask matrix`: the short set of tests on every Kubernetes version.

use std::process::ExitCode;

use anyhow::Result;
use image_swap_testbed::{Minor, Parts};

use crate::{
    host::Host,
    image, packages, parts,
    steps::{Outcome, Steps},
    test::{runner::Runner, scan, short},
};

/// Install, upgrade, rollback, uninstall and faults on every Kubernetes version
///
/// Builds the programs of one version, runs the short set of tests on them, and removes
/// them before the next version. Those that `cargo xtask test` runs on are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kubernetes versions, such as 1.36; all known ones if none is given
    #[arg(value_name = "MINOR")]
    minors: Vec<Minor>,
    /// Install missing Debian packages on this machine (needs root)
    #[arg(long)]
    install: bool,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let tests = scan::tests(&host.root, &packages::all(host)?)?;
        let tests = short::select(&tests)?;
        let runner = Runner::find(host, true);
        let minors = if self.minors.is_empty() { Minor::MATRIX.to_vec() } else { self.minors };
        let mut steps = Steps::new(host);
        steps.step("image", |host| Ok(Outcome::Passed(image::of_tests(host)?)));
        for minor in minors {
            let install = self.install;
            steps.step(format!("Kubernetes {minor}"), |host| {
                let outcome = parts::set_up(host, install, &[minor])
                    .and_then(|_| short::run(host, &runner, minor, &tests));
                if !is_kept(minor) {
                    Parts::remove_kubernetes(minor)?;
                }
                outcome
            });
        }
        Ok(steps.finish())
    }
}

/// Returns true for the versions that `cargo xtask test` runs on.
fn is_kept(minor: Minor) -> bool {
    [Minor::DEFAULT, Minor::OLDEST].contains(&minor)
}

#[cfg(test)]
mod tests {
    use image_swap_testbed::Minor;

    use super::is_kept;

    #[test]
    fn versions_of_the_complete_test_are_kept() {
        let kept: Vec<_> = Minor::MATRIX.into_iter().filter(|minor| is_kept(*minor)).collect();
        assert_eq!(kept, [Minor::OLDEST, Minor::DEFAULT]);
    }
}
