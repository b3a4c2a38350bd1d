//! `image-swap agent --restore-only`, on a host that is a directory.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::run::{Ran, image_swap};

const CONFIG: &str = "etc/containerd/config.toml";
const HOSTS: &str = "etc/containerd/certs.d/docker.io/hosts.toml";

/// Returns a host with a containerd that reads mirror files.
fn host() -> TempDir {
    let host = tempfile::tempdir().unwrap();
    let at = |path: &str| host.path().join(path);
    fs::create_dir_all(at("etc/containerd/certs.d/docker.io")).unwrap();
    fs::create_dir_all(at("var/lib")).unwrap();
    let config = image_swap_testkit::config_with_path("/etc/containerd/certs.d");
    fs::write(at(CONFIG), config).unwrap();
    fs::write(at(HOSTS), "server = \"https://elsewhere.example.org\"\n").unwrap();
    host
}

/// Returns every path below `directory`, and the bytes of every file.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut tree = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tree.extend(self::tree(&path));
            tree.insert(path, Vec::new());
        } else {
            tree.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    tree
}

fn apply(host: &TempDir, options: &[&str]) {
    let root = host.path().to_str().unwrap();
    let verb = ["node", "apply", "--root", root, "--mirrors", "docker.io::h.io/d"];
    let ran = image_swap(&[&verb, options].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Runs the agent until it waits or ends, then sends SIGTERM.
fn restore(host: &TempDir) -> Ran {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_image-swap"))
        .args(["agent", "--restore-only", "--root"])
        .arg(host.path())
        // No API server is requested.
        .env("KUBECONFIG", "/nonexistent")
        .env_remove("NODE_NAME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap());
    let mut stderr = String::new();
    while log.read_line(&mut stderr).unwrap() > 0 {
        if stderr.contains("waiting for SIGTERM") {
            let pid = agent.id().to_string();
            assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
            log.read_to_string(&mut stderr).unwrap();
        }
    }
    let output = agent.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Ran { code: output.status.code().unwrap(), stdout, stderr }
}

// guarantee: 5a
#[test]
fn restore_only_returns_original_bytes() {
    let host = host();
    let before = tree(host.path());
    apply(&host, &["--runtime", "containerd"]);
    assert!(fs::read_to_string(host.path().join(HOSTS)).unwrap().contains("h.io"));
    let ran = restore(&host);
    assert_eq!((ran.code, &*ran.stdout), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("on this host are removed"), "{}", ran.stderr);
    assert_eq!(tree(host.path()), before);
    // A pod that is started again finds nothing to do.
    let ran = restore(&host);
    assert!(ran.code == 0 && ran.stderr.contains("nothing to restore"), "{}", ran.stderr);
    assert_eq!(tree(host.path()), before);
}

#[test]
fn restore_only_finds_the_recorded_runtime() {
    let host = host();
    // The host has two runtimes, and the other one is configured.
    fs::create_dir_all(host.path().join("etc/containers/registries.conf.d")).unwrap();
    let before = tree(host.path());
    apply(&host, &["--runtime", "crio", "--runtime-version", "1.30.0"]);
    assert_ne!(tree(host.path()), before);
    let ran = restore(&host);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("crio"), "{}", ran.stderr);
    assert_eq!(tree(host.path()), before);
}

#[test]
fn restore_only_names_the_command_for_a_restart() {
    let host = host();
    fs::create_dir_all(host.path().join("etc/rancher/k3s")).unwrap();
    apply(&host, &["--runtime", "k3s", "--runtime-version", "1.30.0"]);
    let applied = tree(host.path());
    let ran = restore(&host);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let command = "image-swap node restore --runtime k3s --restart allow";
    assert!(ran.stderr.contains(command), "{}", ran.stderr);
    assert_eq!(tree(host.path()), applied);
}

#[test]
fn restore_only_fails_without_a_mounted_directory() {
    let host = host();
    apply(&host, &["--runtime", "containerd"]);
    let ledger = "var/lib/image-swap/node/ledger.json";
    let recorded = fs::read(host.path().join(ledger)).unwrap();
    fs::rename(host.path().join("etc/containerd"), host.path().join("elsewhere")).unwrap();
    let ran = restore(&host);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("not-mounted"), "{}", ran.stderr);
    assert_eq!(fs::read(host.path().join(ledger)).unwrap(), recorded);

    fs::write(host.path().join(ledger), "{").unwrap();
    let ran = restore(&host);
    assert!(ran.code == 1 && ran.stderr.contains("not a ledger"), "{}", ran.stderr);
    fs::remove_dir_all(host.path().join("var")).unwrap();
    let ran = restore(&host);
    assert!(ran.code == 1 && ran.stderr.contains("no /var/lib below"), "{}", ran.stderr);
}

#[test]
fn restore_only_takes_no_flag_of_a_release() {
    for flag in [["--namespace", "a"], ["--runtime", "crio"], ["--kubeconfig", "a"]] {
        let ran = image_swap(&[&["agent", "--restore-only"], &flag[..]].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
    }
    let ran = image_swap(&["agent", "--node", "n"]);
    assert!(ran.code == 2 && ran.stderr.contains("--namespace"), "{}", ran.stderr);
}
