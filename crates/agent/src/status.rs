//! The status of a node, from the outcome of one look at its host.

use image_swap_core::status::{
    NodeCondition, NodeMirrorStatus,
    node_mirror::{APPLIED, DEGRADED, FALSE, NEEDS_RESTART, TRUE, UNKNOWN, VERIFIED, reason},
};
use image_swap_node::RuntimeStart;

/// Rules that a status lists at most.
const LISTED: usize = 20;
/// Bytes of a message at most: an object of each node of a large cluster is kept.
const LONGEST: usize = 1024;

/// The state of a host after the agent has looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostReport {
    /// Outcome of the order.
    pub(crate) outcome: HostOutcome,
    /// Command that an administrator runs on the host; `None` if there is nothing to do.
    pub(crate) command: Option<String>,
    /// Start of the runtime, compared with the last change of its configuration. A plan that
    /// depends on a change after the start is a restart.
    pub(crate) start: RuntimeStart,
    /// Rules that the runtime cannot express, each with the reason.
    pub(crate) inexpressible: Vec<String>,
    /// Notes for an administrator.
    pub(crate) notes: Vec<String>,
    /// Path of a file that another program had changed, and that was written again.
    pub(crate) repaired: Option<String>,
}

/// The outcome of an order. Texts hold no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostOutcome {
    /// There is no declaration for the node.
    NoDeclaration,
    /// The declaration cannot be read.
    InvalidDeclaration,
    /// Every file is in place.
    InPlace,
    /// Every file is in place, and the runtime has to reload them.
    ReloadRequired,
    /// The runtime has to be restarted for this reason; nothing was written.
    RestartRequired(String),
    /// The runtime has to be restarted for this reason, and the restart is ordered; nothing was
    /// written.
    RestartOrdered(String),
    /// The ordered restart has failed.
    RestartFailed {
        /// The reason for the restart.
        reason: String,
        /// The reason why it failed, and the state of the host.
        found: String,
    },
    /// The plan was refused: case, finding and remedy.
    Refused {
        /// Row of docs/nodes.md.
        case: String,
        /// The finding and the remedy.
        found: String,
    },
    /// A file could not be written.
    Failed(String),
    /// The edits of image-swap are removed.
    Restored,
}

impl HostReport {
    /// Returns the report of an outcome without anything else to report.
    pub(crate) fn of(outcome: HostOutcome) -> Self {
        Self {
            outcome,
            command: None,
            start: RuntimeStart::AfterChange,
            inexpressible: Vec::new(),
            notes: Vec::new(),
            repaired: None,
        }
    }
}

/// Facts for the status of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusFacts<'a> {
    /// UID of the Node.
    pub(crate) node_uid: &'a str,
    /// Boot ID of the host.
    pub(crate) boot_id: &'a str,
    /// Number of the declaration that the node is to have; `None` without one.
    pub(crate) wanted: Option<u64>,
    /// State of the host.
    pub(crate) report: &'a HostReport,
    /// Path of a file that another program changes again and again; `None` without one.
    pub(crate) drifting: Option<&'a str>,
    /// The stored status.
    pub(crate) stored: &'a NodeMirrorStatus,
    /// The time, in RFC 3339.
    pub(crate) now: &'a str,
}

impl StatusFacts<'_> {
    /// Returns the part of the status that the agent owns.
    pub(crate) fn status(&self) -> NodeMirrorStatus {
        let Self { node_uid, boot_id, wanted, report, stored, .. } = *self;
        let of_this_node = (stored.node_uid == node_uid).then_some(stored.applied_revision);
        let applied_revision = match report.outcome {
            HostOutcome::InPlace | HostOutcome::ReloadRequired => wanted,
            HostOutcome::Restored => None,
            // The host is as it was.
            _ => of_this_node.flatten(),
        };
        let conditions = [
            (APPLIED, self.applied()),
            (NEEDS_RESTART, self.restart()),
            (DEGRADED, self.degraded()),
        ];
        NodeMirrorStatus {
            node_uid: node_uid.to_owned(),
            boot_id: boot_id.to_owned(),
            wanted_revision: wanted,
            applied_revision,
            command: report.command.clone(),
            inexpressible: report.inexpressible.iter().take(LISTED).map(|it| short(it)).collect(),
            conditions: conditions.map(|(kind, finding)| self.condition(kind, finding)).into(),
        }
    }

    fn applied(&self) -> Finding {
        match &self.report.outcome {
            HostOutcome::NoDeclaration => (
                FALSE,
                reason::NO_DECLARATION,
                "there is no declaration for this node; the host stays as it is".to_owned(),
            ),
            HostOutcome::InvalidDeclaration => (
                FALSE,
                reason::INVALID_DECLARATION,
                "cannot read the declaration; the host stays as it is".to_owned(),
            ),
            HostOutcome::InPlace | HostOutcome::ReloadRequired => {
                (TRUE, reason::IN_PLACE, "every file is in place".to_owned())
            }
            HostOutcome::RestartRequired(reason) => (
                FALSE,
                reason::RESTART_REQUIRED,
                format!("{reason}; agents restart nothing, so the host stays as it is"),
            ),
            HostOutcome::RestartOrdered(reason) => (
                FALSE,
                reason::RESTART_REQUIRED,
                format!("{reason}; the host stays as it is until the controller restarts it"),
            ),
            HostOutcome::RestartFailed { found, .. } => {
                (FALSE, reason::RESTART_FAILED, found.clone())
            }
            HostOutcome::Refused { case, found } => {
                (FALSE, reason::REFUSED, format!("{case}: {found}"))
            }
            HostOutcome::Failed(reason) => (FALSE, reason::APPLY_FAILED, reason.clone()),
            HostOutcome::Restored => {
                (FALSE, reason::RESTORED, "the edits of image-swap are removed".to_owned())
            }
        }
    }

    fn restart(&self) -> Finding {
        let report = self.report;
        let run = |reason: &str| match &report.command {
            Some(command) => format!("{reason}; run `{command}` on the host"),
            None => reason.to_owned(),
        };
        match (&report.outcome, report.start) {
            (
                HostOutcome::RestartRequired(reason)
                | HostOutcome::RestartOrdered(reason)
                | HostOutcome::RestartFailed { reason, .. },
                _,
            ) => (TRUE, reason::RESTART_REQUIRED, run(reason)),
            (HostOutcome::ReloadRequired, _) => {
                let reason = "the runtime reads the files when it is reloaded or started";
                (TRUE, reason::RELOAD_REQUIRED, run(reason))
            }
            (HostOutcome::InPlace | HostOutcome::Restored, _) if report.command.is_some() => {
                let reason = "an edit of image-swap remains until the runtime is restarted";
                (TRUE, reason::RESTART_REQUIRED, run(reason))
            }
            (HostOutcome::InPlace, RuntimeStart::Unknown) => (
                UNKNOWN,
                reason::START_UNKNOWN,
                "nothing on the host shows if the runtime was started after its configuration \
                 changed"
                    .to_owned(),
            ),
            _ => (FALSE, reason::NOTHING, String::new()),
        }
    }

    fn degraded(&self) -> Finding {
        let HostReport { inexpressible, notes, .. } = self.report;
        if let Some(path) = self.drifting {
            let message = format!(
                "another program changes files of image-swap again and again, such as {path}; \
                 find it and stop it"
            );
            (TRUE, reason::DRIFT, message)
        } else if let Some(first) = inexpressible.first() {
            let count = inexpressible.len();
            let message = format!("the runtime cannot express {count} of the rules: {first}");
            (TRUE, reason::INEXPRESSIBLE_RULES, message)
        } else if notes.is_empty() {
            (FALSE, reason::NOTHING, String::new())
        } else {
            (TRUE, reason::NOTES, notes.join("\n"))
        }
    }

    /// Returns a condition. Its time stays if its status does.
    fn condition(&self, kind: &str, (status, reason, message): Finding) -> NodeCondition {
        let stored = self.stored.condition(kind).filter(|it| it.status == status);
        let since = stored.map(|it| it.last_transition_time.as_str());
        NodeCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: short(&message),
            last_transition_time: since.filter(|it| !it.is_empty()).unwrap_or(self.now).to_owned(),
        }
    }
}

/// Status, reason and message of a condition.
type Finding = (&'static str, &'static str, String);

/// Returns true if the agent's part of the `stored` status equals `status`, apart from times.
pub(crate) fn is_stored(status: &NodeMirrorStatus, stored: &NodeMirrorStatus) -> bool {
    let comparable = |status: &NodeMirrorStatus| {
        let mut status = status.clone();
        status.conditions.retain(|it| it.kind != VERIFIED);
        status.conditions.sort_by(|one, other| one.kind.cmp(&other.kind));
        for condition in &mut status.conditions {
            condition.last_transition_time.clear();
        }
        status
    };
    comparable(status) == comparable(stored)
}

/// Returns `text`, cut to the longest message.
fn short(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(at, _)| at);
    let end = ends.take_while(|at| *at <= LONGEST - '…'.len_utf8()).last().unwrap_or_default();
    [&text[..end], "…"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-29T10:00:00Z";
    const BEFORE: &str = "2026-11-28T10:00:00Z";

    fn facts<'a>(report: &'a HostReport, stored: &'a NodeMirrorStatus) -> StatusFacts<'a> {
        StatusFacts {
            node_uid: "u",
            boot_id: "b",
            wanted: Some(7),
            report,
            drifting: None,
            stored,
            now: NOW,
        }
    }

    /// Returns a status of the same node, in which the declaration 6 is in force.
    fn earlier() -> NodeMirrorStatus {
        let report = HostReport::of(HostOutcome::InPlace);
        let stored = NodeMirrorStatus::default();
        StatusFacts { wanted: Some(6), now: BEFORE, ..facts(&report, &stored) }.status()
    }

    /// Returns status and reason of the condition `kind`.
    fn shown<'a>(status: &'a NodeMirrorStatus, kind: &str) -> (&'a str, &'a str) {
        let found = status.condition(kind).unwrap();
        (&found.status, &found.reason)
    }

    #[test]
    fn each_outcome_has_its_conditions() {
        use HostOutcome::{
            Failed, InPlace, InvalidDeclaration, NoDeclaration, Refused, ReloadRequired,
            RestartFailed, RestartOrdered, RestartRequired, Restored,
        };
        let refused = || Refused { case: "link".into(), found: "a link; change it there".into() };
        let nothing = ("False", "Nothing");
        let outcomes = [
            (NoDeclaration, Some(6), ("False", "NoDeclaration"), nothing),
            (InvalidDeclaration, Some(6), ("False", "InvalidDeclaration"), nothing),
            (InPlace, Some(7), ("True", "InPlace"), nothing),
            (ReloadRequired, Some(7), ("True", "InPlace"), ("True", "ReloadRequired")),
            (
                RestartRequired("why".into()),
                Some(6),
                ("False", "RestartRequired"),
                ("True", "RestartRequired"),
            ),
            (
                RestartOrdered("why".into()),
                Some(6),
                ("False", "RestartRequired"),
                ("True", "RestartRequired"),
            ),
            (
                RestartFailed { reason: "why".into(), found: "found".into() },
                Some(6),
                ("False", "RestartFailed"),
                ("True", "RestartRequired"),
            ),
            (refused(), Some(6), ("False", "Refused"), nothing),
            (Failed("why".into()), Some(6), ("False", "ApplyFailed"), nothing),
            (Restored, None, ("False", "Restored"), nothing),
        ];
        let stored = earlier();
        for (outcome, revision, applied, restart) in outcomes {
            let report = HostReport::of(outcome.clone());
            let status = facts(&report, &stored).status();
            assert_eq!(status.applied_revision, revision, "{outcome:?}");
            assert_eq!(shown(&status, APPLIED), applied, "{outcome:?}");
            assert_eq!(shown(&status, NEEDS_RESTART), restart, "{outcome:?}");
            assert_eq!(shown(&status, DEGRADED), nothing, "{outcome:?}");
            assert_eq!((status.wanted_revision, status.conditions.len()), (Some(7), 3));
            let at = &status.condition(APPLIED).unwrap().last_transition_time;
            let stays = applied.0 == "True";
            assert_eq!(at, if stays { BEFORE } else { NOW }, "{outcome:?}");
        }
    }

    #[test]
    fn revision_of_another_node_is_not_reported() {
        let report = HostReport::of(HostOutcome::NoDeclaration);
        let stored = NodeMirrorStatus { node_uid: "other".into(), ..earlier() };
        assert_eq!(facts(&report, &stored).status().applied_revision, None);
    }

    #[test]
    fn unknown_start_and_remaining_edits_are_reported() {
        let stored = NodeMirrorStatus::default();
        let mut report = HostReport::of(HostOutcome::InPlace);
        for (start, expected) in [
            (RuntimeStart::AfterChange, ("False", "Nothing")),
            (RuntimeStart::BeforeChange, ("False", "Nothing")),
            (RuntimeStart::Unknown, ("Unknown", "StartUnknown")),
        ] {
            report.start = start;
            assert_eq!(shown(&facts(&report, &stored).status(), NEEDS_RESTART), expected);
        }
        let command = "image-swap node restore --restart allow";
        report.command = Some(command.into());
        for outcome in [HostOutcome::InPlace, HostOutcome::Restored] {
            report.outcome = outcome;
            let status = facts(&report, &stored).status();
            assert_eq!(shown(&status, NEEDS_RESTART), ("True", "RestartRequired"));
            let message = &status.condition(NEEDS_RESTART).unwrap().message;
            assert!(message.ends_with(&format!("; run `{command}` on the host")), "{message}");
            assert_eq!(status.command.as_deref(), Some(command));
        }
    }

    #[test]
    fn restrictions_are_reported_the_worst_first() {
        let stored = NodeMirrorStatus::default();
        let mut report = HostReport::of(HostOutcome::InPlace);
        report.notes = vec!["one".into(), "two".into()];
        let degraded = |report: &HostReport, drifting| {
            let status = StatusFacts { drifting, ..facts(report, &stored) }.status();
            let found = status.condition(DEGRADED).unwrap();
            (found.status.clone(), found.reason.clone(), found.message.clone())
        };
        assert_eq!(degraded(&report, None), ("True".into(), "Notes".into(), "one\ntwo".into()));
        report.inexpressible = (0..25).map(|number| format!("rule {number}")).collect();
        let (_, reason, message) = degraded(&report, None);
        assert_eq!(reason, "InexpressibleRules");
        assert_eq!(message, "the runtime cannot express 25 of the rules: rule 0");
        assert_eq!(facts(&report, &stored).status().inexpressible.len(), 20);
        let (_, reason, message) = degraded(&report, Some("/etc/a"));
        assert!(reason == "Drift" && message.contains("/etc/a"), "{reason} {message}");
    }

    #[test]
    fn times_and_controller_conditions_are_not_compared() {
        let report = HostReport::of(HostOutcome::InPlace);
        let none = NodeMirrorStatus::default();
        let status = facts(&report, &none).status();
        assert!(!is_stored(&status, &none));
        let mut stored = status.clone();
        stored.conditions.reverse();
        for condition in &mut stored.conditions {
            condition.last_transition_time = BEFORE.into();
        }
        let verified = NodeCondition { kind: VERIFIED.into(), ..NodeCondition::default() };
        stored.conditions.push(verified);
        assert!(is_stored(&status, &stored));
        stored.conditions[0].message = "another".into();
        assert!(!is_stored(&status, &stored));
        assert!(!is_stored(&status, &NodeMirrorStatus { boot_id: "c".into(), ..status.clone() }));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("short"), "short");
        let text = short(&"ä".repeat(1000));
        assert!(text.len() <= LONGEST && text.ends_with("ä…"), "{}", text.len());
    }
}
