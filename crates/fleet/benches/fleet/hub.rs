//! The management cluster of the benchmark.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use image_swap_cluster::client;
use image_swap_load::{Outcome, audit::AuditLog, process, simulator::SimulatedClusters};
use image_swap_testbed::{ControlPlane, HttpClient, Options, Parts, Port, Process};
use image_swap_testkit::{last_good, registry_keys};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{Instant, sleep},
};

use crate::PATIENCE;

/// User of the fleet controller.
pub(crate) const USER: &str = "fleet-controller";
/// Namespace with the kubeconfigs.
const CLUSTERS: &str = "clusters";
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";
/// Kubeconfigs that are created at the same time.
const AT_ONCE: usize = 16;
/// Smallest soft limit of open files.
const FILES: usize = 32;
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// A management cluster with the bundle of the chart.
pub(crate) struct Hub {
    pub(crate) audit: AuditLog,
    control_plane: ControlPlane,
    client: Client,
    kubeconfig: PathBuf,
    admin: Port,
}

impl Hub {
    /// Starts the cluster, with its files in `directory`.
    pub(crate) fn start(directory: &Path) -> Outcome<Self> {
        let parts = Parts::present()?;
        let audit = AuditLog::new(directory)?;
        let options = Options { api_server_flags: audit.flags(), ..Options::default() };
        let control_plane = block_in_place(|| ControlPlane::start(&parts, &options))?;
        for namespace in [CLUSTERS, RELEASE, FLEET] {
            control_plane.create_namespace(namespace)?;
        }
        apply(&control_plane, &render(&parts.helm()?.helm4)?)?;
        let kubeconfig = directory.join("fleet.kubeconfig");
        let text = control_plane.certificate_kubeconfig(USER, Some("system:masters"))?;
        fs::write(&kubeconfig, text)?;
        let connected = client(Some(control_plane.kubeconfig()));
        let client = block_in_place(|| tokio::runtime::Handle::current().block_on(connected))?;
        Ok(Self { audit, control_plane, client, kubeconfig, admin: Port::reserve()? })
    }

    /// Starts the fleet controller for `number` clusters. Its soft limit of open files is too low
    /// for them, as that of containers often is.
    pub(crate) fn start_controller(
        &self,
        binary: &Path,
        directory: &Path,
        number: usize,
    ) -> Outcome<Process> {
        let files = number.max(FILES);
        let arguments = [
            "-c".to_owned(),
            format!("ulimit -S -n {files} && exec \"$0\" \"$@\""),
            binary.display().to_string(),
            "fleet".to_owned(),
            format!("--namespace={FLEET}"),
            format!("--release-namespace={RELEASE}"),
            format!("--namespaces={CLUSTERS}"),
            "--source=kubeconfig".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--admin-listen=127.0.0.1:{}", self.admin.number()),
        ];
        block_in_place(|| process::start(Path::new("/bin/sh"), arguments, &self.admin, directory))
    }

    /// Stores a declaration in force.
    pub(crate) async fn declare(&self, revision: u64) -> Outcome<()> {
        let path = format!("change-{revision:04}");
        let secret = last_good(RELEASE, revision, registry_keys(&path));
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), RELEASE);
        let params = PatchParams::apply("image-swap").force();
        secrets.patch("image-swap-last-good", &params, &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// Creates the labelled kubeconfigs of all clusters.
    pub(crate) async fn import(&self, clusters: &SimulatedClusters) -> Outcome<()> {
        let mut tasks = JoinSet::new();
        for first in 0..AT_ONCE {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), CLUSTERS);
            let mut all = Vec::new();
            for index in (first..clusters.len()).step_by(AT_ONCE) {
                all.push(serde_json::from_value::<Secret>(json!({
                    "metadata": {
                        "name": format!("c-{index:05}"),
                        "labels": { "image-swap.io/fleet-cluster": "enabled" },
                    },
                    "stringData": { "kubeconfig": clusters.kubeconfig(index) },
                }))?);
            }
            tasks.spawn(async move {
                for secret in all {
                    secrets.create(&PostParams::default(), &secret).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Waits until the fleet controller leads.
    pub(crate) async fn wait_leader(&self) -> Outcome<()> {
        self.wait("image_swap_fleet_revision ", |value| value > 0).await
    }

    /// Waits until `number` clusters are in `state`.
    pub(crate) async fn wait_states(&self, state: &str, number: usize) -> Outcome<()> {
        let metric = format!("image_swap_fleet_clusters{{state=\"{state}\"}} ");
        self.wait(&metric, |value| value == number).await
    }

    /// Waits until a metric of the fleet controller `is_wanted`.
    async fn wait(&self, metric: &str, is_wanted: impl Fn(usize) -> bool) -> Outcome<()> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin.number());
        let begun = Instant::now();
        loop {
            // A busy controller may answer late.
            let answer = block_in_place(|| HttpClient::default().request("GET", &url, None));
            let text = answer.map(|it| it.body).unwrap_or_default();
            let mut values = text.lines().filter_map(|line| line.strip_prefix(metric));
            let found = values.next().and_then(|value| value.trim().parse().ok());
            if found.is_some_and(&is_wanted) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{metric}: not reached in time, found in {text}").into());
            }
            sleep(LOOK).await;
        }
    }

    /// Returns the CPU time of API server and etcd in seconds.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        self.control_plane.processes().map(process::cpu).sum()
    }
}

/// Returns the bundle and the custom resource of the chart.
fn render(helm: &Path) -> Outcome<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let mut command = Command::new(helm);
    command.arg("template").arg(RELEASE).arg(chart).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
        "--show-only=templates/fleet/bundle.yaml",
        "--show-only=templates/fleet/clusterrole.yaml",
        "--show-only=templates/fleet/crd.yaml",
    ]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Applies manifests.
fn apply(control_plane: &ControlPlane, manifests: &str) -> Outcome<()> {
    let mut kubectl = control_plane.kubectl();
    kubectl.args(["apply", "--server-side", "--request-timeout=1m", "--filename=-"]);
    let mut child =
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(manifests.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into())
    }
}
