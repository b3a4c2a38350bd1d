//! The short set: tests that depend on the version of the API server.

use anyhow::{Result, bail};
use image_swap_testbed::Minor;

use super::{
    runner::{Choice, Runner},
    scan::Test,
};
use crate::{host::Host, parts::Gaps, steps::Outcome};

/// Tests of the short set: the package, and the beginning of the tests' names.
///
/// Install, swap, upgrade, rollback and uninstall of the chart on a node, and the tests of
/// the controller whose outcome the API server decides.
pub(crate) const SHORT: [(&str, &str); 7] = [
    ("image-swap-e2e", "release::"),
    ("image-swap", "conditions::"),
    ("image-swap", "registration::"),
    ("image-swap", "adoption::"),
    ("image-swap", "access::"),
    ("image-swap", "faults::api_server::"),
    ("image-swap", "faults::no_replica::"),
];

/// Returns the tests of the short set.
///
/// # Errors
/// An entry of [`SHORT`] matches no test, for example since a module was renamed.
pub(crate) fn select(tests: &[Test]) -> Result<Vec<&Test>> {
    for (package, prefix) in SHORT {
        if !tests.iter().any(|test| matches(test, package, prefix)) {
            bail!(
                "expected an ignored test {prefix}* in {package}, found none (xtask/src/test/short.rs)"
            );
        }
    }
    let is_short =
        |test: &&Test| SHORT.iter().any(|(package, prefix)| matches(test, package, prefix));
    Ok(tests.iter().filter(is_short).collect())
}

/// Runs `tests` on one Kubernetes version. Tests whose parts are missing are left out.
pub(crate) fn run(host: &Host, runner: &Runner, minor: Minor, tests: &[&Test]) -> Result<Outcome> {
    let gaps = Gaps::find(minor)?;
    let present = tests.iter().filter(|test| !gaps.contains(test.group));
    let present: Vec<&Test> = present.copied().collect();
    let retried = match present[..] {
        [] => String::new(),
        _ => runner.run(host, Choice::Only(&present), Some(minor))?,
    };
    let (all, missing) = (tests.len(), tests.len() - present.len());
    Ok(match missing {
        0 => Outcome::Passed(format!("{all} tests{retried}")),
        _ => Outcome::Missing(format!("{missing} of {all} tests: {}{retried}", gaps.reasons())),
    })
}

fn matches(test: &Test, package: &str, prefix: &str) -> bool {
    test.package == package && test.name.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use image_swap_testbed::Group;

    use super::{SHORT, select};
    use crate::{
        host::Host,
        packages,
        test::scan::{self, Test},
    };

    fn tests() -> Vec<Test> {
        let all = SHORT.into_iter().chain([("image-swap-e2e", "image::")]);
        let test = |(package, prefix): (&str, &str)| Test {
            package: package.to_owned(),
            name: format!("{prefix}a"),
            group: Group::Cluster,
        };
        all.map(test).collect()
    }

    #[test]
    fn short_set_is_selected_by_name() {
        let tests = tests();
        let selected = select(&tests).unwrap();
        assert_eq!(selected.len(), SHORT.len());
        assert!(selected.iter().all(|test| test.name != "image::a"));
    }

    #[test]
    fn entry_without_a_test_is_refused() {
        let error = select(&tests()[1..]).unwrap_err().to_string();
        assert!(error.contains("release::* in image-swap-e2e"), "{error}");
    }

    #[test]
    fn short_set_matches_tests_of_the_workspace() {
        let host = Host::new().unwrap();
        let tests = scan::tests(&host.root, &packages::all(&host).unwrap()).unwrap();
        select(&tests).unwrap();
    }
}
