//! Objects and answers of a stand-in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ADMINISTRATOR, FakeRequest, fault::Fault};

const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/image-swap/leases";
/// Annotation of a heartbeat with its summary.
const SUMMARY: &str = "image-swap.io/summary";

/// Objects of a stand-in, and its behaviour.
pub(super) struct FakeStore {
    uid: String,
    version: u64,
    /// Objects by their paths.
    pub(super) objects: BTreeMap<String, Value>,
    /// Tokens that are accepted.
    pub(super) tokens: BTreeSet<String>,
    /// Path and fault; `None` without a fault.
    pub(super) fault: Option<(String, Fault)>,
    pub(super) requests: Vec<FakeRequest>,
    pub(super) sent: usize,
    pub(super) writes: usize,
    /// Number of the write without an answer, and true if it takes effect; `None` without one.
    pub(super) stop: Option<(usize, bool)>,
    pub(super) is_stopped: bool,
    pub(super) contest: Option<ContestedPath>,
}

/// Object that other managers change: an `Update` manager before the next apply, and an `Apply`
/// manager as soon as that apply is refused.
pub(super) struct ContestedPath {
    pub(super) path: String,
    /// True after the change by the `Apply` manager.
    pub(super) is_taken: bool,
}

/// Answer of a stand-in.
pub(super) enum FakeAnswer {
    Json(u16, Value),
    /// The heartbeat after each change.
    Watch,
    /// No response.
    Never,
}

impl FakeStore {
    pub(super) fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            version: 1,
            objects: BTreeMap::new(),
            tokens: BTreeSet::from([ADMINISTRATOR.to_owned()]),
            fault: None,
            requests: Vec::new(),
            sent: 0,
            writes: 0,
            stop: None,
            is_stopped: false,
            contest: None,
        }
    }

    pub(super) fn replace(&mut self, uid: &str) {
        uid.clone_into(&mut self.uid);
        self.objects.clear();
    }

    pub(super) fn plain(&self) -> Vec<(String, Value)> {
        let plain = |(path, object): (&String, &Value)| {
            let mut object = object.clone();
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("uid");
            metadata.remove("resourceVersion");
            (path.clone(), object)
        };
        self.objects.iter().filter(|(path, _)| !path.starts_with(LEASES)).map(plain).collect()
    }

    pub(super) fn beat(&mut self, summary: &Value) {
        let path = format!("{LEASES}/image-swap-heartbeat");
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "image-swap-heartbeat", "namespace": "image-swap",
                "annotations": { SUMMARY: summary.to_string() },
            },
        });
        self.objects.remove(&path);
        self.put(&path, lease);
    }

    /// Returns the heartbeat with its version; `None` without one.
    pub(super) fn heartbeat(&self) -> Option<(String, Value)> {
        let lease = self.objects.get(&format!("{LEASES}/image-swap-heartbeat"))?;
        Some((lease["metadata"]["resourceVersion"].as_str()?.to_owned(), lease.clone()))
    }

    /// Returns true if no fault concerns a request, and its token is accepted.
    pub(super) fn allows(&self, request: &FakeRequest) -> bool {
        let is_faulty = self.fault.as_ref().is_some_and(|it| request.path.starts_with(&it.0));
        !is_faulty && self.tokens.contains(&request.token)
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &FakeRequest, query: &str, body: &[u8]) -> FakeAnswer {
        self.requests.push(request.clone());
        let mut is_stored = true;
        if request.method != "GET" {
            self.writes += 1;
            if let Some((number, takes_effect)) = self.stop
                && self.writes == number
            {
                self.is_stopped = true;
                is_stored = takes_effect;
            }
        }
        let was_stopped = self.is_stopped;
        if was_stopped && !(is_stored && self.stop.is_some_and(|it| it.0 == self.writes)) {
            return FakeAnswer::Never;
        }
        let answer = self.respond(request, query, body);
        if was_stopped { FakeAnswer::Never } else { answer }
    }

    fn respond(&mut self, request: &FakeRequest, query: &str, body: &[u8]) -> FakeAnswer {
        let FakeRequest { method, path, token } = request;
        let is_watch = query.contains("watch=true");
        if !self.tokens.contains(token) {
            return status(401);
        }
        let found = match (&**method, &**path) {
            ("GET", KUBE_SYSTEM) => Some(json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": "kube-system", "uid": self.uid, "resourceVersion": "1" },
            })),
            ("GET", "/apis") => Some(json!({ "kind": "APIGroupList", "groups": [] })),
            ("GET", LEASES) if is_watch => return FakeAnswer::Watch,
            ("GET", LEASES) => {
                let items: Vec<Value> = self.heartbeat().into_iter().map(|it| it.1).collect();
                let version = self.version.to_string();
                Some(json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                    "metadata": { "resourceVersion": version }, "items": items,
                }))
            }
            ("GET", path) => self.objects.get(path).cloned(),
            ("PATCH", path) => {
                let object = serde_json::from_slice(body).unwrap();
                if let Some(refused) = self.refusal(path, &object, query.contains("force=true")) {
                    return refused;
                }
                Some(self.put(path, object))
            }
            ("POST", path) if path.ends_with("/token") => {
                let token = format!("issued-{}-{}", self.uid, self.requests.len());
                self.tokens.insert(token.clone());
                let expires = "2099-01-01T00:00:00Z";
                Some(json!({ "status": { "token": token, "expirationTimestamp": expires } }))
            }
            ("DELETE", path) => self.objects.remove(path),
            other => panic!("{other:?}"),
        };
        found.map_or_else(|| status(404), |found| FakeAnswer::Json(200, found))
    }

    /// Returns the answer to an apply that is refused; `None` for another one.
    fn refusal(&mut self, path: &str, object: &Value, is_forced: bool) -> Option<FakeAnswer> {
        let stored = self.objects.get_mut(path)?;
        let expected = &object["metadata"]["resourceVersion"];
        if expected.is_string() && *expected != stored["metadata"]["resourceVersion"] {
            return Some(status(409));
        }
        let contest = self.contest.as_mut().filter(|it| it.path == path && !is_forced)?;
        let manager = if contest.is_taken { r#""other""# } else { r#""kubectl" using v1"# };
        if !std::mem::replace(&mut contest.is_taken, true) {
            self.version += 1;
            stored["metadata"]["resourceVersion"] = self.version.to_string().into();
            stored["metadata"]["labels"]["owner"] = "other".into();
        }
        let cause = json!({
            "reason": "FieldManagerConflict", "field": ".metadata.labels",
            "message": format!("conflict with {manager}"),
        });
        Some(FakeAnswer::Json(409, json!({ "kind": "Status", "details": { "causes": [cause] } })))
    }

    /// Stores `object`, with a new version if it differs.
    pub(super) fn put(&mut self, path: &str, mut object: Value) -> Value {
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let before = self.objects.get(path);
        let mut version = before.map(|it| it["metadata"]["resourceVersion"].clone());
        let mut plain = before.cloned().unwrap_or_default();
        if let Some(metadata) = plain["metadata"].as_object_mut() {
            metadata.remove("uid");
            metadata.remove("resourceVersion");
        }
        if object["kind"] == "CustomResourceDefinition" {
            object["status"] =
                json!({ "conditions": [{ "type": "Established", "status": "True" }] });
        }
        if plain != object {
            self.version += 1;
            version = Some(self.version.to_string().into());
        }
        object["metadata"]["resourceVersion"] = version.unwrap_or_default();
        object["metadata"]["uid"] = path.into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

fn status(code: u16) -> FakeAnswer {
    FakeAnswer::Json(code, json!({ "kind": "Status", "code": code, "message": super::SECRET }))
}
