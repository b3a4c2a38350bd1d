//! Checks of known defects.

use anyhow::{Result, bail};

use crate::helm_cluster::print_step;

/// Runs a check that fails because of a known defect, and prints `known failure: …`.
/// `defect` is a plain description of the defect.
///
/// The check is the final comparison alone. Steps that lead to it stay outside, so
/// that their errors fail the test.
///
/// # Errors
/// The check passed: the defect is fixed, and the marker has to go.
pub fn known_failure(defect: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    match check() {
        Err(error) => {
            print_step(&format!("known failure: {defect} ({error:#})"));
            Ok(())
        }
        Ok(()) => bail!(
            "a known failure passes: {defect}. If the defect is fixed, replace \
             `known_failure(…)` by the check itself"
        ),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::known_failure;

    #[test]
    fn failing_check_is_expected() {
        assert!(known_failure("a defect", || Err(anyhow!("found 1"))).is_ok());
    }

    #[test]
    fn passing_check_is_a_failure() {
        let error = known_failure("a defect", || Ok(())).unwrap_err().to_string();
        assert!(error.contains("a known failure passes: a defect"), "{error}");
    }
}
