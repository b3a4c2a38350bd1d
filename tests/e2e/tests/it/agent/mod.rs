//! The agents of nodes, on nodes of two ages: containerd 2.4 and containerd 1.6. No node
//! knows the registry before an agent configures it.

mod changes;
mod faults;
mod gating;
mod hosts;
mod page;
mod removal;
mod repairs;
mod rolling;
mod trials;

use std::fs;

use anyhow::{Context, Result, ensure};
use image_swap_e2e::{
    DEADLINE, HelmCluster, HelmClusterOptions, Install, NodeFiles, PALETTE_SECRET, PALETTE_VALUES,
    pod,
};
use image_swap_testbed::{Credentials, Node, Wait, until};
use serde_json::{Value, json};

use crate::publish_nginx;

/// The version of containerd on the older node.
const OLD: Option<&str> = Some("1.6");
/// A namespace that the webhook skips.
pub(crate) const EXEMPT: &str = "exempt";
/// The name by which pods that are not swapped are pulled.
pub(crate) const UPSTREAM: &str = "docker.io/library/nginx:1.25";
/// The mirrors of `docker.io` on a node.
pub(crate) const DOCKER: &str = "/etc/containerd/certs.d/docker.io/hosts.toml";
/// The folder of the registry that Palette declares for `docker.io`, and another one.
pub(crate) const FIRST: &str = "airgap-images/docker.io";
pub(crate) const SECOND: &str = "airgap-images/second";
/// Short checks of the host, and no request to public registries.
const VALUES: &str =
    "agent: {fallback: never, resync: 10s, trialImage: 'docker.io/library/nginx:1.25'}";
/// The namespace of the agents.
const AGENTS: &str = "image-swap-agent";

/// Starts a cluster of bare nodes: a current one, and `others`.
fn start(others: &[Option<&'static str>], credentials: Option<Credentials>) -> Result<HelmCluster> {
    let cluster = HelmCluster::start_with(HelmClusterOptions {
        credentials,
        others: others.to_vec(),
        bare_nodes: true,
        ..HelmClusterOptions::default()
    })?;
    publish_nginx(&cluster)?;
    cluster.publish("second/library/nginx", "1.25", "second", &["sleep", "inf"])?;
    cluster.control_plane.create_namespace(EXEMPT)?;
    cluster.kubectl(&["label", "namespace", EXEMPT, "k8s.twr.io/imageswap=disabled"])?;
    Ok(cluster)
}

/// Installs Palette's release with [`VALUES`], declares the registry by its Secret, and
/// returns the number of the declaration in force.
fn install(cluster: &HelmCluster) -> Result<u64> {
    let release = Install::with(&[PALETTE_VALUES, VALUES]);
    cluster.install(&release)?;
    // The values declare the registry without its authority, which is another number.
    let by_values = cluster.wait_declared(&release)?;
    declare(cluster, &[])?;
    cluster.wait_in_force(by_values)
}

/// Installs the chart for a registry with the user `robot` and `password`.
fn install_with(cluster: &HelmCluster, password: &str) -> Result<u64> {
    let user = format!("config: {{ociImageRegistry: {{username: robot, password: {password}}}}}");
    let values = [PALETTE_VALUES, VALUES, &user];
    let release = Install::with(&values);
    cluster.install(&release)?;
    let by_values = cluster.wait_declared(&release)?;
    declare(cluster, &[("USERNAME", "robot"), ("PASSWORD", password)])?;
    cluster.wait_in_force(by_values)
}

/// Applies Palette's Secret with the registry's authority, and with other values for some keys.
pub(crate) fn declare(cluster: &HelmCluster, values: &[(&str, &str)]) -> Result<()> {
    cluster.apply(&secret(cluster, values)?).map(drop)
}

/// Returns Palette's Secret with the registry's authority, and with `values` for some keys.
pub(crate) fn secret(cluster: &HelmCluster, values: &[(&str, &str)]) -> Result<String> {
    let authority = cluster.registry.authority().context("expected a private authority")?;
    let mut secret = PALETTE_SECRET.to_owned();
    for (key, value) in [("CA_CERT", authority)].iter().chain(values) {
        let start = secret.find(&format!("\n  {key}: ")).context("expected the key")? + 1;
        let end = secret[start..].find('\n').map_or(secret.len(), |length| start + length);
        secret.replace_range(start..end, &format!("  {key}: {}", json!(value)));
    }
    Ok(secret)
}

/// Returns Palette's rules with `folder` of the registry in place of [`FIRST`].
pub(crate) fn rules(folder: &str) -> String {
    let rules = PALETTE_SECRET.lines().find_map(|line| line.strip_prefix("  MIRROR_REGISTRIES: "));
    rules.unwrap_or_default().replacen(FIRST, folder, 1)
}

/// Runs a pod in the namespace [`EXEMPT`] on every node, and checks that the node pulls it from
/// `folder` of the registry.
fn pull(cluster: &HelmCluster, folder: &str) -> Result<()> {
    cluster.nodes().try_for_each(|node| pull_on(cluster, node, &[folder]))
}

/// Pulls the image on one node, which may pull from any of `folders`.
fn pull_on(cluster: &HelmCluster, node: &Node, folders: &[&str]) -> Result<()> {
    cluster.step(&format!("{} pulls {UPSTREAM} from {}", node.name(), folders.join(" or ")));
    let before = cluster.registry.requests()?.len();
    let mut exempt = pod("pull", UPSTREAM);
    exempt["metadata"]["namespace"] = EXEMPT.into();
    exempt["spec"]["nodeName"] = node.name().into();
    exempt["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    cluster.control_plane.create(&format!("/api/v1/namespaces/{EXEMPT}/pods"), &exempt)?;
    let stored = cluster.wait_pod(EXEMPT, "pull")?;
    ensure!(crate::image(&stored) == UPSTREAM, "the pod is swapped");
    assert_pulled(cluster, node, folders, before)?;
    cluster.kubectl(&["delete", "pod", "pull", "--namespace", EXEMPT, "--now"])?;
    Ok(())
}

/// Checks that the containerd of `node` has pulled from one of `folders` of the registry, after
/// the first `before` requests.
pub(crate) fn assert_pulled(
    cluster: &HelmCluster,
    node: &Node,
    folders: &[&str],
    before: usize,
) -> Result<()> {
    // The kubelet reports an unknown version for a while after containerd was away.
    let version = runtime_version(node)?;
    let minor = version.rsplit_once('.').map_or(&*version, |(minor, _)| minor);
    let of = |folder: &&str| format!("/v2/{folder}/library/nginx/manifests/1.25");
    let paths: Vec<_> = folders.iter().map(of).collect();
    let requests = cluster.registry.requests()?.split_off(before);
    let is_pull = |agent: &str, found: &str| {
        agent.replace("containerd/v", "containerd/").starts_with(minor)
            && paths.iter().any(|path| found.split('?').next() == Some(path))
    };
    ensure!(
        requests.iter().any(|it| it.status == 200 && is_pull(&it.agent, &it.path)),
        "no pull of {paths:?} by {minor}: {requests:?}"
    );
    Ok(())
}

/// Returns the name and version of the runtime as `crictl` reads them, such as `containerd/2.4.2`.
fn runtime_version(node: &Node) -> Result<String> {
    let output = node.crictl().arg("version").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).with_context(|| format!("expected {name} in {text}"))
    };
    Ok(format!("{}/{}", field("RuntimeName")?, field("RuntimeVersion")?.trim_start_matches('v')))
}

/// Writes the manifest of a static pod, which no webhook and no pull Secret reaches.
pub(crate) fn write_static(node: &Node) -> Result<()> {
    let mut manifest = pod("static", UPSTREAM);
    manifest["metadata"]["namespace"] = EXEMPT.into();
    manifest["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    Ok(fs::write(node.static_pods().join("static.json"), manifest.to_string())?)
}

/// Returns the files of every node.
fn files(cluster: &HelmCluster) -> Result<Vec<NodeFiles>> {
    cluster.nodes().map(NodeFiles::of).collect()
}

/// Waits until the mirrors of every node are as `before`, byte by byte.
fn wait_mirrors(cluster: &HelmCluster, before: &[NodeFiles]) -> Result<()> {
    until("the mirrors of every node to be as before", DEADLINE, || {
        let now = files(cluster).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let changes = now
            .into_iter()
            .zip(before)
            .flat_map(|(now, before)| now.mirrors().changes(&before.clone().mirrors()));
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() { Ok(()) } else { Err(Wait::NotYet(changes.join("; "))) }
    })?;
    Ok(())
}

/// Waits until `image-swap status` reports the problem `code`, and returns what it prints.
fn wait_problem(cluster: &HelmCluster, code: &str) -> Result<String> {
    until(&format!("the problem {code}"), DEADLINE, || {
        let problems = cluster.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let is_there = problems.iter().any(|found| found == code);
        if is_there { Ok(()) } else { Err(Wait::NotYet(format!("{problems:?}"))) }
    })?;
    // The exit code is 1 if there is a problem.
    cluster.shell("image-swap status --namespace=default || true")
}

/// Waits until `image-swap status` reports no problem `code`.
fn wait_no_problem(cluster: &HelmCluster, code: &str) -> Result<()> {
    until(&format!("no problem {code}"), DEADLINE, || {
        let problems = cluster.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let is_there = problems.iter().any(|found| found == code);
        if is_there { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
    })?;
    Ok(())
}

/// Returns the pods of the agents that are not being deleted.
fn agents(cluster: &HelmCluster) -> Result<Vec<Value>> {
    let path = format!("/api/v1/namespaces/{AGENTS}/pods");
    Ok(crate::workloads::pods(cluster, &path)?)
}

/// Kills the agent of `node` with SIGKILL. Returns false if none runs.
fn kill_agent(node: &Node) -> Result<bool> {
    let crictl = |arguments: &[&str]| -> Result<String> {
        let output = node.crictl().args(arguments).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let ids = crictl(&["ps", "--name=^agent$", "--state=Running", "--quiet"])?;
    let Some(id) = ids.lines().next() else { return Ok(false) };
    let described: Value = serde_json::from_str(&crictl(&["inspect", id])?).unwrap_or_default();
    let Some(pid) = described["info"]["pid"].as_u64() else { return Ok(false) };
    let killed = node.inside("kill").args(["-s", "KILL", &pid.to_string()]).status()?;
    Ok(killed.success())
}
