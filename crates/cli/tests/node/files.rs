//! Hosts on which `apply` needs no restart, and hosts on which it would need one.

use std::{fs, os::unix::fs::PermissionsExt};

use image_swap_lab::MIRROR;

use crate::{Outcome, containerd_host::ContainerdHost};

/// A config.toml as image-builder makes it, with `config_path`.
pub(crate) const WITH_PATH: &str = r#"## template: jinja

# Use config version 2 to enable new configuration fields.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.9"
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
"#;

/// A config.toml without `config_path`.
pub(crate) const WITHOUT_PATH: &str = r#"## template: jinja

# Use config version 2 to enable new configuration fields.
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.9" # kept
"#;

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn host_with_config_path_is_configured_and_restored() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITH_PATH);
    stage.start();
    let before = stage.tree();
    assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");

    let ran = stage.node("plan", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("+++"), "{ran:?}");
    assert_eq!(stage.tree(), before, "a plan changes nothing");

    let ran = stage.node("apply", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    let applied = stage.tree();
    assert_eq!(stage.read("/etc/containerd/config.toml").unwrap(), WITH_PATH);

    // A second apply writes no file.
    let ran = stage.node("apply", &["--output", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(r#""result":"in-place""#), "{ran:?}");
    assert_eq!(stage.tree(), applied);
    let ran = stage.node("status", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");

    let ran = stage.node("restore", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.tree(), before);
    assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn plan_without_permitted_restart_changes_nothing() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITHOUT_PATH);
    stage.start();
    let before = stage.tree();
    for verb in ["plan", "apply"] {
        let ran = stage.node(verb, &[]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let output = [ran.stdout, ran.stderr].concat();
        assert!(output.contains("--restart allow"), "{output}");
        assert_eq!(stage.tree(), before, "{verb}");
    }
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn foreign_changes_are_reported_and_kept() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITH_PATH);
    stage.start();
    assert_eq!(stage.node("apply", &[]).code, 0);
    let path = "/etc/containerd/certs.d/quay.io/hosts.toml";
    let written = stage.read(path).unwrap();
    fs::write(stage.at(path), [&written, "# another program\n"].concat())?;
    let ran = stage.node("status", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("changed"), "{ran:?}");
    fs::remove_file(stage.at(path))?;
    let ran = stage.node("status", &["--output", "json"]);
    assert!(ran.stdout.contains(r#""state":"gone""#), "{ran:?}");
    let ran = stage.node("apply", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.read(path).unwrap(), written);
    Ok(())
}

// guarantee: 6b, 6c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn credential_is_only_in_private_files() -> Outcome {
    let options = image_swap_lab::HostOptions {
        access: image_swap_lab::Access::Basic(crate::robot()),
        ..Default::default()
    };
    let stage = ContainerdHost::with("2.4", &options)?;
    stage.config(WITH_PATH);
    stage.start();
    let secret = [&crate::robot().password, "cm9ib3Q"].map(ToString::to_string);
    for verb in ["plan", "apply", "status", "restore"] {
        for output in ["text", "json"] {
            let ran = stage.node(verb, &["--output", output]);
            let output = [ran.stdout, ran.stderr].concat();
            assert!(secret.iter().all(|secret| !output.contains(secret)), "{verb}: {output}");
        }
        if verb == "apply" {
            assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
            for (path, (mode, bytes)) in stage.tree() {
                let text = String::from_utf8_lossy(&bytes);
                if secret.iter().any(|secret| text.contains(secret)) {
                    assert_eq!(mode & 0o077, 0, "{}", path.display());
                }
            }
            let path = stage.at("/etc/containerd/certs.d/quay.io/hosts.toml");
            assert_eq!(fs::metadata(path)?.permissions().mode() & 0o777, 0o600);
        }
    }
    Ok(())
}
