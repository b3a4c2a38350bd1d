//! Kinds of hosts that agents find: what an agent reports, and what it leaves as it is.
//!
//! The hosts are two nodes, one after another: their files are written anew, containerd is
//! restarted, and another pod of the agent looks at them.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result, ensure};
use image_swap_e2e::{DEADLINE, HelmCluster, Install, NodeFiles, PALETTE_VALUES, condition};
use image_swap_testbed::{Node, Wait, until};
use serde_json::Value;

use super::{AGENTS, DOCKER, FIRST, OLD, declare, pull, pull_on, rules, start};
use crate::assert_air_gap;

/// The line of the testbed's config.toml that names the directory of the mirrors.
const SET: &str = "    config_path = \"/etc/containerd/certs.d\"\n";
const CONFIG: &str = "config.toml";
/// A file that `imports` of the hosts names.
const DROP_IN: &str = "conf.d/50-other.toml";
const IMAGES: &str = "plugins.\"io.containerd.cri.v1.images\"";
const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\"";
/// A list of directories, as Amazon EKS sets it.
const LIST: &str = "    config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n";
/// The command for a host whose containerd has to be restarted.
const COMMAND: &str = "image-swap node apply --restart allow --runtime containerd \
                       -f registry-secret.yaml --fallback never";
/// The file of an AKS cluster without a way to public registries.
const MCR: &str = "certs.d/mcr.microsoft.com/hosts.toml";
const MCR_TEXT: &str = "server = \"https://mcr.microsoft.com\"\n\n\
                        [host.\"https://company.azurecr.io/v2/aks-managed-repository\"]\n  \
                        capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n";
/// A file for a host that is not declared.
const ELSEWHERE: &str = "certs.d/company.example.com/hosts.toml";

/// A kind of host, and the report of its agent.
struct HostKind {
    name: &'static str,
    /// Files below `/etc/containerd`.
    files: Vec<(&'static str, String)>,
    /// True if containerd is restarted with these files.
    is_started: bool,
    /// The reason of the condition Applied.
    reason: &'static str,
    /// Parts of the message of Applied, of that of Degraded, or of the command.
    texts: Vec<&'static str>,
}

impl HostKind {
    fn new(name: &'static str, config: impl Into<String>) -> Self {
        let files = vec![(CONFIG, config.into())];
        Self { name, files, is_started: true, reason: "InPlace", texts: Vec::new() }
    }

    fn file(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.files.push((path, text.into()));
        self
    }

    /// The containerd of the node keeps running with the files before.
    fn not_started(self) -> Self {
        Self { is_started: false, ..self }
    }

    fn refused(self, texts: &[&'static str]) -> Self {
        Self { reason: "Refused", texts: texts.to_vec(), ..self }
    }

    fn restart_required(self, texts: &[&'static str]) -> Self {
        Self { reason: "RestartRequired", texts: [texts, &[COMMAND]].concat(), ..self }
    }

    fn in_place(self, texts: &[&'static str]) -> Self {
        Self { reason: "InPlace", texts: texts.to_vec(), ..self }
    }

    /// Returns true if `status` is the report about this kind.
    fn is_reported(&self, status: &Value) -> bool {
        let applied = condition(status, "Applied");
        let degraded = condition(status, "Degraded");
        let text = [&applied["message"], &degraded["message"], &status["command"]];
        let text = text.map(|it| it.as_str().unwrap_or_default()).join("\n");
        applied["reason"] == self.reason && self.texts.iter().all(|part| text.contains(part))
    }
}

#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn agents_report_hosts_that_they_leave_alone() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    let (current, old) = (&cluster.node, &cluster.others[0]);
    // The agents look at their hosts only when they start.
    let values = "agent: {fallback: never, resync: 1h, trialImage: 'docker.io/library/nginx:1.25'}";
    let values = [PALETTE_VALUES, values];
    let release = Install::with(&values);
    let configs = [config(current)?, config(old)?];
    cluster.install(&release)?;
    let by_values = cluster.wait_declared(&release)?;
    let mcr = ",mcr.microsoft.com::harbor.example.org/airgap-images/mcr.microsoft.com";
    declare(&cluster, &[("MIRROR_REGISTRIES", &[rules(FIRST), mcr.into()].concat())])?;
    cluster.wait_in_force(by_values)?;

    // A configuration of version 2, which containerd 2.4 reads too.
    let folder = |node: &Node| -> Result<String> {
        let folder = node.etc_containerd();
        Ok(folder.parent().context("expected a folder")?.display().to_string())
    };
    let version_two = configs[1].replace(&folder(old)?, &folder(current)?);
    for kind in of_current(&configs[0], &version_two) {
        look(&cluster, current, &kind)?;
    }
    for kind in of_old(&configs[1]) {
        look(&cluster, old, &kind)?;
    }
    cluster.step("hosts as before");
    for (node, config) in [(current, &configs[0]), (old, &configs[1])] {
        look(&cluster, node, &HostKind::new("an ordinary host", config))?;
    }
    states(&cluster, &configs[0])?;
    pull(&cluster, FIRST)?;
    assert_air_gap(&cluster);
    Ok(())
}

/// Returns kinds of hosts with a current containerd. No two reports in a row are alike.
fn of_current(config: &str, version_two: &str) -> Vec<HostKind> {
    let unset = config.replace(SET, "");
    let three = config.replace("version = 4\n", "version = 3\n");
    let imports = |config: &str| {
        config.replacen("root = ", "imports = [\"/etc/containerd/conf.d/*.toml\"]\nroot = ", 1)
    };
    let mirrors = |host: &str, endpoint: &str| {
        format!("{unset}[{IMAGES}.registry.mirrors.\"{host}\"]\nendpoint = [\"{endpoint}\"]\n")
    };
    let drop_in = |line: &str| format!("version = 4\n[{IMAGES}.registry]\n{line}");
    let local = config.replace(SET, LIST).replace(
        "  snapshotter = \"overlayfs\"\n",
        "  snapshotter = \"overlayfs\"\n  discard_unpacked_layers = true\n",
    );
    vec![
        HostKind::new("config_path unset, version 4", &unset)
            .restart_required(&["config.toml does not set config_path"]),
        HostKind::new("a list as config_path", config.replace(SET, LIST))
            .restart_required(&["sets config_path to /etc/containerd/certs.d:/etc/docker/certs.d"]),
        HostKind::new("config_path empty, version 3", three.replace(SET, "config_path = \"\"\n"))
            .restart_required(&["config.toml does not set config_path"]),
        HostKind::new("config_path set, version 3", three),
        HostKind::new("config_path unset, version 2", version_two.replace(SET, ""))
            .restart_required(&["config.toml does not set config_path"]),
        HostKind::new("config_path set, version 2", version_two),
        HostKind::new("a list that containerd splits", local)
            .in_place(&["/etc/docker/certs.d is searched after /etc/containerd/certs.d"]),
        HostKind::new("a mirrors table", mirrors("gcr.io", "https://m.example.org"))
            .restart_required(&["config.toml has a mirrors table"]),
        HostKind::new("an odd mirror", mirrors("company.example.com", "ftp://m.example.org"))
            .refused(&["mirrors-table-odd: ", "remove that endpoint from config.toml"])
            .not_started(),
        HostKind::new("config_path in an import", imports(&unset)).file(DROP_IN, drop_in(SET)),
        HostKind::new("a list in an import", imports(&unset))
            .file(DROP_IN, drop_in(LIST))
            .refused(&["drop-in-holds: /etc/containerd/conf.d/50-other.toml"]),
        HostKind::new("a directory elsewhere", config.replace("/certs.d\"", "/elsewhere\""))
            .refused(&["not-mounted: ", "set agent.hostPaths.certsD"]),
        HostKind::new("no TOML", "version = \n").refused(&["unreadable: "]).not_started(),
        HostKind::new("an unknown version", "version = 5\n")
            .refused(&["config-version-unknown: "])
            .not_started(),
        HostKind::new(
            "CRI disabled",
            config.replacen(
                "= [\"io.containerd.nri",
                "= [\"io.containerd.grpc.v1.cri\", \"io.containerd.nri",
                1,
            ),
        )
        .refused(&["cri-disabled: "])
        .not_started(),
        HostKind::new("spegel", config)
            .file("certs.d/_backup/docker.io/hosts.toml", "")
            .refused(&["spegel: ", "remove spegel from the host"]),
        HostKind::new("another scheme in hosts.toml", config)
            .file("certs.d/docker.io/hosts.toml", "[host.\"http://harbor.example.org/v2/a\"]\n")
            .refused(&["foreign-hosts-odd: ", "expected scheme https for harbor.example.org"]),
        HostKind::new("hosts.toml for another host", config)
            .file(ELSEWHERE, "server = \"https://company.example.com\"\n"),
    ]
}

/// Returns kinds of hosts with containerd 1.6.
fn of_old(config: &str) -> Vec<HostKind> {
    let unset = config.replace(SET, "");
    let imports =
        unset.replacen("root = ", "imports = [\"/etc/containerd/conf.d/*.toml\"]\nroot = ", 1);
    let and = |config: &str, table: &str, lines: &str| {
        format!("{config}[{CRI}.registry.{table}]\n{lines}\n")
    };
    let skip = "insecure_skip_verify = true";
    let login = "username = \"u\"\npassword = \"p\"";
    let mirror = "endpoint = [\"https://m.example.org\"]";
    vec![
        HostKind::new("config_path unset, version 2", &unset)
            .restart_required(&["config.toml does not set config_path"]),
        HostKind::new("a list as config_path", config.replace(SET, LIST))
            .in_place(&["/etc/docker/certs.d is searched after /etc/containerd/certs.d"]),
        HostKind::new("a mirrors table", and(&unset, "mirrors.\"gcr.io\"", mirror))
            .restart_required(&["config.toml has a mirrors table"]),
        HostKind::new("a tls table", and(&unset, "configs.\"company.example.com\".tls", skip))
            .restart_required(&["configs.\"company.example.com\".tls"]),
        HostKind::new("an auth table", and(config, "configs.\"company.example.com\".auth", login)),
        HostKind::new("a table in an import", &imports)
            .file(DROP_IN, format!("version = 2\n[{CRI}]\n"))
            .refused(&["drop-in-holds: ", "containerd before 2.0 reads the whole table"])
            .not_started(),
        HostKind::new("another version in an import", &imports)
            .file(DROP_IN, "version = 1\n")
            .refused(&["drop-in-version: "])
            .not_started(),
        HostKind::new("no version", "root = \"/var/lib/containerd\"\n")
            .restart_required(&["config.toml has no version"])
            .not_started(),
        HostKind::new("no version, and plugins", unset.replace("version = 2\n", ""))
            .refused(&["version-one-plugins: ", "convert the file to version 2"])
            .not_started(),
        HostKind::new("a version of containerd 2", config.replace("version = 2", "version = 3"))
            .refused(&["config-version-unknown: ", "at most 2, found 3"])
            .not_started(),
    ]
}

/// States of one host that are more than files.
fn states(cluster: &HelmCluster, config: &str) -> Result<()> {
    let node = &cluster.node;
    let ordinary = || HostKind::new("an ordinary host", config);
    let in_node = |line: &str| -> Result<()> {
        let status = node.inside("sh").args(["-c", line]).status()?;
        ensure!(status.success(), "{line}: {status}");
        Ok(())
    };

    let kind = HostKind { name: "no record of a start", ..ordinary() };
    prepare(node, &kind)?;
    in_node("rm /run/systemd/units/invocation:containerd.service")?;
    restart_agent(cluster, node)?;
    cluster.wait_reason(node, "NeedsRestart", "StartUnknown")?;
    cluster.wait_reason(node, "Applied", "InPlace")?;

    let kind = HostKind::new("no config.toml", "")
        .restart_required(&["there is no /etc/containerd/config.toml"])
        .not_started();
    prepare(node, &kind)?;
    fs::remove_file(node.etc_containerd().join(CONFIG))?;
    expect(cluster, node, &kind)?;

    let kind = HostKind::new("config.toml is a link", config.replace(SET, ""))
        .refused(&["link: /etc/containerd/config.toml is a symbolic link to real.toml"]);
    prepare(node, &kind)?;
    let real = node.etc_containerd().join("real.toml");
    fs::rename(node.etc_containerd().join(CONFIG), &real)?;
    symlink("real.toml", node.etc_containerd().join(CONFIG))?;
    node.restart_containerd()?;
    expect(cluster, node, &kind)?;

    let kind = ordinary()
        .restart_required(&["containerd has not been restarted since its configuration changed"]);
    prepare(node, &HostKind::new("", config.replace(SET, "")))?;
    fs::write(node.etc_containerd().join(CONFIG), config)?;
    expect(cluster, node, &HostKind { name: "config_path is not read yet", ..kind })?;

    let kind = ordinary().refused(&["ledger: ", "use the version of image-swap that wrote it"]);
    prepare(node, &kind)?;
    let state = node.state().join("node");
    fs::create_dir_all(&state)?;
    fs::write(state.join("ledger.json"), "{\"version\": 2}")?;
    expect(cluster, node, &HostKind { name: "a ledger of a later release", ..kind })?;

    let kind = ordinary().refused(&["not-mounted: ", "mounted read-only"]);
    prepare(node, &kind)?;
    in_node("mount -t tmpfs -o ro none /etc/containerd/certs.d")?;
    expect(cluster, node, &HostKind { name: "a read-only directory of mirrors", ..kind })?;
    in_node("umount /etc/containerd/certs.d")?;
    look(cluster, node, &ordinary())?;

    // The mirrors of another tool give way to those of the declaration.
    let kind = HostKind::new("hosts.toml of AKS", config)
        .file(MCR, MCR_TEXT)
        .in_place(&["/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml is of another tool"]);
    prepare(node, &kind)?;
    restart_agent(cluster, node)?;
    cluster.wait_report(node, kind.name, |status| kind.is_reported(status))?;
    let found = NodeFiles::of(node)?.text(&format!("/etc/containerd/{MCR}")).unwrap_or_default();
    let target = "https://harbor.example.org/v2/airgap-images/mcr.microsoft.com";
    ensure!(found.contains(target) && !found.contains("azurecr"), "{found}");
    let kept = NodeFiles::of(node)?.text("/var/lib/image-swap/node/ledger.json");
    ensure!(kept.is_some_and(|it| it.contains("mcr.microsoft.com")), "the ledger has the file");
    Ok(())
}

/// Makes `node` a host of `kind`, and checks what its agent reports and changes.
fn look(cluster: &HelmCluster, node: &Node, kind: &HostKind) -> Result<()> {
    prepare(node, kind)?;
    expect(cluster, node, kind)
}

/// Makes `node` a host of `kind` that image-swap has never changed.
fn prepare(node: &Node, kind: &HostKind) -> Result<()> {
    let folder = node.etc_containerd();
    let read = |folder: &Path| fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
    let of_host = read(&folder)?.into_iter().filter(|entry| entry.file_name() != "certs.d");
    let others = read(&folder.join("certs.d"))?.into_iter().chain(read(&node.state())?);
    for entry in of_host.chain(others) {
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    for (path, text) in &kind.files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("expected a folder")?)?;
        fs::write(path, text)?;
    }
    if kind.is_started {
        node.restart_containerd()?;
    }
    Ok(())
}

/// Checks the report of the next agent of `node` and the files that it leaves. A host with the
/// declaration pulls from the mirror.
fn expect(cluster: &HelmCluster, node: &Node, kind: &HostKind) -> Result<()> {
    cluster.step(&format!("{}: {}", node.name(), kind.name));
    let before = NodeFiles::whole(node)?;
    let earlier = cluster.wait_report(node, "any report", |_| true)?;
    let is_in_place = kind.reason == "InPlace";
    ensure!(is_in_place || !kind.is_reported(&earlier), "the last report is alike: {earlier}");
    restart_agent(cluster, node)?;
    if is_in_place {
        // The last report may be alike.
        until(&format!("the mirrors of {}", node.name()), DEADLINE, || {
            let files = NodeFiles::of(node).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
            files.text(DOCKER).map(drop).ok_or_else(|| Wait::NotYet(format!("{files:?}")))
        })?;
    }
    let status = cluster.wait_report(node, kind.name, |status| kind.is_reported(status))?;
    if is_in_place {
        pull_on(cluster, node, &[FIRST])?;
    }
    let mut changes = NodeFiles::whole(node)?.changes(&before);
    // A host that has a ledger keeps the lock of the agent.
    changes.retain(|it| !it.starts_with("/var/lib/image-swap/node/lock is new"));
    let written = ["/etc/containerd/certs.d/", "/var/lib/image-swap/"];
    let is_own = |it: &String| {
        let is_below = written.iter().any(|path| it.starts_with(path));
        is_in_place && is_below && it.contains(" is new: ")
    };
    ensure!(changes.iter().all(is_own), "{}: {status}: {changes:?}", kind.name);
    Ok(())
}

/// Replaces the pod of the agent on `node`: the new one looks at the host when it starts.
fn restart_agent(cluster: &HelmCluster, node: &Node) -> Result<()> {
    let node = format!("--field-selector=spec.nodeName={}", node.name());
    cluster.kubectl(&["delete", "pods", "--namespace", AGENTS, &node, "--now"])?;
    Ok(())
}

/// Returns config.toml of a node.
fn config(node: &Node) -> Result<String> {
    let config = fs::read_to_string(node.etc_containerd().join(CONFIG))?;
    ensure!(config.contains(SET), "expected {SET:?}: {config}");
    Ok(config)
}
