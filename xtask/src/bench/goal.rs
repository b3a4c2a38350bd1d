//! Bounds of measures.

use std::fmt;

/// A bound for one measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// The measure's name, as the benchmark prints it.
    pub(super) name: &'static str,
    at_most: f64,
    /// A better value, to work towards.
    aim: f64,
}

/// Every promise about speed and size.
pub(super) const GOALS: [Goal; 19] = [
    // One admission of a pod with five containers, in terms of a bare pass over its bytes …
    Goal { name: "admission/ignored-any", at_most: 2.0, aim: 1.0 },
    // … and of reading the same fields into a borrowed struct.
    Goal { name: "admission/borrowed-struct", at_most: 1.25, aim: 1.0 },
    // 100,000 rules in terms of seven.
    Goal { name: "admission/rules-100000", at_most: 1.1, aim: 1.0 },
    // Server CPU of a request, in terms of a server of the same stack that parses the JSON
    // and answers a constant. API servers speak HTTP/1.1 to Services.
    Goal { name: "server-cpu/http1/constant-json", at_most: 1.0, aim: 0.9 },
    Goal { name: "webhook/peak-rss-mib", at_most: 16.0, aim: 16.0 },
    Goal { name: "webhook/ready-ms", at_most: 50.0, aim: 50.0 },
    // What creating a pod takes longer, in terms of a webhook with a constant answer.
    Goal { name: "admission/added", at_most: 1.3, aim: 1.0 },
    // In a cluster of 5,000 namespaces, with a pull Secret in each.
    Goal { name: "controller/peak-rss-mib", at_most: 48.0, aim: 24.0 },
    // From a new declaration to the first pod that follows it.
    Goal { name: "declaration/to-pod-ms", at_most: 2000.0, aim: 500.0 },
    // From a new declaration to the files of the node that tries it …
    Goal { name: "nodes/to-trial-ms", at_most: 1000.0, aim: 500.0 },
    // … and from the trial pull to the files of another node.
    Goal { name: "nodes/to-others-ms", at_most: 1000.0, aim: 500.0 },
    Goal { name: "agent/peak-rss-mib", at_most: 16.0, aim: 12.0 },
    // Of one core, while nothing happens.
    Goal { name: "agent/idle-cpu-percent", at_most: 0.1, aim: 0.05 },
    Goal { name: "agent/idle-writes", at_most: 0.0, aim: 0.0 },
    Goal { name: "agent/watches", at_most: 1.0, aim: 1.0 },
    // In a cluster of 5,000 Nodes, with a report of an agent for each.
    Goal { name: "controller/nodes-peak-rss-mib", at_most: 48.0, aim: 24.0 },
    // The CPU of `node plan` on a host on which nothing is to be done.
    Goal { name: "node/plan-unchanged-cpu-ms", at_most: 10.0, aim: 1.0 },
    // The slowest of all formats.
    Goal { name: "render/registries-1000-ms", at_most: 50.0, aim: 10.0 },
    Goal { name: "binary/mib", at_most: 12.0, aim: 12.0 },
];

/// Returns the goal of the measure `name`, if it has one.
pub(super) fn of(name: &str) -> Option<Goal> {
    GOALS.into_iter().find(|goal| goal.name == name)
}

impl Goal {
    pub(super) fn is_met(self, value: f64) -> bool {
        value <= self.at_most
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<= {}", self.at_most)?;
        // An aim equal to the bound adds nothing.
        if (self.aim - self.at_most).abs() > f64::EPSILON {
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
    fn goal_is_met_at_its_bound() {
        let most = of("admission/rules-100000").unwrap();
        assert!(most.is_met(1.1) && !most.is_met(1.11));
        assert_eq!(most.to_string(), "<= 1.1 (aim 1)");
        assert_eq!(of("binary/mib").unwrap().to_string(), "<= 12");
    }

    #[test]
    fn throughput_has_no_bound() {
        assert!(GOALS.iter().all(|goal| !goal.name.starts_with("throughput/")));
        assert!(of("server-cpu/http1/constant-json").is_some_and(|goal| goal.is_met(1.0)));
    }

    #[test]
    fn value_that_is_no_number_misses_the_goal() {
        assert!(GOALS.into_iter().all(|goal| !goal.is_met(f64::NAN)));
    }
}
