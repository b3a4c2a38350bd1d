//! The Secret `N-nodes`, which the agents of nodes follow.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    control::effective::{Effective, Origin},
    mirror::Fallback,
};

/// Content of the Secret `N-nodes`. The controller writes it; Helm replaces it by one with
/// [`RESTORE`] alone when it removes the agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDeclaration {
    /// The declaration of every node that is not on trial; `None` before the first trial has
    /// succeeded.
    pub verified: Option<NodeRevision>,
    /// The declaration on trial, or the one whose trial failed, which no node has then; `None`
    /// without one.
    pub trial: Option<NodeTrial>,
    /// The last declaration whose trial failed; `None` if none failed since the last success.
    pub failed: Option<FailedTrial>,
    /// True if agents remove everything that image-swap wrote.
    pub restore: bool,
}

/// A declaration for nodes, with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRevision {
    /// Number of the declaration; every change of the content, credentials included, raises it.
    pub number: u64,
    /// The declaration, with the credential unless it is withheld from nodes.
    pub effective: Effective,
    /// Requests to the public registry after the mirrors.
    pub fallback: Fallback,
}

impl NodeRevision {
    /// Returns true if `other` configures nodes in the same way, whatever its number.
    pub fn is_like(&self, other: &Self) -> bool {
        self.effective == other.effective && self.fallback == other.fallback
    }
}

/// A declaration that some nodes try before the others get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTrial {
    /// The declaration.
    pub revision: NodeRevision,
    /// Names of the nodes that apply it. Once its trial has failed: names of the nodes that
    /// remove it because there is no verified declaration; see [`NodeDeclaration::restores`].
    pub nodes: BTreeSet<String>,
}

/// A declaration whose trial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTrial {
    /// Number of the declaration.
    pub number: u64,
    /// The node, and the reason. Holds no credential.
    pub reason: String,
}

/// Key of the number of the verified declaration.
const REVISION: &str = "revision";
const SOURCE: &str = "source";
const DECLARATION: &str = "declaration";
const FALLBACK: &str = "fallback";
const TRIAL_REVISION: &str = "trial-revision";
const TRIAL_SOURCE: &str = "trial-source";
const TRIAL_DECLARATION: &str = "trial-declaration";
const TRIAL_FALLBACK: &str = "trial-fallback";
/// Key of the names of nodes on trial, separated by spaces.
const TRIAL_NODES: &str = "trial-nodes";
const FAILED_REVISION: &str = "failed-revision";
const FAILED_REASON: &str = "failed-reason";
/// Key of a Secret by which agents restore their nodes. Its value is `true`.
pub const RESTORE: &str = "restore";

/// The keys of a [`NodeRevision`].
struct RevisionKeys {
    number: &'static str,
    source: &'static str,
    declaration: &'static str,
    fallback: &'static str,
}

const VERIFIED: RevisionKeys =
    RevisionKeys { number: REVISION, source: SOURCE, declaration: DECLARATION, fallback: FALLBACK };
const ON_TRIAL: RevisionKeys = RevisionKeys {
    number: TRIAL_REVISION,
    source: TRIAL_SOURCE,
    declaration: TRIAL_DECLARATION,
    fallback: TRIAL_FALLBACK,
};

impl RevisionKeys {
    fn write(&self, revision: &NodeRevision, data: &mut BTreeMap<&'static str, String>) {
        let NodeRevision { number, effective, fallback } = revision;
        data.insert(self.number, number.to_string());
        data.insert(self.source, effective.origin.as_str().to_owned());
        data.insert(self.declaration, effective.text());
        data.insert(self.fallback, fallback.as_str().to_owned());
    }

    fn read<'v>(&self, value: &impl Fn(&str) -> Option<&'v str>) -> Option<NodeRevision> {
        let origin = Origin::named(value(self.source)?)?;
        Some(NodeRevision {
            number: value(self.number)?.parse().ok()?,
            effective: Effective::parse(origin, value(self.declaration)?),
            fallback: value(self.fallback).and_then(Fallback::named).unwrap_or_default(),
        })
    }
}

impl NodeDeclaration {
    /// Returns the declaration that the node `name` applies; `None` if it keeps what it has.
    ///
    /// A node on trial requests no public registry: a pull that succeeds there proves nothing
    /// about the mirrors.
    pub fn for_node(&self, name: &str) -> Option<NodeRevision> {
        let on_trial = |trial: &NodeTrial| {
            let fallback = Fallback::Never;
            NodeRevision { fallback, ..trial.revision.clone() }
        };
        self.trial_of(name).map(on_trial).or_else(|| self.verified.clone())
    }

    /// Returns number and source of the declaration that the node `name` applies; `None` if it
    /// keeps what it has.
    pub fn number_of(&self, name: &str) -> Option<(u64, Origin)> {
        let trial = self.trial_of(name).map(|it| &it.revision);
        trial.or(self.verified.as_ref()).map(|it| (it.number, it.effective.origin))
    }

    /// Returns the trial of the node `name`; `None` without one.
    fn trial_of(&self, name: &str) -> Option<&NodeTrial> {
        self.trial.as_ref().filter(|it| it.nodes.contains(name) && !self.rejects(it))
    }

    /// Returns true if the node `name` removes everything that image-swap wrote: agents are
    /// removed, or the trial of its first declaration failed.
    pub fn restores(&self, name: &str) -> bool {
        let is_rejected = |it: &NodeTrial| it.nodes.contains(name) && self.rejects(it);
        self.restore || (self.verified.is_none() && self.trial.as_ref().is_some_and(is_rejected))
    }

    /// Returns true if `trial` has failed.
    fn rejects(&self, trial: &NodeTrial) -> bool {
        self.failed.as_ref().is_some_and(|it| it.number == trial.revision.number)
    }

    /// Returns the highest number of its declarations; 0 without any.
    pub fn last_number(&self) -> u64 {
        let verified = self.verified.as_ref().map(|it| it.number);
        let trial = self.trial.as_ref().map(|it| it.revision.number);
        let failed = self.failed.as_ref().map(|it| it.number);
        verified.into_iter().chain(trial).chain(failed).max().unwrap_or(0)
    }

    /// Returns the data of the Secret.
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::new();
        if let Some(verified) = &self.verified {
            VERIFIED.write(verified, &mut data);
        }
        if let Some(NodeTrial { revision, nodes }) = &self.trial {
            ON_TRIAL.write(revision, &mut data);
            data.insert(TRIAL_NODES, nodes.iter().map(|it| &**it).collect::<Vec<_>>().join(" "));
        }
        if let Some(FailedTrial { number, reason }) = &self.failed {
            data.insert(FAILED_REVISION, number.to_string());
            data.insert(FAILED_REASON, reason.clone());
        }
        if self.restore {
            data.insert(RESTORE, true.to_string());
        }
        data
    }

    /// Reads the Secret whose values `value` returns by key. Unknown and incomplete parts are
    /// absent.
    pub fn read<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Self {
        let nodes = || value(TRIAL_NODES).unwrap_or_default().split_whitespace().map(str::to_owned);
        let failed = || {
            Some(FailedTrial {
                number: value(FAILED_REVISION)?.parse().ok()?,
                reason: value(FAILED_REASON)?.to_owned(),
            })
        };
        Self {
            verified: VERIFIED.read(&value),
            trial: ON_TRIAL
                .read(&value)
                .map(|revision| NodeTrial { revision, nodes: nodes().collect() }),
            failed: failed(),
            restore: value(RESTORE) == Some("true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::effective::SecretData;

    fn revision(number: u64, domain: &str) -> NodeRevision {
        let data = [("DOMAIN", domain), ("PASSWORD", "s3cret"), ("OTHER", "x")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        let effective = Effective { origin: Origin::RegistryInfo, secret };
        NodeRevision { number, effective: effective.for_nodes(true), fallback: Fallback::Never }
    }

    fn whole() -> NodeDeclaration {
        let nodes = ["a".to_owned(), "b.example.org".to_owned()].into();
        NodeDeclaration {
            verified: Some(revision(3, "old.example.org")),
            trial: Some(NodeTrial { revision: revision(5, "new.example.org"), nodes }),
            failed: Some(FailedTrial { number: 4, reason: "a: refused".into() }),
            restore: true,
        }
    }

    #[test]
    fn every_key_is_kept() {
        let data = whole().data();
        let written = [
            ("failed-reason", "a: refused"),
            ("failed-revision", "4"),
            ("fallback", "never"),
            ("restore", "true"),
            ("revision", "3"),
            ("source", "registry-info"),
            ("trial-fallback", "never"),
            ("trial-nodes", "a b.example.org"),
            ("trial-revision", "5"),
            ("trial-source", "registry-info"),
        ];
        for (key, value) in written {
            assert_eq!(data.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(data.len(), written.len() + 2);
        assert!(data["declaration"].contains("old.example.org"));
        assert!(data["trial-declaration"].contains("new.example.org"));
        assert_eq!(NodeDeclaration::read(|key| data.get(key).map(String::as_str)), whole());
    }

    #[test]
    fn empty_secret_holds_nothing() {
        assert_eq!(NodeDeclaration::read(|_| None), NodeDeclaration::default());
        assert!(NodeDeclaration::default().data().is_empty());
    }

    // guarantee: 3c
    #[test]
    fn node_on_trial_has_another_declaration() {
        let whole = whole();
        let number = |node| whole.for_node(node).map(|it| it.number);
        assert_eq!((number("a"), number("c")), (Some(5), Some(3)));
        let wanted = Some((5, Origin::RegistryInfo));
        assert_eq!((whole.number_of("a"), number("c")), (wanted, Some(3)));
        let mut open = whole.clone();
        open.trial.as_mut().unwrap().revision.fallback = Fallback::Upstream;
        assert_eq!(open.for_node("a").map(|it| it.fallback), Some(Fallback::Never));
        assert_eq!(whole.last_number(), 5);
        assert_eq!(NodeDeclaration::default().for_node("a"), None);
    }

    #[test]
    fn node_whose_first_trial_failed_restores() {
        let mut declaration = NodeDeclaration { verified: None, restore: false, ..whole() };
        assert!(!declaration.restores("a"));
        declaration.failed = Some(FailedTrial { number: 5, reason: String::new() });
        assert_eq!(declaration.for_node("a"), None);
        assert!(declaration.restores("a") && !declaration.restores("c"));
        declaration.verified = whole().verified;
        assert!(!declaration.restores("a"));
        assert_eq!(declaration.for_node("a"), declaration.verified);
        declaration.restore = true;
        assert!(declaration.restores("c"));
    }

    // guarantee: 6c
    #[test]
    fn allowed_keys_reach_nodes() {
        let NodeRevision { effective, .. } = revision(1, "h.example.org");
        assert_eq!(effective.secret.data.keys().collect::<Vec<_>>(), ["DOMAIN", "PASSWORD"]);
        let withheld = effective.for_nodes(false);
        assert_eq!(withheld.secret.data.keys().collect::<Vec<_>>(), ["DOMAIN"]);
    }
}
