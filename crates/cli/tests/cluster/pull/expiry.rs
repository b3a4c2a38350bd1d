//! The end of an enrolment's token.

use std::time::Duration;

use image_swap_core::status::{
    ControllerReport,
    cluster_summary::{ClusterSummary, SummaryProblem},
};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    COPY,
    fleet::{CLUSTERS, ControllerTask, HUB_SECRET, PullFleet, REGISTRY_INFO, apply, text},
    problem, status,
};
use crate::test_cluster::{eventually, now, until};

const HEARTBEAT: &str =
    "/apis/coordination.k8s.io/v1/namespaces/image-swap/leases/image-swap-heartbeat";
/// Life of the token.
const LIFE: Duration = Duration::from_secs(5);
const DAY: u64 = 24 * 60 * 60;

/// Waits until the report has the reason that an expired token causes.
async fn refused(report: &mut watch::Receiver<ControllerReport>) {
    let is_refused =
        |it: &ControllerReport| problem(it).is_some_and(|it| it.contains("has expired"));
    until(report, is_refused).await;
}

/// Sets the times of the token on the workload cluster.
fn record(fleet: &PullFleet, issued: u64, token: &str) {
    let times = [issued, issued + DAY].map(|it| it.to_string());
    let data = json!({ "token": token, "issued": times[0], "expires": times[1] });
    PullFleet::patch(fleet.workload(), HUB_SECRET, &json!({ "stringData": data }));
}

/// Waits until the management cluster refuses the token of `client`.
async fn expired(client: &Client) {
    let ended = async {
        while status(client, "GET", COPY, &Value::Null).await != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), ended).await.unwrap();
}

/// Checks an expired token of the enrolment, in a running controller and in one that starts. The
/// declaration `next` with `path` arrives only after another enrolment. Returns the last
/// controller.
pub(super) async fn expire(
    fleet: &PullFleet,
    (mut report, controller): (watch::Receiver<ControllerReport>, ControllerTask),
    (next, path): (u64, &str),
) -> (watch::Receiver<ControllerReport>, ControllerTask) {
    let token = fleet.planes.hub.expiring_token(CLUSTERS, "image-swap-pull-edge", LIFE).unwrap();
    // The controller does not renew the token before: its record has the usual life.
    record(fleet, now(), &token);
    let client = fleet.as_workload().await;
    assert_eq!(status(&client, "GET", COPY, &Value::Null).await, 200);
    expired(&client).await;

    // The cluster reports it, and keeps its declaration.
    let before = fleet.get(REGISTRY_INFO).unwrap();
    fleet.declare(next, path);
    refused(&mut report).await;
    let is_reported = |lease: &Value| {
        let text = lease["metadata"]["annotations"]["image-swap.io/summary"].as_str();
        let summary = text.and_then(ClusterSummary::parse);
        summary.is_some_and(|it| it.problems.contains(&SummaryProblem::StepFailed))
    };
    eventually(|| fleet.get(HEARTBEAT).filter(is_reported)).await;
    let warned = |events: &Value| {
        let all = events["items"].as_array().unwrap();
        all.iter().any(|it| it["reason"] == "StepFailed" && it.to_string().contains("has expired"))
    };
    eventually(|| fleet.get("/apis/events.k8s.io/v1/events").filter(warned)).await;

    // The controller begins with an expired token, as after a day without power.
    drop(controller);
    record(fleet, now() - DAY, &token);
    let (mut report, controller) = fleet.controller().await;
    refused(&mut report).await;
    assert_eq!(text(&fleet.get(HUB_SECRET).unwrap(), "token"), token);
    assert_eq!(fleet.get(REGISTRY_INFO).unwrap(), before);
    let shown = serde_json::to_string(&*report.borrow()).unwrap();
    assert!(!shown.contains(&token) && !shown.contains("hunter2"), "{shown}");

    // Another enrolment continues.
    apply(fleet.workload(), &fleet.enroll());
    fleet.declared(next, path).await;
    until(&mut report, |it| problem(it).is_none()).await;
    fleet.reported(|it| it["appliedRevision"] == next).await;
    (report, controller)
}
