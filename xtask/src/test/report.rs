//! Tests that passed only at their second attempt, from the report of cargo-nextest.

use std::{fs, path::Path};

/// Report of the last run, below the checkout. The file `.config/nextest.toml` names it.
const REPORT: &str = "target/nextest/default/junit.xml";

/// Removes the report of an earlier run.
pub(crate) fn forget(root: &Path) {
    // A run without a report has no file to remove.
    let _ = fs::remove_file(root.join(REPORT));
}

/// Returns the names of the tests of the last run that failed at first. They are empty without
/// a report, as with `cargo test`, which repeats no test.
pub(crate) fn names(root: &Path) -> Vec<String> {
    fs::read_to_string(root.join(REPORT)).map(|report| of_report(&report)).unwrap_or_default()
}

/// Returns the names of the test cases with an element `flakyFailure`, in the format `JUnit`.
fn of_report(report: &str) -> Vec<String> {
    let cases = report.split("<testcase ").skip(1);
    let is_retried = |case: &&str| {
        let case = case.split("</testcase>").next().unwrap_or_default();
        case.contains("<flakyFailure")
    };
    let name = |case: &str| Some(case.split_once("name=\"")?.1.split_once('"')?.0.to_owned());
    cases.filter(is_retried).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::of_report;

    #[test]
    fn only_retried_tests_are_named() {
        let report = r#"<testsuite name="it">
            <testcase name="passes" classname="it" time="0.1"></testcase>
            <testcase name="a::passes_later" classname="it" time="0.2">
                <flakyFailure message="m" type="t">output</flakyFailure>
            </testcase>
            <testcase name="fails" classname="it" time="0.1">
                <failure type="t">output</failure><rerunFailure type="t"/>
            </testcase>
            <testcase name="other" classname="it" time="0.1"/>
        </testsuite>"#;
        assert_eq!(of_report(report), ["a::passes_later"]);
    }
}
