//! Trees of hosts with files of other tools, without any runtime.

use std::{fs, path::Path, process::Command};

use crate::Outcome;

const MIRRORS: &str =
    "docker.io::harbor.example.org/m/docker.io,quay.io::harbor.example.org/m/quay.io";
const HOSTS: &str = "server = \"https://docker.io\"\n[host.\"https://harbor.example.org/v2/m/docker.io\"]\n  \
                     skip_verify = true\n  [host.\"https://harbor.example.org/v2/m/docker.io\".header]\n    \
                     authorization = \"Basic dTpw\"\n";
const WITH_PATH: (&str, &str) = (
    "etc/containerd/config.toml",
    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n",
);

/// Returns a tree with these files.
fn tree(files: &[(&str, &str)]) -> Result<tempfile::TempDir, std::io::Error> {
    let tree = tempfile::tempdir()?;
    for (path, text) in files {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, text)?;
    }
    Ok(tree)
}

/// Runs `image-swap node VERB --root TREE`; returns its exit code and all that it printed.
fn node(tree: &Path, verb: &str, more: &[&str]) -> Result<(Option<i32>, String), std::io::Error> {
    let mut command = Command::new(crate::containerd_host::PROGRAM);
    command.args(["node", verb, "--root"]).arg(tree);
    if verb != "restore" && !more.contains(&"--mirrors") {
        command.args(["--mirrors", MIRRORS]);
    }
    let output = command.args(more).output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.code(), text))
}

/// Plans for a tree of `files`, and expects this exit code and these texts. A plan that is not
/// refused is applied and restored.
fn plans(
    files: &[(&str, &str)],
    more: &[&str],
    code: i32,
    parts: &[&str],
) -> Result<(), std::io::Error> {
    let tree = tree(files)?;
    let (found, text) = node(tree.path(), "plan", more)?;
    assert_eq!(found, Some(code), "{files:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("dTpw"), "{text}");
    if code != 0 || more.contains(&"--restart") {
        return Ok(());
    }
    let (found, text) = node(tree.path(), "apply", more)?;
    assert_eq!(found, Some(0), "{text}");
    assert!(text.contains("was not checked: with --root"), "{text}");
    let (found, text) = node(tree.path(), "restore", &[])?;
    assert_eq!(found, Some(0), "{text}");
    for (path, before) in files {
        assert_eq!(fs::read_to_string(tree.path().join(path))?, *before, "{path}");
    }
    Ok(())
}

#[test]
fn certificates_and_headers_of_other_tools_are_kept() -> Outcome {
    let hub = ("etc/containerd/certs.d/docker.io/hosts.toml", HOSTS);
    let kept = ["skip_verify = true", "are kept for the same hosts"];
    plans(&[WITH_PATH, hub], &[], 0, &kept)?;
    let certificate = include_str!("../../../core/tests/data/ca-one.pem");
    let key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    let layout = "etc/containerd/certs.d/harbor.example.org";
    let [ca, cert, client] =
        ["ca.crt", "client.cert", "client.key"].map(|name| format!("{layout}/{name}"));
    let files = [WITH_PATH, (&*ca, certificate), (&*cert, certificate), (&*client, key)];
    plans(&files, &[], 0, &[&format!("client = [[\"/{cert}\"")])?;
    Ok(())
}

#[test]
fn policies_of_registries_conf_are_kept_or_reported() -> Outcome {
    let file = "etc/containers/registries.conf.d/99-policy.conf";
    let longer = "[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"r.example.net/lib\"\n";
    plans(
        &[(file, longer)],
        &["--runtime", "crio"],
        0,
        &["docker.io/library, longer than docker.io"],
    )?;
    let main = "etc/containers/registries.conf";
    let blocked = "[[registry]]\nprefix = \"quay.io\"\nlocation = \"quay.io\"\nblocked = true\n";
    plans(&[(main, blocked)], &["--runtime", "podman"], 0, &["+blocked = true"])?;
    let invalid = "[[registry]]\nlocation = \"https://r.example.net\"\n";
    let nothing = ["every pull fails while it is there"];
    plans(&[(main, invalid)], &["--runtime", "crio"], 1, &nothing)?;
    Ok(())
}

#[test]
fn file_that_the_runtime_reads_is_edited() -> Outcome {
    let docker = ["--runtime", "docker", "--mirrors", "docker.io::harbor.example.org"];
    let unit = "etc/systemd/system/docker.service.d/override.conf";
    let start =
        "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --config-file=/opt/daemon.json\n";
    plans(&[(unit, start), ("opt/daemon.json", "{}\n")], &docker, 0, &["+++ /opt/daemon.json"])?;
    plans(&[("etc/docker/daemon.json", "")], &docker, 0, &["+++ /etc/docker/daemon.json"])?;
    let snap = ("var/snap/docker/current/config/daemon.json", "{}");
    plans(&[snap], &docker, 1, &["snap restart docker"])?;
    let k3s = ("etc/rancher/k3s/config.yaml", "private-registry: /opt/r.yaml\ndata-dir: /data\n");
    plans(&[k3s], &["--restart", "allow"], 0, &["+++ /opt/r.yaml"])?;
    let k0s = ("etc/k0s/containerd.toml", "# k0s_managed=true\nversion = 2\n");
    plans(&[k0s], &[], 1, &["/etc/k0s/containerd.d/image-swap.toml", "config_path"])?;
    let microk8s = ("var/snap/microk8s/current/args/certs.d/docker.io/hosts.toml", HOSTS);
    plans(
        &[microk8s],
        &[],
        0,
        &["+++ /var/snap/microk8s/current/args/certs.d/quay.io/hosts.toml"],
    )?;
    Ok(())
}

// guarantee: 1b
#[test]
fn inexpressible_rules_are_an_error() -> Outcome {
    let daemon = ("etc/docker/daemon.json", "{}");
    plans(&[daemon], &["--runtime", "docker"], 1, &["docker can express none of 2 rules"])?;
    Ok(())
}

#[test]
fn machine_image_is_prepared_for_a_version() -> Outcome {
    let tree = tree(&[("etc/containerd/config.toml", "version = 2\n")])?;
    let (code, text) = node(tree.path(), "apply", &[])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--runtime-version"), "{text}");
    let version = ["--runtime-version", "2.1"];
    let (code, text) = node(tree.path(), "plan", &version)?;
    assert_eq!((code, text.contains("no restart")), (Some(0), true), "{text}");
    let (code, text) = node(tree.path(), "apply", &version)?;
    assert_eq!(code, Some(0), "{text}");
    let config = fs::read_to_string(tree.path().join("etc/containerd/config.toml"))?;
    assert!(config.contains("config_path = \"/etc/containerd/certs.d\""), "{config}");
    let (code, text) = node(tree.path(), "restore", &version)?;
    assert_eq!(code, Some(0), "{text}");
    let config = fs::read_to_string(tree.path().join("etc/containerd/config.toml"))?;
    assert_eq!(config, "version = 2\n");
    Ok(())
}
