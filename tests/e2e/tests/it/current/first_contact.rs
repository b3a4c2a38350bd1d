//! The first minutes with the chart: commands in a row, other ways to install, and what
//! `status` reports.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_SECRET, PALETTE_VALUES};
use image_swap_testbed::{HelmMajor, HelmWait, Wait, until};
use serde_json::Value;

use crate::{NGINX, workloads::pods};

const OF_THE_RELEASE: &str =
    "/api/v1/namespaces/default/pods?labelSelector=app.kubernetes.io/name=image-swap";

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn palette_commands_work_in_a_row() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.write("values.yaml", PALETTE_VALUES)?;
    cluster.write("registry-secret.yaml", PALETTE_SECRET)?;
    // No pod of the release runs before both commands have ended.
    cluster.kubectl(&["cordon", cluster.node.name()])?;
    let install = "helm upgrade --values values.yaml image-swap image-swap-*.tgz --install";
    cluster.shell(install)?;
    cluster.shell("kubectl create --filename registry-secret.yaml")?;
    cluster.kubectl(&["uncordon", cluster.node.name()])?;
    cluster.wait_ready(&Install::default())?;
    cluster.wait_policy(&Install::default(), "Fail")?;
    cluster.wait_swapped("nginx:1.25", NGINX)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn status_reports_a_missing_registration() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.install(&Install::default())?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    cluster.step("the release is marked as leaving, and stays");
    until("a report without problem of the registration", DEADLINE, || {
        let problems = cluster.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let is_there = is_about_registration(&problems);
        if is_there { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
    })?;
    cluster.kubectl(&["annotate", "clusterrole", "image-swap", "image-swap.io/leaving=true"])?;
    cluster.wait_swapped("nginx:1.25", "nginx:1.25")?;
    let problems = cluster.problems(&Install::default())?;
    for code in ["leaving", "not-registered"] {
        ensure!(problems.iter().any(|found| found == code), "{problems:?}");
    }

    cluster.step("without the mark it is registered again");
    cluster.kubectl(&["annotate", "clusterrole", "image-swap", "image-swap.io/leaving-"])?;
    cluster.wait_policy(&Install::default(), "Fail")?;
    cluster.wait_swapped("nginx:1.25", NGINX)
}

fn is_about_registration(problems: &[String]) -> bool {
    problems.iter().any(|code| code == "not-registered" || code == "leaving")
}

/// Withholds the right to register from the controller, for as long as the policy
/// exists. Without it the controller registers in the second in which Helm returns, and
/// a test could not see what comes first.
const WITHHELD: &str = r"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: withheld}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules:
      - apiGroups: [rbac.authorization.k8s.io]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [clusterroles]
        resourceNames: [image-swap]
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          [JSONPatch{op: 'replace', path: '/rules', value: object.rules.filter(it,
            !('mutatingwebhookconfigurations' in it.resources && 'create' in it.verbs))}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: withheld}
spec: {policyName: withheld}
";
const PROBE: &str = r#"{
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
    "metadata": {"name": "image-swap"},
    "rules": [{
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "verbs": ["create"]
    }]
}"#;
const RIGHT: &str = r#"[{"op": "add", "path": "/rules/-", "value": {
    "apiGroups": ["admissionregistration.k8s.io"],
    "resources": ["mutatingwebhookconfigurations"],
    "verbs": ["create", "patch", "delete"]
}}]"#;
/// The time for Helm to return once all containers run. A release that waits for its
/// registration takes longer.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn pods_are_swapped_once_helm_returns() -> Result<()> {
    let cluster = &HelmCluster::start()?;
    cluster.step("helm upgrade --install --wait, while the registration is held back");
    cluster.apply(WITHHELD)?;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles?dryRun=All";
    let probe = serde_json::from_str(PROBE)?;
    until("the policy to be in force", DEADLINE, || {
        let stored = cluster.control_plane.create(roles, &probe)?;
        let is_withheld = stored["rules"].as_array().is_none_or(Vec::is_empty);
        if is_withheld { Ok(()) } else { Err(Wait::NotYet(stored.to_string())) }
    })?;
    let image = thread::scope(|scope| {
        let palette = Install::default();
        let install = scope.spawn(move || cluster.upgrade(&palette, HelmWait::Ready));
        let mut running: Option<Instant> = None;
        until("Helm, or running pods", DEADLINE, || {
            if all_run(cluster)? && running.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Ok(());
            }
            if install.is_finished() { Ok(()) } else { Err(Wait::NotYet("neither".into())) }
        })?;
        if !install.is_finished() {
            release_registration(cluster)?;
        }
        install.join().map_err(|_| anyhow!("the installation panicked"))??;
        cluster.swapped("nginx:1.25")
    })?;
    ensure!(image == NGINX, "{image}");
    let registration = cluster.registration(&Install::default())?.unwrap_or_default();
    let mut entries = registration["webhooks"].as_array().into_iter().flatten();
    let held =
        entries.any(|it| it["name"] == "pods.image-swap.io" && it["failurePolicy"] == "Fail");
    ensure!(held, "{registration}");
    let problems = cluster.problems(&Install::default())?;
    let unready = ["unreached", "not-registered", "not-enforced", "replicas-missing"];
    ensure!(!problems.iter().any(|code| unready.contains(&code.as_str())), "{problems:?}");
    Ok(())
}

/// Gives the controller its right to register.
fn release_registration(cluster: &HelmCluster) -> Result<()> {
    let kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy";
    cluster.kubectl(&["delete", kinds, "withheld", "--ignore-not-found"])?;
    cluster.kubectl(&["patch", "clusterrole", "image-swap", "--type=json", "--patch", RIGHT])?;
    Ok(())
}

/// Returns true if every container of the release runs.
fn all_run(cluster: &HelmCluster) -> Result<bool, image_swap_testbed::Error> {
    let pods = pods(cluster, OF_THE_RELEASE)?;
    Ok(pods.len() == 3
        && pods
            .iter()
            .all(|pod| pod["status"]["containerStatuses"][0]["state"]["running"].is_object()))
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn applied_templates_stay_registered() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.write("values.yaml", PALETTE_VALUES)?;
    cluster.step("helm template | kubectl apply --filename -");
    cluster.shell(
        "helm template image-swap image-swap-*.tgz --values values.yaml \
         | kubectl apply --filename -",
    )?;
    until("a swapped pod", DEADLINE, || {
        let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/image-swap";
        let role = cluster.control_plane.get(role)?.unwrap_or_default();
        if role["metadata"]["annotations"]["image-swap.io/leaving"] == "true" {
            return Ok(Err(anyhow!("the release is marked as leaving")));
        }
        match cluster.swapped("nginx:1.25") {
            Ok(found) if found == NGINX => Ok(Ok(())),
            found => Err(Wait::NotYet(format!("{found:?}"))),
        }
    })??;
    cluster.wait_policy(&Install::default(), "Fail")?;

    cluster.step("the same again, without hooks, changes no entry");
    let before = cluster.registration(&Install::default())?.unwrap_or_default();
    cluster.shell(
        "helm template image-swap image-swap-*.tgz --values values.yaml --no-hooks \
         --namespace default | kubectl apply --filename -",
    )?;
    let after = cluster.registration(&Install::default())?.unwrap_or_default();
    ensure!(before["webhooks"] == after["webhooks"], "{before} {after}");
    ensure!(cluster.swapped("nginx:1.25")? == NGINX, "a pod is stored as it is");
    Ok(())
}

/// The first installation of a user whose registry does not have the image yet.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn missing_image_is_reported_and_uninstalled() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let missing = [PALETTE_VALUES, "image: {tag: not-there}", "agent: {awaitRestore: false}"];
    let palette = Install::with(&missing);
    for helm in [cluster.helm(), &cluster.helm().other(HelmMajor::Three)?] {
        cluster.step("an installation without its image");
        let Install { namespace, release, values } = palette;
        helm.upgrade_install(namespace, release, &cluster.chart, values, HelmWait::Hooks)?;
        until("a status that names the image", DEADLINE, || {
            let line = "image-swap status --output=json -n default";
            let output = cluster.shell_command(line).output();
            let output = output.map_err(|error| Wait::NotYet(error.to_string()))?;
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let status: Value = serde_json::from_str(&printed).unwrap_or_default();
            let stuck = status["stuck"].as_array().cloned().unwrap_or_default();
            let named = stuck.iter().filter(|pod| {
                pod["image"] == "harbor.example.org/airgap-images/image-swap:not-there"
                    && pod["hint"] == "push the image to the registry"
            });
            if named.count() == 3 { Ok(()) } else { Err(Wait::NotYet(printed)) }
        })?;

        cluster.step("helm uninstall ends, and the next installation works");
        let begun = Instant::now();
        helm.uninstall(namespace, release, HelmWait::Hooks)?;
        ensure!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
        cluster.install_by(helm, &Install::default())?;
        cluster.wait_swapped("nginx:1.25", NGINX)?;
        helm.uninstall(namespace, release, HelmWait::Hooks)?;
        ensure!(cluster.registration(&palette)?.is_none(), "the registration is there");
    }
    Ok(())
}

/// A pod whose image the mirror does not have: the daily failure.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn status_names_swapped_pods_without_image() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.install(&Install::default())?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    cluster.kubectl(&["run", "absent", "--image=nginx:1.25"])?;
    until("a status that names the pod", DEADLINE, || {
        let problems = cluster.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let is_there = problems.iter().any(|code| code == "pods-not-pulled");
        if is_there { Ok(()) } else { Err(Wait::NotYet(format!("{problems:?}"))) }
    })?;
    let printed = cluster.shell("image-swap status -n default || true")?;
    let pod = printed.lines().find(|line| line.contains("default/absent"));
    ensure!(
        pod.is_some_and(|line| line.contains(NGINX) && line.contains("ImagePull")),
        "{printed}"
    );
    Ok(())
}
