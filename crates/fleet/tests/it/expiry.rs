//! Credentials of workload clusters that expire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use image_swap_fleet::remote::{RemoteCluster, RemoteError};
use image_swap_testbed::ControlPlane;
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    fleet::{DEADLINE, FLEET, Fleet, condition, kubectl, text},
    workload::{connect, now},
};

/// Life of a credential at the first attempt to use it.
const LIFE: Duration = Duration::from_secs(4);
/// Kinds of the objects that image-swap has in a workload cluster.
const KINDS: &str = "namespaces,customresourcedefinitions,secrets,configmaps,serviceaccounts,\
                     services,deployments,daemonsets,roles,rolebindings,clusterroles,\
                     clusterrolebindings,validatingadmissionpolicies,mutatingwebhookconfigurations";

/// Relay of connections to an API server.
struct Relay {
    url: String,
    /// Number of connections so far.
    opened: Arc<AtomicUsize>,
}

impl Relay {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let opened = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { url, opened }
    }
}

/// Waits until the API server refuses the credential of `remote`.
async fn expired(remote: &RemoteCluster) {
    let refused = async {
        loop {
            if let Err(error) = remote.identity().await {
                return error;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(timeout(DEADLINE, refused).await.unwrap(), RemoteError::Unauthorized);
}

/// Returns a kubeconfig whose certificate the API server refuses since its end. An API server that
/// accepted it refuses it over the same connection.
async fn expired_kubeconfig(plane: &ControlPlane) -> String {
    for attempt in 1..5 {
        let kubeconfig = plane.expiring_administrator_kubeconfig(LIFE * attempt).unwrap();
        let relay = Relay::start(plane.port()).await;
        let remote = connect(&kubeconfig.replace(plane.url(), &relay.url));
        if remote.identity().await.is_ok() {
            expired(&remote).await;
            assert_eq!(relay.opened.load(SeqCst), 1);
            return kubeconfig;
        }
    }
    panic!("no certificate was valid for long enough");
}

/// Lets a fleet controller bring declarations into force by tokens that expire within seconds.
/// Returns these tokens, and the number of the last declaration.
async fn lead_by_expiring_tokens(fleet: &mut Fleet) -> ([String; 2], u64) {
    for attempt in 1..5 {
        fleet.kill().await;
        let revision = 1 + u64::from(attempt);
        fleet.declare(revision, "short");
        let tokens = ["a", "b"].map(|name| store_expiring_token(fleet, name, LIFE * attempt));
        fleet.lead(|_| {}).await;
        for index in [0, 1] {
            fleet.wait_declared(index, revision, "short");
        }
        // A token that expired before its use was replaced.
        if ["a", "b"].map(|name| text(&fleet.token(name), "token")) == tokens {
            return (tokens, revision);
        }
    }
    panic!("no token was valid for long enough");
}

/// Replaces the stored token for a cluster by one that expires after `life`. The fleet controller
/// does not renew it before: its record has the usual life. Returns the token.
fn store_expiring_token(fleet: &Fleet, cluster: &str, life: Duration) -> String {
    let index = usize::from(cluster == "b");
    let plane = &fleet.planes.workloads[index];
    let token = plane.expiring_token("image-swap", "image-swap-fleet", life).unwrap();
    let stored = fleet.token(cluster);
    let name = stored["metadata"]["name"].as_str().unwrap();
    let path = format!("/api/v1/namespaces/{FLEET}/secrets/{name}");
    let times = [now(), now() + 86_400].map(|it| it.to_string());
    let data = json!({ "token": token, "issued": times[0], "expires": times[1] });
    let change = json!({ "stringData": data });
    let answer = fleet.planes.hub.request("PATCH", &path, Some(&change)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    token
}

/// Returns the objects of image-swap in a cluster, with their versions.
fn objects(plane: &ControlPlane) -> String {
    let line = "{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} \
                {.metadata.resourceVersion}{\"\\n\"}{end}";
    let output = format!("--output=jsonpath={line}");
    let found = kubectl(plane, &["get", KINDS, "--all-namespaces", &output]);
    let is_own = |line: &&str| !line.contains(" kube-");
    let lines: Vec<&str> = found.lines().filter(is_own).collect();
    assert!(found.contains("Secret jet-system/registry-info"), "{found}");
    lines.join("\n")
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn expired_credentials_change_nothing_until_they_are_renewed() {
    let mut fleet = Fleet::with_clusters(2).await;
    for index in [0, 1] {
        fleet.wait_declared(index, 1, "one");
    }
    let kubeconfig = expired_kubeconfig(&fleet.planes.workloads[0]).await;
    let (tokens, last) = lead_by_expiring_tokens(&mut fleet).await;
    let before = objects(&fleet.planes.workloads[0]);
    fleet.enter("a", &kubeconfig);
    for (plane, token) in fleet.planes.workloads.iter().zip(&tokens) {
        expired(&connect(&plane.token_to_kubeconfig(token))).await;
    }

    // The kubeconfig of the administrator renews an expired token.
    let next = last + 1;
    fleet.declare(next, "next");
    fleet.wait_declared(1, next, "next");
    fleet.wait_token("b", &tokens[1]);

    // Without any valid credential nothing changes, under another leader neither.
    let is_reported = |status: &Value, revision: u64| {
        let reached = condition(status, "Reachable");
        let message = reached["message"].as_str().unwrap_or_default();
        condition(status, "Applied")["reason"] == "Unreachable"
            && message.contains("(401)")
            && message.contains("expired")
            && status["wantedRevision"] == revision
            && status["appliedRevision"] == last
    };
    let status = fleet.wait("a", "refused", |status| is_reported(status, next)).to_string();
    assert!(
        !tokens.iter().any(|it| status.contains(it)) && !status.contains("hunter2"),
        "{status}"
    );
    fleet.lead(|_| {}).await;
    fleet.declare(next + 1, "after");
    fleet.wait_declared(1, next + 1, "after");
    fleet.wait("a", "refused again", |status| is_reported(status, next + 1));
    assert_eq!(objects(&fleet.planes.workloads[0]), before);

    // A renewed kubeconfig ends that.
    fleet.enter("a", &fleet.planes.workloads[0].administrator_kubeconfig().unwrap());
    fleet.wait_declared(0, next + 1, "after");
    fleet.wait_token("a", &tokens[0]);
}
