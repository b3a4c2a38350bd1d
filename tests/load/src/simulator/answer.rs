//! Answers of simulated clusters.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    SharedClusters,
    cluster::{LiveObject, SimulatedCluster},
    connection::{AnswerBody, WatchBody},
    counts::RecordedRequest,
    object::conflict_status,
};

/// Life of a watch whose request has none.
const WATCH: Duration = Duration::from_mins(30);
const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/image-swap/leases";
/// Groups with their versions.
const GROUPS: [(&str, &[&str]); 12] = [
    ("apiregistration.k8s.io", &["v1"]),
    ("apps", &["v1"]),
    ("authentication.k8s.io", &["v1"]),
    ("authorization.k8s.io", &["v1"]),
    ("autoscaling", &["v2", "v1"]),
    ("batch", &["v1"]),
    ("networking.k8s.io", &["v1"]),
    ("policy", &["v1"]),
    ("rbac.authorization.k8s.io", &["v1"]),
    ("admissionregistration.k8s.io", &["v1"]),
    ("apiextensions.k8s.io", &["v1"]),
    ("coordination.k8s.io", &["v1"]),
];

/// Status and body of an answer.
type Answer = (StatusCode, String);

/// Request, with its whole body.
struct ReadRequest {
    method: Method,
    path: String,
    query: String,
    accept: String,
    content_type: String,
    body: Bytes,
}

/// Answers a request to the cluster `index`.
pub(super) async fn answer(
    shared: &Arc<SharedClusters>,
    index: usize,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let cluster = &shared.clusters[index];
    let counters = &cluster.counters;
    let Some((user, request)) = read(request).await else {
        return response((StatusCode::BAD_REQUEST, failure(400, "BadRequest", "no body")));
    };
    counters.received.fetch_add(length(&request.body), Relaxed);
    if user != cluster.token && user != cluster.account_token {
        return response((StatusCode::UNAUTHORIZED, failure(401, "Unauthorized", "Unauthorized")));
    }
    let is_lease = request.path == LEASES;
    if is_lease && parameter(&request.query, "watch").is_some_and(|it| it == "true" || it == "1") {
        return watch(shared, index, &request);
    }
    let is_write = request.method != Method::GET;
    let counter = if is_write { &counters.writes } else { &counters.reads };
    counter.fetch_add(1, Relaxed);
    if !is_lease && let Some(record) = &mut cluster.state().record {
        record.push(request.record());
    }
    let answer = if is_write { write(shared, cluster, &request) } else { get(cluster, &request) };
    counters.sent.fetch_add(length(answer.1.as_bytes()), Relaxed);
    if request.method == Method::PATCH {
        let mut state = cluster.state();
        state.round.writes += 1;
        state.round.last = Some(Instant::now());
    }
    response(answer)
}

/// Returns the bearer token and the request; `None` if its body ends early.
async fn read(request: Request<Incoming>) -> Option<(String, ReadRequest)> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let user = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let (accept, content_type) = (header(ACCEPT).to_owned(), header(CONTENT_TYPE).to_owned());
    let body = body.collect().await.ok()?.to_bytes();
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default());
    let query = query.to_owned();
    Some((user, ReadRequest { method: head.method, path, query, accept, content_type, body }))
}

impl ReadRequest {
    fn record(&self) -> RecordedRequest {
        let query = if self.query.is_empty() { "" } else { "?" };
        RecordedRequest {
            method: self.method.to_string(),
            path: format!("{}{query}{}", self.path, self.query),
            accept: self.accept.clone(),
            content_type: self.content_type.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
        }
    }
}

fn response((status, body): Answer) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Answers a watch of the Lease.
fn watch(
    shared: &Arc<SharedClusters>,
    index: usize,
    request: &ReadRequest,
) -> Response<AnswerBody> {
    let number = |name| parameter(&request.query, name).and_then(|it| it.parse::<u64>().ok());
    let life = number("timeoutSeconds").map_or(WATCH, Duration::from_secs);
    let events = shared.clusters[index].watch(number("resourceVersion").unwrap_or_default());
    let body = WatchBody::new(shared, index, events, sleep(life));
    let mut response = Response::new(Either::Right(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Answers a read.
fn get(cluster: &SimulatedCluster, request: &ReadRequest) -> Answer {
    let path = request.path.as_str();
    let ok = |body: Value| (StatusCode::OK, body.to_string());
    match path {
        "/version" => ok(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitTreeState": "archive",
            "goVersion": "go1.26.8", "compiler": "gc", "platform": "linux/amd64",
        })),
        "/apis" => ok(groups()),
        KUBE_SYSTEM => ok(json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": "kube-system", "uid": cluster.uid, "resourceVersion": "4",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "kubernetes.io/metadata.name": "kube-system" },
            },
        })),
        LEASES => {
            let state = cluster.state();
            let mut items = Vec::new();
            if state.heartbeat.version > 0 {
                items.push(cluster.lease(&state.heartbeat));
            }
            ok(json!({
                "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
                "metadata": { "resourceVersion": state.version.to_string() },
                "items": items,
            }))
        }
        path => {
            let found = cluster.state().objects.get(path).cloned();
            found.map_or_else(
                || not_found(path),
                |object| (StatusCode::OK, shown(cluster, &object, request)),
            )
        }
    }
}

/// Answers a write.
fn write(shared: &SharedClusters, cluster: &SimulatedCluster, request: &ReadRequest) -> Answer {
    let path = request.path.as_str();
    if request.method == Method::POST {
        return token(cluster, path);
    }
    if request.method == Method::DELETE {
        return match cluster.state().objects.remove(path) {
            Some(object) => (StatusCode::OK, shown(cluster, &object, request)),
            None => not_found(path),
        };
    }
    let manager = parameter(&request.query, "fieldManager").unwrap_or("unknown");
    if !request.content_type.starts_with("application/apply-patch") {
        let merged = cluster.merge(path, manager, &request.body);
        let answer = merged.map(|object| (StatusCode::OK, shown(cluster, &object, request)));
        return answer.unwrap_or_else(|| not_found(path));
    }
    if let Some(namespace) = namespace_of(path)
        && !cluster.state().objects.contains_key(&namespace)
    {
        return not_found(&namespace);
    }
    let is_forced = parameter(&request.query, "force") == Some("true");
    match cluster.apply(&shared.cache, path, manager, &request.body, is_forced) {
        Ok((object, is_new)) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            (status, shown(cluster, &object, request))
        }
        Err(conflicts) => {
            let status = conflict_status(&conflicts, version_of(path));
            (StatusCode::CONFLICT, status.to_string())
        }
    }
}

/// Answers a request for a token of a service account.
fn token(cluster: &SimulatedCluster, path: &str) -> Answer {
    let account = path.strip_suffix("/token").unwrap_or(path);
    if !cluster.state().objects.contains_key(account) {
        return not_found(account);
    }
    let token = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "name": account.rsplit('/').next(), "creationTimestamp": null },
        "spec": { "expirationSeconds": 604_800 },
        "status": { "token": cluster.account_token, "expirationTimestamp": "2099-01-01T00:00:00Z" },
    });
    (StatusCode::CREATED, token.to_string())
}

/// Returns an object in the form that `request` accepts.
fn shown(cluster: &SimulatedCluster, object: &LiveObject, request: &ReadRequest) -> String {
    let LiveObject { content, number, version, .. } = object;
    let own = format!(
        r#","uid":"{}","resourceVersion":"{version}","creationTimestamp":"2026-01-01T00:00:00Z"}}"#,
        cluster.uid_of(*number),
    );
    let metadata = &content.metadata;
    if request.accept.contains("PartialObjectMetadata") {
        let kind = r#""kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1""#;
        return format!(r#"{{{kind},"metadata":{metadata}{own}}}"#);
    }
    let mut value = content.value();
    value["metadata"] = serde_json::from_str(&format!("{metadata}{own}")).unwrap_or_default();
    if value["kind"] == "CustomResourceDefinition" {
        value["status"]["conditions"] = json!([{ "type": "Established", "status": "True" }]);
    }
    value.to_string()
}

fn groups() -> Value {
    let groups = GROUPS.iter().map(|(name, versions)| {
        let version = |it: &&str| json!({ "groupVersion": format!("{name}/{it}"), "version": it });
        let versions: Vec<Value> = versions.iter().map(version).collect();
        json!({ "name": name, "versions": versions, "preferredVersion": versions[0] })
    });
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>() })
}

fn not_found(path: &str) -> Answer {
    let name = path.rsplit('/').next().unwrap_or_default();
    (StatusCode::NOT_FOUND, failure(404, "NotFound", &format!("{name:?} not found")))
}

fn failure(code: u16, reason: &str, message: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
    .to_string()
}

/// Returns the path of the namespace of the object at `path`; `None` for an object of the cluster.
fn namespace_of(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/namespaces/")?;
    let (namespace, _) = rest.split_once('/')?;
    Some(format!("/api/v1/namespaces/{namespace}"))
}

/// Returns the API version in a path.
fn version_of(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    let parts = if path.starts_with("api/") { 1 } else { 2 };
    let start = path.find('/').map_or(0, |at| at + 1);
    let rest = &path[start..];
    let end = rest.match_indices('/').nth(parts - 1).map_or(rest.len(), |(at, _)| at);
    &rest[..end]
}

/// Returns a parameter of a query.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut all = query.trim_start_matches('&').split('&').filter_map(|it| it.split_once('='));
    all.find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or_default()
}
