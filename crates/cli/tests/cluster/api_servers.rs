//! Several API servers, of which one cannot reach the replicas.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use image_swap_cluster::{Controller, Intervals, config};
use image_swap_core::{control::policy::FailurePolicy, status::ProbeStatus};
use image_swap_testbed::Options;
use kube::Config;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, block_in_place},
};

use crate::{
    replica::Replica,
    service::address,
    test_cluster::{Running, TestCluster, intervals, run, settings, until},
};

/// Two API servers on one etcd. The second one resolves Services by their cluster
/// address, at which nothing answers here, and so cannot reach a replica.
struct ApiServerPair {
    controller: Running,
    replica: Arc<Replica>,
    _following: image_swap_cluster::ReplicaTasks,
    cluster: TestCluster,
}

impl ApiServerPair {
    async fn set() -> Self {
        let everywhere = "--bind-address=0.0.0.0".to_owned();
        let options = Options {
            api_server_flags: vec![everywhere],
            second_api_server: Some(vec!["--enable-aggregator-routing=false".to_owned()]),
            ..Options::default()
        };
        let cluster = TestCluster::set_with(&options).await;
        let (replica, following) = cluster.replica().await;
        cluster.serve_at(replica.port());
        let config = config(Some(cluster.control_plane.kubeconfig())).await.unwrap();
        let controller = probing(&cluster, config);
        Self { controller, replica, _following: following, cluster }
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        let ports =
            [self.cluster.control_plane.port(), self.cluster.control_plane.second_port().unwrap()];
        ports.map(|port| (address(), port).into())
    }

    /// Makes `servers` the endpoints of the Service `kubernetes`.
    fn publish(&self, servers: &[SocketAddr]) {
        let control_plane = &self.cluster.control_plane;
        block_in_place(|| {
            control_plane.set_endpoints("default", "kubernetes", "https", servers).unwrap();
        });
    }
}

fn probing(cluster: &TestCluster, config: Config) -> Running {
    let mut settings = settings();
    settings.timeout_seconds = 1;
    let intervals = Intervals { lower: Duration::from_secs(3), ..intervals() };
    let controller = Controller::new(&cluster.client, settings, "one", intervals);
    run(&cluster.client, controller.probing_by(config), "one")
}

// guarantee: 4c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn every_responding_api_server_must_reach_a_replica() {
    let mut pair = ApiServerPair::set().await;
    let [first, second] = pair.addresses();
    pair.publish(&[first]);
    until(&mut pair.controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail))
        .await;
    assert!(*pair.replica.certificates().borrow() > 0);

    // The second API server responds, but does not reach a replica, so that it refuses its share of
    // pods.
    pair.publish(&[first, second]);
    let report = until(&mut pair.controller.report, |it| {
        it.policy.failure_policy == Some(FailurePolicy::Ignore)
    })
    .await;
    assert_eq!(report.policy.unreached, [second.to_string()]);
    assert_eq!(report.policy.probe, ProbeStatus::Unreached);
    let events = pair.cluster.events("image-swap-system", "FailurePolicyChanged");
    let is_named = |event: &serde_json::Value| {
        event["note"].as_str().is_some_and(|note| note.contains(&second.to_string()))
    };
    assert!(events.iter().any(is_named), "{events:?}");

    // A stopped API server refuses no pod, although its address is still published.
    block_in_place(|| pair.cluster.control_plane.second_api_server().unwrap().stop().unwrap());
    until(&mut pair.controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail))
        .await;
}

/// A managed control plane: all API servers are behind one address.
// guarantee: 4c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn mixed_results_at_one_address_lower_the_policy() {
    let mut pair = ApiServerPair::set().await;
    until(&mut pair.controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail))
        .await;
    let [first, second] = pair.addresses();
    pair.publish(&[first]);
    let balancer = Balancer::start([first, second]).await;
    let mut config = config(Some(pair.cluster.control_plane.kubeconfig())).await.unwrap();
    config.cluster_url = format!("https://127.0.0.1:{}", balancer.port).parse().unwrap();
    pair.controller = probing(&pair.cluster, config);
    until(&mut pair.controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail))
        .await;
    until(&mut pair.controller.report, |it| {
        it.policy.failure_policy == Some(FailurePolicy::Ignore)
    })
    .await;
}

/// A load balancer that gives each connection to the next server.
struct Balancer {
    port: u16,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn start(servers: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            for server in servers.iter().cycle() {
                let (mut client, _) = listener.accept().await.unwrap();
                let server = *server;
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { port, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
