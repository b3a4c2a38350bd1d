//! Reasons why the pull fails.

use std::collections::BTreeMap;

use crate::remote::RemoteError;

/// Task of the pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HubTask {
    /// Reads the access.
    Access,
    /// Brings the declaration to `registry-info`.
    Declaration,
    /// Renews the Lease.
    Heartbeat,
    /// Renews the token.
    Token,
}

/// Problems of the tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HubProblems(BTreeMap<HubTask, String>);

impl HubProblems {
    /// Returns one problem.
    pub(super) fn of(task: HubTask, problem: String) -> Self {
        Self(BTreeMap::from([(task, problem)]))
    }

    /// Replaces the problem of `task`; `None` removes it. Returns true if it differs.
    pub(super) fn set(&mut self, task: HubTask, problem: Option<String>) -> bool {
        let differs = self.0.get(&task) != problem.as_ref();
        match problem {
            Some(problem) => self.0.insert(task, problem),
            None => self.0.remove(&task),
        };
        differs
    }

    /// Returns the problems in one text; `None` without one.
    pub(super) fn message(&self) -> Option<String> {
        let mut words: Vec<&str> = Vec::new();
        for problem in self.0.values() {
            if !words.contains(&problem.as_str()) {
                words.push(problem);
            }
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Returns the problem of a request to the management cluster.
pub(super) fn remote(error: RemoteError) -> String {
    match error {
        RemoteError::Unauthorized | RemoteError::Refused(403 | 404) => {
            "the management cluster refuses the token, which has expired or was revoked; the last \
             declaration stays; enroll this cluster again by image-swap fleet enroll there"
                .to_owned()
        }
        RemoteError::Untrusted => "the certificate of the management cluster's API server is not \
                                   signed by its authority in the Secret; enroll this cluster again"
            .to_owned(),
        error => format!("the management cluster: {error}; the last declaration stays"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_reasons_are_reported_once() {
        let mut problems = HubProblems::default();
        assert_eq!(problems.message(), None);
        let refused = remote(RemoteError::Unauthorized);
        assert!(problems.set(HubTask::Declaration, Some(refused.clone())));
        assert!(problems.set(HubTask::Heartbeat, Some(refused.clone())));
        assert!(!problems.set(HubTask::Heartbeat, Some(refused.clone())));
        assert_eq!(problems.message(), Some(refused));
        assert!(problems.set(HubTask::Token, Some("late".to_owned())));
        assert!(problems.message().unwrap().ends_with("; late"));
        for task in [HubTask::Declaration, HubTask::Heartbeat, HubTask::Token] {
            assert!(problems.set(task, None));
        }
        assert_eq!(problems, HubProblems::default());
    }
}
