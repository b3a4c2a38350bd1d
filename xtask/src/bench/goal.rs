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
pub(super) const GOALS: [Goal; 26] = [
    // The time of one admission of a pod with five containers, divided by that of a bare pass
    // over its bytes.
    Goal { name: "admission/ignored-any", at_most: 2.0, aim: 1.0 },
    // The same time, divided by that of reading the same fields into a borrowed struct.
    Goal { name: "admission/borrowed-struct", at_most: 1.25, aim: 1.0 },
    // The time with 100,000 rules, divided by that with seven.
    Goal { name: "admission/rules-100000", at_most: 1.1, aim: 1.0 },
    // The CPU time of the server for a request, divided by that of a server of the same stack
    // that parses the JSON and answers a constant. API servers use HTTP/1.1 for Services.
    Goal { name: "server-cpu/http1/constant-json", at_most: 1.0, aim: 0.9 },
    Goal { name: "webhook/peak-rss-mib", at_most: 16.0, aim: 16.0 },
    Goal { name: "webhook/ready-ms", at_most: 50.0, aim: 50.0 },
    // The additional time of the creation of a pod, divided by that with a webhook whose answer
    // is constant.
    Goal { name: "admission/added", at_most: 1.3, aim: 1.0 },
    // The memory in a cluster of 5,000 namespaces, with a pull Secret in each.
    Goal { name: "controller/peak-rss-mib", at_most: 48.0, aim: 24.0 },
    // The time from a new declaration to the first pod that follows it.
    Goal { name: "declaration/to-pod-ms", at_most: 2000.0, aim: 500.0 },
    // The time from a new declaration to the files of the node on trial.
    Goal { name: "nodes/to-trial-ms", at_most: 1000.0, aim: 500.0 },
    // The time from the trial pull to the files of another node.
    Goal { name: "nodes/to-others-ms", at_most: 1000.0, aim: 500.0 },
    Goal { name: "agent/peak-rss-mib", at_most: 16.0, aim: 12.0 },
    // The share of one core while nothing changes.
    Goal { name: "agent/idle-cpu-percent", at_most: 0.1, aim: 0.05 },
    Goal { name: "agent/idle-writes", at_most: 0.0, aim: 0.0 },
    Goal { name: "agent/watches", at_most: 1.0, aim: 1.0 },
    // The memory in a cluster of 5,000 Nodes, with a report of an agent for each.
    Goal { name: "controller/nodes-peak-rss-mib", at_most: 48.0, aim: 24.0 },
    // The CPU time of `node plan` on a host without anything to change.
    Goal { name: "node/plan-unchanged-cpu-ms", at_most: 10.0, aim: 1.0 },
    // The time of the slowest format.
    Goal { name: "render/registries-1000-ms", at_most: 50.0, aim: 10.0 },
    // The time from an update to the last request to a workload cluster, divided by that of the
    // same requests without a fleet controller.
    Goal { name: "fleet/update-p50", at_most: 1.3, aim: 1.0 },
    Goal { name: "fleet/update-p99", at_most: 1.3, aim: 1.0 },
    // The same for the others, while a tenth of the clusters is offline.
    Goal { name: "fleet/offline-p99", at_most: 1.3, aim: 1.0 },
    // Requests while nothing changes but heartbeats, renewals of the Lease apart.
    Goal { name: "fleet/steady-writes", at_most: 0.0, aim: 0.0 },
    Goal { name: "fleet/steady-reads", at_most: 0.0, aim: 0.0 },
    Goal { name: "fleet/watches-per-cluster", at_most: 1.0, aim: 1.0 },
    // The peak memory with a thousand clusters, less that without any.
    Goal { name: "fleet/peak-kib-per-cluster", at_most: 150.0, aim: 100.0 },
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
