//! A client of a workload cluster with a broken or hostile API server.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use futures_util::future::join_all;
use image_swap_cluster::remote::{RemoteClient, client::METADATA};
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::BundleObject,
        drift::RepairLog,
        kubeconfig::{RemoteAccess, RemoteCredential},
    },
};
use image_swap_fleet::{
    STALE_AFTER, follow_remote,
    remote::{FleetToken, RemoteCluster, RemoteError, RemoteLimits, TokenError},
};
use image_swap_load::simulator::{Availability, SimulatedClusters};
use image_swap_testbed::RunDir;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fake::{ADMINISTRATOR, FakeServer, Fault, Http2Fault, Http2Server, SECRET, uid};

const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
const DEADLINE: Duration = Duration::from_mins(2);
const NOW: UnixTime = 1_900_000_000;
const LIMITS: RemoteLimits =
    RemoteLimits { connect: DEADLINE, request: DEADLINE, idle: DEADLINE, response: 256 << 10 };
/// Limits for a server that keeps its clients waiting.
const SHORT: RemoteLimits = RemoteLimits {
    connect: Duration::from_millis(500),
    request: Duration::from_millis(700),
    idle: Duration::from_millis(700),
    response: LIMITS.response,
};
/// Bytes that a server can send before the client closes the connection: the limit of a response,
/// and the buffers of both sockets.
const SENT_MAX: usize = 12 << 20;

fn access(server: &FakeServer, token: &str) -> RemoteAccess {
    RemoteAccess {
        server: server.url.clone(),
        tls_server_name: None,
        authority: Some(server.authority.clone().into_bytes()),
        credential: RemoteCredential::Token(token.to_owned()),
    }
}

fn connect(server: &FakeServer) -> RemoteCluster {
    RemoteCluster::connect(&access(server, ADMINISTRATOR), &LIMITS).unwrap()
}

/// Returns the error of a request to `server` with `limits`. The request must end in time, and the
/// error must quote nothing.
async fn error(server: &FakeServer, fault: &Fault, limits: &RemoteLimits) -> RemoteError {
    server.misbehave(Some(("/", fault.clone())));
    let cluster = RemoteCluster::connect(&access(server, ADMINISTRATOR), limits).unwrap();
    let found = timeout(DEADLINE, cluster.identity()).await;
    let error = found.unwrap_or_else(|_| panic!("{fault:?}: no end")).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(ADMINISTRATOR), "{fault:?}: {shown}");
    error
}

// guarantee: 6b
#[tokio::test]
async fn broken_server_causes_an_error_without_quotes() {
    let server = FakeServer::start("1").await;
    assert_eq!(connect(&server).identity().await, Ok(uid("1")));
    let refused = |code: u16| Fault::Status(code, String::new());
    let pause = Fault::Status(429, "Retry-After: 100000\r\n".to_owned());
    for (fault, expected) in [
        (Fault::Silent, RemoteError::TimedOut),
        (Fault::SilentBody, RemoteError::TimedOut),
        (Fault::Reset, RemoteError::Unreachable),
        (Fault::Cut, RemoteError::Unreachable),
        (Fault::Garbage, RemoteError::BadResponse),
        (Fault::NoHttp, RemoteError::BadResponse),
        (Fault::Endless, RemoteError::TooLarge),
        (Fault::EndlessHeaders, RemoteError::BadResponse),
        (Fault::Large, RemoteError::TooLarge),
        (pause, RemoteError::Refused(429)),
        (refused(500), RemoteError::Refused(500)),
        (refused(401), RemoteError::Unauthorized),
        (refused(403), RemoteError::Refused(403)),
        (refused(409), RemoteError::Refused(409)),
    ] {
        let before = server.sent();
        let limits = if expected == RemoteError::TimedOut { &SHORT } else { &LIMITS };
        assert_eq!(error(&server, &fault, limits).await, expected, "{fault:?}");
        let sent = server.sent() - before;
        assert!(sent < SENT_MAX, "{fault:?}: {sent} bytes");
    }
    // A server that accepts connections, and does not begin TLS.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let silent = RemoteAccess { server: url, ..access(&server, ADMINISTRATOR) };
    let silent = RemoteCluster::connect(&silent, &SHORT).unwrap();
    let found = timeout(DEADLINE, silent.identity()).await.unwrap();
    assert!(matches!(found, Err(RemoteError::TimedOut | RemoteError::Unreachable)), "{found:?}");
    // A server of another authority gets no request, and neither does the target of a redirect.
    let other = FakeServer::start("2").await;
    let wrong = RemoteAccess { server: other.url.clone(), ..access(&server, ADMINISTRATOR) };
    let found = RemoteCluster::connect(&wrong, &LIMITS).unwrap().identity().await;
    assert_eq!((found, other.requests().len()), (Err(RemoteError::Untrusted), 0));
    let found = error(&server, &Fault::redirect(&other.url), &LIMITS).await;
    assert_eq!((found, other.requests().len()), (RemoteError::Refused(307), 0));
}

#[tokio::test]
async fn hostile_http2_server_is_bounded() {
    use Http2Fault::{Continuations, GoAway, Interim, Malformed, Pings, Push, Reset, Settings};
    use RemoteError::{BadResponse, TimedOut, Unreachable};

    for (fault, expected) in [
        // The client ends the request or the connection, depending on which limit is met first.
        (Pings, &[TimedOut, Unreachable][..]),
        (Settings, &[TimedOut, Unreachable]),
        (Interim, &[TimedOut, Unreachable]),
        // The server violates the protocol.
        (Continuations, &[BadResponse]),
        (Push, &[BadResponse]),
        (Malformed, &[BadResponse]),
        // The server ends the connection or the request, without an error or with one.
        (GoAway(0), &[Unreachable]),
        (GoAway(11), &[Unreachable]),
        (Reset(2), &[Unreachable]),
        (Reset(7), &[Unreachable]),
    ] {
        let server = Http2Server::start(fault).await;
        let cluster = RemoteCluster::connect(&server.access, &SHORT).unwrap();
        let found = timeout(DEADLINE, cluster.identity()).await;
        let found = found.unwrap_or_else(|_| panic!("{fault:?}: no end"));
        let is_expected = found.as_ref().is_err_and(|error| expected.contains(error));
        assert!(is_expected, "{fault:?}: {found:?}");
        assert!(server.sent() < SENT_MAX, "{fault:?}: {} bytes", server.sent());
    }
}

#[tokio::test]
async fn hostile_heartbeat_is_bounded() {
    let server = FakeServer::start("1").await;
    let path = "/apis/coordination.k8s.io";
    for fault in [Fault::Endless, Fault::Garbage, Fault::Large, Fault::NoHttp] {
        server.misbehave(Some((path, fault.clone())));
        let before = (server.sent(), server.requests().len());
        let cluster = connect(&server);
        let (state, task) =
            follow_remote(&cluster, "image-swap", "image-swap-heartbeat", STALE_AFTER);
        let repeated = async {
            while server.requests().len() < before.1 + 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, repeated).await.unwrap_or_else(|_| panic!("{fault:?}: no repetition"));
        assert!(server.sent() - before.0 < 3 * SENT_MAX, "{fault:?}: {}", server.sent());
        assert!(state.borrow().received.is_none(), "{fault:?}");
        task.abort();
    }
}

/// Reads the identity of the cluster behind `client`.
async fn read_identity(client: &RemoteClient) {
    let found = client.read::<Value>(KUBE_SYSTEM, METADATA).await.unwrap();
    assert!(found.is_some());
}

#[tokio::test]
async fn requests_over_http2_share_a_connection() {
    let directory = RunDir::new("connections").unwrap();
    let clusters = SimulatedClusters::start(directory.path(), 1).await.unwrap();
    let access = RemoteAccess::parse(clusters.kubeconfig(0).as_bytes()).unwrap();
    let client = RemoteClient::connect(&access, &LIMITS).unwrap();
    join_all((0..8).map(|_| read_identity(&client))).await;
    assert_eq!((client.connections(), clusters.counts(0).open_connections), (1, 1));
    clusters.set_availability(0, Availability::Closed);
    while clusters.counts(0).open_connections > 0 {
        tokio::task::yield_now().await;
    }
    clusters.set_availability(0, Availability::Online);
    // The client may not have noticed the end of the connection.
    join_all((0..8).map(|_| read_identity(&client))).await;
    assert_eq!((client.connections(), clusters.counts(0).open_connections), (2, 1));
}

#[tokio::test]
async fn requests_over_http1_reuse_a_connection() {
    let server = FakeServer::start("1").await;
    let client = RemoteClient::connect(&access(&server, ADMINISTRATOR), &LIMITS).unwrap();
    for _ in 0..3 {
        read_identity(&client).await;
        // The connection is kept by a task of its own.
        tokio::task::yield_now().await;
    }
    assert_eq!(client.connections(), 1);
    join_all((0..3).map(|_| read_identity(&client))).await;
    assert_eq!(client.connections(), 3);
}

/// Returns a value of this process's memory in bytes, by its name in the kernel.
fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Returns the bytes that this process needs at most while `work` runs.
async fn peak(work: impl Future<Output = ()>) -> usize {
    // Resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    work.await;
    memory("VmHWM") - before
}

#[tokio::test]
async fn hostile_metadata_needs_little_memory() {
    const MOST: usize = 48 << 20;

    let server = FakeServer::start("1").await;
    let limits = RemoteLimits { request: DEADLINE, ..RemoteLimits::default() };
    let connect = || RemoteCluster::connect(&access(&server, ADMINISTRATOR), &limits).unwrap();
    let path = "/apis/coordination.k8s.io";
    for fault in [Fault::ManyEntries, Fault::LongVersion] {
        server.misbehave(Some((path, fault.clone())));
        let before = server.requests().len();
        let watched = async {
            let (state, task) =
                follow_remote(&connect(), "image-swap", "image-swap-heartbeat", STALE_AFTER);
            // Two lists, with a watch between them.
            while server.requests().len() < before + 3 {
                tokio::task::yield_now().await;
            }
            assert!(state.borrow().received.is_none(), "{fault:?}");
            task.abort();
        };
        let needed = peak(async { timeout(DEADLINE, watched).await.unwrap() }).await;
        assert!(needed < MOST, "{fault:?}: {needed} bytes for a heartbeat");
    }
    // Several clusters keep the fleet controller waiting at the same time.
    server.misbehave(Some(("/", Fault::ManyEntries)));
    let objects = [BundleObject::namespace("image-swap")];
    let needed = peak(async {
        let applied = (0..8).map(|_| async {
            let found = connect().apply(&objects, &mut RepairLog::default(), NOW).await.unwrap();
            assert!(found.is_complete(), "{found:?}");
        });
        join_all(applied).await;
    })
    .await;
    assert!(needed < MOST, "{needed} bytes for objects");
    server.misbehave(Some(("/", Fault::LongVersion)));
    let found = connect().apply(&objects, &mut RepairLog::default(), NOW).await;
    assert_eq!(found, Err(RemoteError::BadResponse));
}

#[tokio::test]
async fn refused_objects_quote_nothing() {
    let server = FakeServer::start("1").await;
    let objects = [BundleObject::namespace("image-swap")];
    let path = "/api/v1/namespaces/image-swap";
    // A conflict names a field of the applied object, and a manager with a plain name.
    let write = format!("PATCH {path}");
    server.misbehave(Some((&write, Fault::Status(409, String::new()))));
    let mut log = RepairLog::default();
    let found = connect(&server).apply(&objects, &mut log, NOW).await.unwrap();
    let shown = format!("{found:?}");
    assert!(!found.is_complete() && !shown.contains(SECRET), "{shown}");
    let [conflict] = &*found.conflicts else { panic!("{shown}") };
    assert_eq!(conflict.fields[0].field, ".metadata");
    assert_eq!(conflict.fields[0].manager, "another manager");
    // A pause ends the requests to the cluster.
    server.misbehave(Some((path, Fault::Status(429, "Retry-After: 100000\r\n".to_owned()))));
    let found = connect(&server).apply(&objects, &mut log, NOW).await;
    assert_eq!(found, Err(RemoteError::Refused(429)));
    assert!(RemoteError::Refused(429).is_temporary());
}

#[tokio::test]
async fn apply_manager_between_two_requests_is_a_conflict() {
    const PATH: &str = "/api/v1/namespaces/image-swap";

    let server = FakeServer::start("1").await;
    let (cluster, objects) = (connect(&server), [BundleObject::namespace("image-swap")]);
    let mut log = RepairLog::default();
    assert!(cluster.apply(&objects, &mut log, NOW).await.unwrap().is_complete());
    server.contest(PATH);
    let found = cluster.apply(&objects, &mut log, NOW).await.unwrap();
    assert_eq!((found.conflicts.len(), found.repaired.len()), (1, 0), "{found:?}");
    assert_eq!(server.get(PATH).unwrap()["metadata"]["labels"]["owner"], "other");
}

#[tokio::test]
async fn foreign_namespace_gets_no_token() {
    const PATH: &str = "/api/v1/namespaces/image-swap";

    let server = FakeServer::start("1").await;
    let annotations = json!({ "meta.helm.sh/release-name": "other" });
    let namespace = json!({ "metadata": { "name": "image-swap", "annotations": annotations } });
    server.put(PATH, namespace);
    let administrator = access(&server, ADMINISTRATOR);
    let created = FleetToken::create(&administrator, &LIMITS, "image-swap", NOW).await;
    let Err(TokenError::Contested(report)) = created else { panic!("{created:?}") };
    let conflicts: Vec<&str> = report.conflicts.iter().map(|it| &*it.object).collect();
    assert_eq!(conflicts, ["Namespace image-swap"]);
    assert!(server.requests().iter().all(|it| !it.path.ends_with("/token")));
}

#[tokio::test]
async fn token_is_renewed_by_itself_then_by_the_administrator() {
    let server = FakeServer::start("1").await;
    let administrator = access(&server, ADMINISTRATOR);
    let create = FleetToken::create(&administrator, &LIMITS, "image-swap", NOW);
    let first = create.await.unwrap();
    assert!(first.is_of(&administrator) && !first.is_due(NOW));
    let requests = server.requests().len();
    let second = first.renew(&administrator, &LIMITS, "image-swap", NOW).await.unwrap();
    let own = server.requests().split_off(requests);
    assert!(own.iter().all(|it| it.token == first.token) && own.len() == 1, "{own:?}");
    server.refuse(|token| token != ADMINISTRATOR);
    let third = second.renew(&administrator, &LIMITS, "image-swap", NOW).await.unwrap();
    assert_eq!(connect(&server).identity().await, Ok(uid("1")));
    // Without both credentials nothing is left to try.
    server.refuse(|_| true);
    let found = third.renew(&administrator, &LIMITS, "image-swap", NOW).await;
    assert_eq!(found, Err(TokenError::Request(RemoteError::Unauthorized)));
    assert!(server.requests().iter().any(|it| it.path.starts_with(KUBE_SYSTEM)));
}
