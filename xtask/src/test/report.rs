//! The report of cargo-nextest on its last run, in the format `JUnit`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A report. It has an element `testcase` for each test that ran.
#[derive(Debug)]
pub(crate) struct RunReport(String);

impl RunReport {
    /// Removes the report of an earlier run in the checkout `root`.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn forget(root: &Path) -> Result<()> {
        match fs::remove_file(path(root)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context(path(root).display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// Reads the report of the last run.
    ///
    /// # Errors
    /// The run wrote none.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = path(root);
        Ok(Self(fs::read_to_string(&path).with_context(|| path.display().to_string())?))
    }

    /// Returns the names of the tests that failed at first, and passed later.
    pub(crate) fn retried(&self) -> Vec<&str> {
        let is_retried = |case: &&str| {
            let case = case.split("</testcase>").next().unwrap_or_default();
            case.contains("<flakyFailure")
        };
        self.cases().filter(is_retried).filter_map(|case| attribute(case, "name")).collect()
    }

    /// Returns the tests of `list` that did not run. Each of its lines has the name of a test
    /// program and that of a test.
    pub(crate) fn not_run<'l>(&self, list: &'l str) -> Vec<&'l str> {
        let name = |case| Some((attribute(case, "classname")?, attribute(case, "name")?));
        let ran: BTreeSet<_> = self.cases().filter_map(name).collect();
        let is_left = |line: &&str| line.split_once(' ').is_none_or(|test| !ran.contains(&test));
        list.lines().filter(is_left).collect()
    }

    fn cases(&self) -> impl Iterator<Item = &str> {
        self.0.split("<testcase ").skip(1)
    }
}

/// Returns the path of the report. The file `.config/nextest.toml` has its name.
fn path(root: &Path) -> PathBuf {
    root.join("target/nextest/default/junit.xml")
}

/// Returns the value of an attribute of the first element in `case`.
fn attribute<'c>(case: &'c str, name: &str) -> Option<&'c str> {
    let mut attributes = case.split('>').next()?.split(' ');
    let value = attributes.find_map(|it| it.strip_prefix(name)?.strip_prefix("=\""))?;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{RunReport, path};

    fn report() -> RunReport {
        let text = r#"<testsuite name="a::it">
            <testcase name="passes" classname="a::it" time="0.1"></testcase>
            <testcase name="b::passes_later" classname="a::it" time="0.2">
                <flakyFailure message="m" type="t">output</flakyFailure>
            </testcase>
            <testcase name="fails" classname="a::it" time="0.1">
                <failure type="t">output</failure><rerunFailure type="t"/>
            </testcase>
            <testcase name="other" classname="a" time="0.1"/>
        </testsuite>"#;
        RunReport(text.to_owned())
    }

    #[test]
    fn only_retried_tests_are_named() {
        assert_eq!(report().retried(), ["b::passes_later"]);
    }

    #[test]
    fn selected_tests_without_a_case_are_named() {
        let ran = "a other\na::it b::passes_later\na::it fails\na::it passes\n";
        assert_eq!(report().not_run(ran), [""; 0]);
        let list = "a other\na::it other\na::it passes\nb::it passes\nmalformed\n";
        assert_eq!(report().not_run(list), ["a::it other", "b::it passes", "malformed"]);
    }

    #[test]
    fn report_of_an_earlier_run_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        RunReport::forget(root.path()).unwrap();
        fs::create_dir_all(path(root.path()).parent().unwrap()).unwrap();
        fs::write(path(root.path()), "").unwrap();
        RunReport::read(root.path()).unwrap();
        RunReport::forget(root.path()).unwrap();
        let error = RunReport::read(root.path()).unwrap_err().to_string();
        assert!(error.ends_with("junit.xml"), "{error}");
    }
}
