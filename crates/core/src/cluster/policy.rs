//! When the API server refuses a pod that nobody could review.
//!
//! The failure policy `Fail` is dangerous where the API server cannot reach
//! us, so it has to be earned: it is set once the API server itself has
//! reached us, and taken back when that keeps failing although replicas run.
//! While no replica runs it stays: pods wait for one, which is what `Fail` is
//! for, and a pod that was let through keeps its wrong image for life.

/// What operators ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// `Fail` as soon as it is safe.
    #[default]
    Fail,
    /// `Ignore` for ever.
    Ignore,
    /// `Ignore`, and pods are only reported on.
    Audit,
}

/// The `failurePolicy` of the entry for ordinary pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Pods are let through unreviewed.
    #[default]
    Ignore,
    /// Pods are refused unreviewed.
    Fail,
}

impl Policy {
    /// As Kubernetes spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
        }
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The API server asked us, and took our answer.
    Reached,
    /// The API server could not ask us, although replicas are ready.
    Unreached,
    /// The API server could not ask us, and no replica is ready.
    NobodyThere,
    /// The API server itself could not be asked, or has not yet read the
    /// entries that make it ask us.
    Unknown,
}

/// Probes that have to fail in a row before `Fail` is taken back. Endpoints name
/// replicas of a lost node until Kubernetes notices, which takes it most of a minute,
/// and a cluster that starts cold is nothing but lost nodes: these failures must not
/// be enough.
pub const LOWER_AFTER: u32 = 12;
/// Probes that have to succeed in a row before `Fail` is set again after it
/// was taken back: a flapping network should not flap the policy.
pub const RAISE_AGAIN_AFTER: u32 = 3;

/// The policy, and what it was earned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    policy: Policy,
    failures: u32,
    successes: u32,
    needed: u32,
}

impl Earned {
    /// Begins with what is registered, or [`Policy::Ignore`] if nothing is: a
    /// controller that restarts takes nothing back.
    pub const fn begin(registered: Policy) -> Self {
        Self { policy: registered, failures: 0, successes: 0, needed: 1 }
    }

    /// The policy to register for what operators want.
    pub fn policy(&self, wanted: Wanted) -> Policy {
        if wanted == Wanted::Fail { self.policy } else { Policy::Ignore }
    }

    /// Probes that failed since the last that succeeded.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes note of a probe; the new policy if it changed.
    pub fn observe(&mut self, probe: Probe) -> Option<Policy> {
        match probe {
            Probe::Unknown => return None,
            Probe::NobodyThere => {
                self.successes = 0;
                return None;
            }
            Probe::Reached => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
            }
            Probe::Unreached => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
            }
        }
        match self.policy {
            Policy::Ignore if self.successes >= self.needed => self.policy = Policy::Fail,
            Policy::Fail if self.failures >= LOWER_AFTER => {
                self.policy = Policy::Ignore;
                self.needed = RAISE_AGAIN_AFTER;
            }
            _ => return None,
        }
        Some(self.policy)
    }
}

#[cfg(test)]
#[path = "tests/policy.rs"]
mod tests;
