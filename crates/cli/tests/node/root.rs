//! A host whose `/` is mounted somewhere, as a pod sees it.

use std::{fs, os::unix::fs::symlink};

use image_swap_lab::MIRROR;

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, Ran, again},
    files::WITHOUT_PATH,
};

/// Runs `image-swap node VERB --root DIR --restart allow`, with the host's root as DIR.
fn from_outside(stage: &ContainerdHost, verb: &str) -> Ran {
    let root = stage.at("/host");
    let root = root.to_str().unwrap();
    let restart = stage.restart_command();
    let options = ["--root", root, "--restart", "allow", "--restart-command", &restart];
    let script = format!("mkdir -p {root} && mount --rbind / {root}");
    again(stage, &stage.command(verb, &options), &script)
}

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn mounted_host_is_restarted_with_its_own_programs() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITHOUT_PATH);
    stage.start();
    let before = stage.tree();
    let ran = from_outside(&stage, "apply");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("trying the new configuration"), "{ran:?}");
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    let ran = from_outside(&stage, "restore");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.tree(), before);
    Ok(())
}

#[test]
fn links_lead_nowhere_outside_the_host() -> Outcome {
    let tree = tempfile::tempdir()?;
    let outside = tempfile::tempdir()?;
    let at = |path: &str| tree.path().join(path);
    fs::create_dir_all(at("etc/containerd"))?;
    fs::write(
        at("etc/containerd/config.toml"),
        image_swap_testkit::config_with_path("/etc/containerd/certs.d"),
    )?;
    // Both links lead out of the tree, unless it is taken for `/`.
    symlink(outside.path(), at("etc/containerd/certs.d"))?;
    symlink(outside.path(), at("var"))?;
    let root = tree.path().to_str().unwrap();
    let args = ["node", "apply", "--root", root, "--mirrors", "docker.io::h.io/d"];
    let output = std::process::Command::new(crate::containerd_host::PROGRAM).args(args).output()?;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_dir(outside.path())?.count(), 0);
    let inside = tree.path().join(outside.path().strip_prefix("/")?);
    assert!(inside.join("docker.io/hosts.toml").exists());
    Ok(())
}
