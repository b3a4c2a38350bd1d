//! What measures should come to.

use std::fmt;

/// A bound for one measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// The measure's name, as the benchmark prints it.
    pub(super) name: &'static str,
    bound: Bound,
    /// What would be better still.
    aim: f64,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

/// Every promise about speed and size.
pub(super) const GOALS: [Goal; 13] = [
    // One admission of a pod with five containers, in terms of a bare pass over its bytes …
    Goal { name: "admission/ignored-any", bound: AtMost(2.0), aim: 1.0 },
    // … and of reading the same fields into a borrowed struct.
    Goal { name: "admission/borrowed-struct", bound: AtMost(1.25), aim: 1.0 },
    // 100,000 rules in terms of seven.
    Goal { name: "admission/rules-100000", bound: AtMost(1.1), aim: 1.0 },
    // Requests a second in terms of a server of the same stack with a constant answer.
    Goal { name: "throughput/http1/constant", bound: AtLeast(0.85), aim: 0.95 },
    Goal { name: "throughput/http2/constant", bound: AtLeast(0.85), aim: 0.95 },
    Goal { name: "webhook/peak-rss-mib", bound: AtMost(16.0), aim: 16.0 },
    Goal { name: "webhook/ready-ms", bound: AtMost(50.0), aim: 50.0 },
    // What creating a pod takes longer, in terms of a webhook with a constant answer.
    Goal { name: "admission/added", bound: AtMost(1.3), aim: 1.0 },
    // In a cluster of 5,000 namespaces, with a pull Secret in each.
    Goal { name: "controller/peak-rss-mib", bound: AtMost(48.0), aim: 24.0 },
    // From a new declaration to the first pod that follows it.
    Goal { name: "declaration/to-pod-ms", bound: AtMost(2000.0), aim: 500.0 },
    // The CPU of `node plan` on a host on which nothing is to be done.
    Goal { name: "node/plan-unchanged-cpu-ms", bound: AtMost(10.0), aim: 1.0 },
    // The slowest of all formats.
    Goal { name: "render/registries-1000-ms", bound: AtMost(50.0), aim: 10.0 },
    Goal { name: "binary/mib", bound: AtMost(12.0), aim: 12.0 },
];

/// The goal of the measure `name`, if it has one.
pub(super) fn of(name: &str) -> Option<Goal> {
    GOALS.into_iter().find(|goal| goal.name == name)
}

impl Goal {
    pub(super) const fn is_met(self, value: f64) -> bool {
        match self.bound {
            AtMost(most) => value <= most,
            AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self.bound {
            AtMost(bound) => ("<=", bound),
            AtLeast(bound) => (">=", bound),
        };
        write!(f, "{sign} {bound}")?;
        // The same number twice says nothing.
        if (self.aim - bound).abs() > f64::EPSILON {
            write!(f, " (aim {})", self.aim)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_bound() {
        let most = of("admission/rules-100000").unwrap();
        assert!(most.is_met(1.1) && !most.is_met(1.11));
        let least = of("throughput/http2/constant").unwrap();
        assert!(least.is_met(0.85) && !least.is_met(0.84));
        assert_eq!(least.to_string(), ">= 0.85 (aim 0.95)");
        assert_eq!(of("binary/mib").unwrap().to_string(), "<= 12");
    }
}
