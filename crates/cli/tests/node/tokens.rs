//! Registries that accept only tokens, and files that no program has read yet.

use image_swap_lab::{Access, HostOptions};

use crate::{
    Outcome,
    containerd_host::ContainerdHost,
    files::{WITH_PATH, WITHOUT_PATH},
    robot,
};

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn credential_for_token_registry_goes_to_config_toml() -> Outcome {
    let options = HostOptions { access: Access::Bearer(robot()), ..Default::default() };
    let stage = ContainerdHost::with("1.6", &options)?;
    stage.config(WITH_PATH);
    stage.start();
    let before = stage.tree();
    // A header alone would not do, so a restart is needed though `config_path` is set.
    let ran = stage.node("apply", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    stage.applies()?;
    // The result is stored, and used when the registry is not contacted.
    let applied = stage.tree();
    let ran = stage.node("plan", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("nothing to do"), "{ran:?}");
    for verb in ["apply", "status"] {
        let ran = stage.node(verb, &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let image = ["--image", "quay.io/team/app:1.25", "--output", "json"];
    let ran = stage.node("verify", &image);
    assert!(ran.stdout.lines().any(|line| line.contains(r#""source":"mirror""#)), "{ran:?}");
    assert_eq!(stage.tree(), applied);
    stage.restores(&before);
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn config_path_changed_since_start_needs_restart() -> Outcome {
    // containerd 2 does not report its `config_path`.
    let stage = ContainerdHost::with("1.7", &HostOptions::default())?;
    stage.config(WITHOUT_PATH);
    stage.start();
    stage.config(WITH_PATH);
    let ran = stage.node("apply", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("nothing in the running containerd"), "{ran:?}");
    stage.applies()
}
