//! The programs that tests run against: set up, and checked by group.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_testbed::{Group, Minor, Missing, Parts, Setup};

use crate::{
    host::{Host, print_line},
    steps::Outcome,
};

/// Groups of parts that tests cannot use on this machine.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Vec<(Group, Missing)>);

impl Gaps {
    /// Finds the gaps in the parts of one Kubernetes version. Obtains nothing.
    ///
    /// # Errors
    /// There is no cache folder.
    pub(crate) fn find(minor: Minor) -> Result<Self> {
        let parts = Parts::present_of(minor)?;
        let gap = |group: Group| Some((group, group.check(&parts).err()?));
        Ok(Self(Group::ALL.into_iter().filter_map(gap).collect()))
    }

    /// Returns true if tests of `group` cannot run.
    pub(crate) fn contains(&self, group: Group) -> bool {
        self.0.iter().any(|(gap, _)| *gap == group)
    }

    /// Returns the groups with the missing part of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Group, Missing)> {
        self.0.iter()
    }

    /// Returns the missing parts, each once.
    pub(crate) fn reasons(&self) -> String {
        let reasons: BTreeSet<String> = self.0.iter().map(|(_, gap)| gap.to_string()).collect();
        reasons.into_iter().collect::<Vec<_>>().join("; ")
    }
}

/// Sets up the parts of the Kubernetes versions `minors`: builds Go modules and unpacks
/// Debian packages into the cache. Packages of the machine itself are installed in CI, and
/// elsewhere if `install` is true.
pub(crate) fn set_up(host: &Host, install: bool, minors: &[Minor]) -> Result<Outcome> {
    let install = install || host.ci;
    Parts::obtain(&Setup { progress: &print_line, install, kubernetes: minors.to_vec() })?;
    for minor in minors {
        let gaps = Gaps::find(*minor)?;
        if !gaps.0.is_empty() {
            return Ok(Outcome::Missing(gaps.reasons()));
        }
    }
    let minors: Vec<String> = minors.iter().map(Minor::to_string).collect();
    Ok(Outcome::Passed(format!("Kubernetes {}", minors.join(" and "))))
}
