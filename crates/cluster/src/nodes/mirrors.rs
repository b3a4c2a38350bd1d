//! The `NodeMirror` of every Node, and the label by which a `DaemonSet` selects it. Carries out
//! writes to both.

use image_swap_core::{
    control::{effective::Origin, node_runtime::NodeSupport, rollout::NodeReport},
    labels::NODE_RUNTIME,
    status::{
        NodeDeclaration, NodeMirrorSpec, NodeTrial,
        node_mirror::{FALSE, GROUP, KIND, PLURAL, TRUE, UNKNOWN, VERIFIED, VERSION, reason},
    },
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    objects::NodeObject,
    observed::NodeTables,
    view::{Judgement, NodeView},
};
use crate::{
    api,
    clock::{now, written},
    error::{Error, code},
    release::Release,
    secret,
};

/// Field manager of the spec and of the condition Verified.
const MANAGER: &str = "image-swap-controller";
/// Field manager of the condition Applied of nodes without a reporting agent.
const AGENTLESS: &str = "image-swap-controller-agentless";

/// A change of a Node or of its `NodeMirror`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeWrite {
    /// Name of both.
    pub(super) name: String,
    pub(super) kind: NodeWriteKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeWriteKind {
    /// Sets the label of the Node, or removes it.
    Label(Option<&'static str>),
    /// Sets all taints of the Node, unless it has another version than `version`.
    Taints { version: String, taints: Vec<Value> },
    /// Creates the `NodeMirror`, or changes its spec.
    Mirror(Value),
    /// Deletes the `NodeMirror`, whose Node is gone or was replaced.
    Delete,
    /// Applies conditions as a field manager.
    Condition(&'static str, Value),
}

/// The outcome of a [`NodeWrite`].
pub(super) enum NodeWritten {
    Node(NodeObject),
    Mirror(NodeObject),
    Gone,
}

/// Returns the resource `NodeMirror`.
pub(super) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

/// Returns the writes that are due. `is_late` returns true for a node whose agent has not reported
/// within the deadline; `proof` is the reason of Verified, `None` if another controller knew it.
pub(super) fn plan(
    release: &Release,
    tables: &NodeTables,
    views: &[NodeView<'_>],
    declaration: &NodeDeclaration,
    proof: Option<&'static str>,
    is_late: impl Fn(&str) -> bool,
) -> Vec<NodeWrite> {
    let mut writes = Vec::new();
    let mut add = |name: &str, kind| writes.push(NodeWrite { name: name.to_owned(), kind });
    let is_owned = |(name, owner): (&str, &str)| {
        let at = views.binary_search_by(|view| view.name.cmp(name));
        at.is_ok_and(|at| views.get(at).is_some_and(|view| view.row.uid == owner))
    };
    for (name, mirror) in tables.mirrors.iter() {
        if !is_owned((name, &mirror.owner)) {
            add(name, NodeWriteKind::Delete);
        }
    }
    for view in views {
        let name = view.name;
        let runtime = match &view.support {
            NodeSupport::Agent(runtime) => Some(runtime.as_str()),
            _ => None,
        };
        if view.row.label.as_deref() != runtime {
            add(name, NodeWriteKind::Label(runtime));
        }
        let spec = NodeMirrorSpec {
            node_uid: view.row.uid.clone(),
            container_runtime_version: view.runtime_version().to_owned(),
        };
        match view.mirror {
            Some(mirror) if mirror.spec == spec => {}
            // The one of a former Node is deleted first.
            None if tables.mirrors.get(name).is_some() => continue,
            _ => {
                let mirror = mirror_object(release, name, &spec);
                add(name, NodeWriteKind::Mirror(mirror));
                continue;
            }
        }
        for (manager, judgement) in [
            (AGENTLESS, view.agentless(is_late(name))),
            (MANAGER, verified(view, declaration, proof)),
        ] {
            if let Some(object) = judgement.and_then(|it| condition_object(view, &it)) {
                add(name, NodeWriteKind::Condition(manager, object));
            }
        }
    }
    // A Node without a host loses the label of a former version.
    for (name, row) in tables.nodes.iter() {
        let is_seen = views.binary_search_by(|view| view.name.cmp(name)).is_ok();
        if !is_seen && row.label.is_some() {
            add(name, NodeWriteKind::Label(None));
        }
    }
    writes
}

/// Returns the condition Verified of a node; `None` if it stays as it is.
fn verified(
    view: &NodeView<'_>,
    declaration: &NodeDeclaration,
    proof: Option<&'static str>,
) -> Option<Judgement> {
    let judge = |status, reason, message: &str| {
        Some(Judgement { kind: VERIFIED, status, reason, message: message.to_owned() })
    };
    let NodeDeclaration { verified, trial, failed, .. } = declaration;
    let is_tried = |trial: &NodeTrial| {
        let number = trial.revision.number;
        let has_failed = failed.as_ref().is_some_and(|it| it.number == number);
        trial.nodes.contains(view.name) && !has_failed
    };
    if trial.as_ref().is_some_and(is_tried) {
        return judge(UNKNOWN, reason::ON_TRIAL, "this node tries a declaration before the others");
    }
    match (verified, failed) {
        (Some(verified), _) => {
            let is_applied = view.report() == NodeReport::Applied(verified.number);
            if !is_applied || verified.effective.origin == Origin::None {
                return None;
            }
            let before = view.mirror.and_then(|it| it.status.condition(VERIFIED));
            if proof.is_none() && before.is_some_and(|it| it.status == TRUE) {
                return None;
            }
            match proof {
                Some(reason::NO_TRIAL_IMAGE) => judge(
                    TRUE,
                    reason::NO_TRIAL_IMAGE,
                    "no image is known that the mirrors serve; the registry answers",
                ),
                _ => judge(
                    TRUE,
                    reason::PULLED,
                    "a node of each runtime has pulled through the mirrors",
                ),
            }
        }
        (None, Some(failed)) if view.is_reporting() => {
            judge(FALSE, reason::TRIAL_FAILED, &failed.reason)
        }
        (None, _) => None,
    }
}

fn mirror_object(release: &Release, name: &str, spec: &NodeMirrorSpec) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": {
            "name": name,
            "labels": secret::labels(release),
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": name, "uid": spec.node_uid },
            ],
        },
        "spec": spec,
    })
}

/// Returns the object with the condition; `None` if the `NodeMirror` has it already.
fn condition_object(view: &NodeView<'_>, wanted: &Judgement) -> Option<Value> {
    let Judgement { kind, status, reason, message } = wanted;
    let before = view.mirror.and_then(|it| it.status.condition(kind));
    let is_same = before
        .is_some_and(|it| it.status == *status && it.reason == *reason && it.message == *message);
    if is_same {
        return None;
    }
    let since = before.filter(|it| it.status == *status && !it.last_transition_time.is_empty());
    let since = since.map_or_else(|| written(now()), |it| it.last_transition_time.clone());
    Some(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": { "name": view.name },
        "status": { "conditions": [{
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since,
        }] },
    }))
}

/// Writer of Nodes and of their `NodeMirror`s.
pub(super) struct NodeWriter {
    nodes: Api<NodeObject>,
    mirrors: Api<NodeObject>,
}

impl NodeWriter {
    pub(super) fn new(client: &Client) -> Self {
        let mirrors = Api::all_with(client.clone(), &resource());
        Self { nodes: api::all::<Node, _>(client), mirrors }
    }

    /// Sends `writes`, one after the other. Returns for each the name of the node, and the
    /// object after the write.
    pub(super) async fn execute(
        &self,
        writes: Vec<NodeWrite>,
    ) -> Vec<(String, Result<NodeWritten, Error>)> {
        let mut outcomes = Vec::new();
        for NodeWrite { name, kind } in writes {
            let outcome = match self.change(&name, kind).await {
                // The Node was deleted at the same time.
                Err(error) if code(&error) == Some(404) => Ok(NodeWritten::Gone),
                outcome => outcome,
            };
            let doing = format!("write the NodeMirror, the label or the taints of the node {name}");
            outcomes.push((name, outcome.map_err(Error::api(doing))));
        }
        outcomes
    }

    async fn change(&self, name: &str, kind: NodeWriteKind) -> Result<NodeWritten, kube::Error> {
        match kind {
            NodeWriteKind::Label(value) => {
                let patch = json!({ "metadata": { "labels": { NODE_RUNTIME: value } } });
                self.merge(name, &patch).await
            }
            NodeWriteKind::Taints { version, taints } => {
                let metadata = json!({ "resourceVersion": version });
                let patch = json!({ "metadata": metadata, "spec": { "taints": taints } });
                self.merge(name, &patch).await
            }
            NodeWriteKind::Mirror(object) => {
                let params = PatchParams::apply(MANAGER).force();
                let mirror = self.mirrors.patch(name, &params, &Patch::Apply(&object)).await;
                mirror.map(NodeWritten::Mirror)
            }
            NodeWriteKind::Condition(manager, object) => {
                let params = PatchParams::apply(manager).force();
                let mirror = self.mirrors.patch_status(name, &params, &Patch::Apply(&object)).await;
                mirror.map(NodeWritten::Mirror)
            }
            NodeWriteKind::Delete => {
                self.mirrors.delete(name, &DeleteParams::default()).await.map(|_| NodeWritten::Gone)
            }
        }
    }

    /// Applies a merge patch to a Node.
    async fn merge(&self, name: &str, patch: &Value) -> Result<NodeWritten, kube::Error> {
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let node = self.nodes.patch(name, &params, &Patch::Merge(patch)).await;
        node.map(NodeWritten::Node)
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::{
        control::{effective::Effective, node_runtime::NodeFacts},
        mirror::Fallback,
        status::{NodeMirrorStatus, NodeRevision, node_mirror::APPLIED},
    };

    use super::*;
    use crate::nodes::{
        fixture,
        observed::{AgentRow, MirrorRow, NodeRow},
        view::views,
    };

    fn release() -> Release {
        Release { namespace: "tools".into(), name: "image-swap".into() }
    }

    fn mk_node(uid: &str, label: Option<&str>, os: &str) -> NodeRow {
        let facts = NodeFacts {
            os: os.into(),
            container_runtime_version: "containerd://2.4.1".into(),
            kubelet_version: "v1.34.1".into(),
            ..NodeFacts::default()
        };
        let (uid, label) = (uid.to_owned(), label.map(str::to_owned));
        NodeRow { uid, label, boot_id: "b".into(), facts, ..NodeRow::default() }
    }

    fn mk_mirror(owner: &str) -> MirrorRow {
        let spec = NodeMirrorSpec {
            node_uid: owner.into(),
            container_runtime_version: "containerd://2.4.1".into(),
        };
        MirrorRow { owner: owner.into(), spec, status: NodeMirrorStatus::default() }
    }

    fn plan_of(
        tables: &NodeTables,
        declaration: &NodeDeclaration,
        is_late: bool,
    ) -> Vec<(String, NodeWriteKind)> {
        let proof = Some(reason::PULLED);
        let writes = plan(&release(), tables, &views(tables), declaration, proof, |_| is_late);
        writes.into_iter().map(|it| (it.name, it.kind)).collect()
    }

    #[test]
    fn each_node_gets_an_owned_mirror_and_label() {
        let mut tables = NodeTables::default();
        tables.nodes.set("a", mk_node("1", None, "linux"));
        tables.nodes.set("w", mk_node("2", Some("containerd"), "windows"));
        let writes = plan_of(&tables, &NodeDeclaration::default(), false);
        let label = NodeWriteKind::Label(Some("containerd"));
        let labels = json!({
            "app.kubernetes.io/name": "image-swap", "app.kubernetes.io/managed-by": "image-swap",
            "image-swap.io/release": "image-swap",
        });
        let mirror = json!({
            "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror",
            "metadata": {
                "name": "a", "labels": labels,
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1" }],
            },
            "spec": { "nodeUid": "1", "containerRuntimeVersion": "containerd://2.4.1" },
        });
        let expected = [
            ("a".to_owned(), label),
            ("a".to_owned(), NodeWriteKind::Mirror(mirror)),
            ("w".to_owned(), NodeWriteKind::Label(None)),
        ];
        assert_eq!(writes, expected);
        tables.nodes.set("a", mk_node("1", Some("containerd"), "linux"));
        tables.nodes.set("w", mk_node("2", None, "windows"));
        tables.mirrors.set("a", mk_mirror("1"));
        assert_eq!(plan_of(&tables, &NodeDeclaration::default(), false), []);
    }

    #[test]
    fn mirror_of_a_former_node_is_deleted_first() {
        let mut tables = NodeTables::default();
        tables.nodes.set("a", mk_node("2", Some("containerd"), "linux"));
        tables.mirrors.set("a", mk_mirror("1"));
        tables.mirrors.set("gone", mk_mirror("3"));
        let expected = ["a", "gone"].map(|name| (name.to_owned(), NodeWriteKind::Delete));
        assert_eq!(plan_of(&tables, &NodeDeclaration::default(), true), expected);
        tables.mirrors.remove("a");
        let writes = plan_of(&tables, &NodeDeclaration::default(), true);
        assert!(matches!(&writes[1], (name, NodeWriteKind::Mirror(_)) if name == "a"));
    }

    #[test]
    fn silent_node_is_judged_after_the_deadline() {
        let mut tables = NodeTables::default();
        tables.nodes.set("a", mk_node("1", Some("containerd"), "linux"));
        tables.mirrors.set("a", mk_mirror("1"));
        tables.agents.set("agent-1", AgentRow { node: "a".into(), is_ready: true });
        let empty = NodeDeclaration::default();
        assert_eq!(plan_of(&tables, &empty, false), []);
        let [(_, NodeWriteKind::Condition(AGENTLESS, object))] =
            &plan_of(&tables, &empty, true)[..]
        else {
            panic!("expected a condition")
        };
        let condition = &object["status"]["conditions"][0];
        assert_eq!(
            [&condition["type"], &condition["status"], &condition["reason"]],
            [APPLIED, UNKNOWN, reason::AGENT_NOT_RUNNING]
        );
        assert!(condition["lastTransitionTime"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn verified_is_true_where_declaration_is_applied() {
        let mut tables = NodeTables::default();
        tables.nodes.set("a", mk_node("1", Some("containerd"), "linux"));
        tables.mirrors.set("a", fixture::mirror("1", (TRUE, reason::IN_PLACE), 3));
        tables.agents.set("agent-1", AgentRow { node: "a".into(), is_ready: true });
        let revision = |number| {
            let effective = Effective { origin: Origin::Chart, ..Effective::none() };
            NodeRevision { number, effective, fallback: Fallback::Upstream }
        };
        let mut declaration =
            NodeDeclaration { verified: Some(revision(3)), ..NodeDeclaration::default() };
        let judged = |declaration: &NodeDeclaration| {
            let views = views(&tables);
            let judged = verified(&views[0], declaration, Some(reason::PULLED));
            judged.map(|it| (it.status, it.reason))
        };
        assert_eq!(judged(&declaration), Some((TRUE, reason::PULLED)));
        let nodes = ["a".to_owned()].into();
        declaration.trial = Some(NodeTrial { revision: revision(4), nodes });
        assert_eq!(judged(&declaration), Some((UNKNOWN, reason::ON_TRIAL)));
        declaration.trial = None;
        declaration.verified = Some(revision(4));
        assert_eq!(judged(&declaration), None);
    }
}
