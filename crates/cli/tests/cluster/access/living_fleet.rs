//! A fleet controller that lives longer than its release.

use image_swap_core::{labels::BOOTSTRAP_SECRET, mirror::Fallback};
use image_swap_fleet::{FleetController, FleetReport, FleetSettings};
use image_swap_text::base64;
use kube::Client;
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use super::fleet::{CLUSTERS, declare, settings};
use crate::{
    install::{Account, Installed},
    test_cluster::{TestCluster, eventually, until},
};

/// Fleet controller that runs until it is dropped.
pub(super) struct LivingFleet {
    account: Option<Account>,
    report: watch::Receiver<FleetReport>,
    _leads: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Returns the bootstrap script on the management cluster; `None` without one.
pub(super) fn script(cluster: &TestCluster) -> Option<String> {
    let secret = cluster.get(&format!("{CLUSTERS}/{BOOTSTRAP_SECRET}"))?;
    let script = base64::decode(secret["data"]["bootstrap.sh"].as_str()?)?;
    String::from_utf8(script).ok()
}

impl LivingFleet {
    /// Starts a fleet controller with the permissions of `account`, or with those of an
    /// administrator, and waits until it has written the script.
    pub(super) async fn start(installed: &Installed, account: Option<Account>) -> Self {
        let cluster = &installed.cluster;
        declare(cluster);
        let client: Client = match account {
            Some(account) => installed.client_as(account).await,
            None => cluster.client.clone(),
        };
        let settings = FleetSettings { bootstrap: Some(Fallback::Upstream), ..settings() };
        let controller = FleetController::new(&client, settings);
        let (leads, leadership) = watch::channel(true);
        let report = controller.report();
        let task = tokio::spawn(async move { Box::pin(controller.run(leadership)).await });
        eventually(|| script(cluster).filter(|it| it.contains("page.example.org"))).await;
        Self { account, report, _leads: leads, task }
    }

    /// Waits until the controller has decided after a change, which it takes unless the API server
    /// refuses its requests.
    pub(super) async fn settle(&mut self, installed: &Installed) {
        if let Some(account) = self.account {
            let path = format!("{CLUSTERS}/{BOOTSTRAP_SECRET}");
            let is_refused = |it: &String| it.contains(&path);
            let refused = || installed.audited(account).1.iter().any(is_refused).then_some(());
            return eventually(refused).await;
        }
        let entry = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "new", "labels": { "image-swap.io/fleet-cluster": "enabled" } },
            "stringData": { "kubeconfig": "{}" },
        });
        installed.cluster.request("POST", CLUSTERS, Some(&entry));
        until(&mut self.report, |it| it.states.values().sum::<u64>() == 1).await;
    }
}

impl Drop for LivingFleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}
