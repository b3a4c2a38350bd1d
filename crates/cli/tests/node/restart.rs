//! Restarts: tried before, watched over, taken back.

use std::{fs, process::Stdio};

use image_swap_lab::{Answers, MIRROR};
use image_swap_testbed::{Wait, until};

use crate::{
    Outcome,
    files::WITHOUT_PATH,
    images::TAG,
    stage::{DEADLINE, Stage},
};

const CONFIG: &str = "/etc/containerd/config.toml";

#[test]
fn a_fresh_host_is_told_and_restarted_and_given_back() -> Outcome {
    for config in [None, Some(WITHOUT_PATH)] {
        let Some(stage) = Stage::set()? else { return Ok(()) };
        if let Some(config) = config {
            stage.config(config);
        }
        stage.start();
        let before = stage.tree();
        let image = format!("quay.io/team/app:{TAG}");
        let ran = stage.allowed("apply", &["--image", &image]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains(&format!("pulls {image}")), "{ran:?}");
        assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
        assert_eq!(stage.node("apply", &[]).code, 0, "nothing is left to do");

        let ran = stage.node("restore", &[]);
        assert_eq!(ran.code, 1, "the edit of config.toml needs a restart too: {ran:?}");
        let ran = stage.allowed("restore", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(stage.tree(), before);
        assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
    }
    Ok(())
}

#[test]
fn a_configuration_that_stops_cri_is_refused_before_anything_changes() -> Outcome {
    let Some(stage) = Stage::set()? else { return Ok(()) };
    stage.config(WITHOUT_PATH);
    stage.start();
    // What is wrong is none of what a plan looks at: an unknown runtime type.
    let dead = [
        WITHOUT_PATH,
        "    [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n      default_runtime_name = \"none\"\n",
    ]
    .concat();
    stage.config(&dead);
    let before = stage.tree();
    let ran = stage.allowed("apply", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("CRI would not come up"), "{ran:?}");
    assert!(ran.stderr.contains("the host is as it was"), "{ran:?}");
    assert_eq!(stage.tree(), before);
    stage.client()?.version()?;
    Ok(())
}

#[test]
fn a_restart_after_which_nothing_answers_or_pulls_is_taken_back() -> Outcome {
    let Some(stage) = Stage::set()? else { return Ok(()) };
    stage.config(WITHOUT_PATH);
    stage.start();
    let before = stage.tree();
    let image = format!("quay.io/team/app:{TAG}");

    // The command fails.
    let ran = stage.node("apply", &["--restart", "allow", "--restart-command", "echo no; exit 3"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("exit status: 3 no"), "{ran:?}");
    assert_eq!(stage.tree(), before);

    // The mirror answers, and has nothing; the registry may not be asked.
    stage.mirror.set(Answers::Missing);
    let ran = stage.allowed("apply", &["--image", &image, "--fallback", "never"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("could be pulled before"), "{ran:?}");
    assert!(ran.stderr.contains("the host is as it was"), "{ran:?}");
    assert_eq!(stage.tree(), before);
    assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
    Ok(())
}

#[test]
fn whoever_is_killed_while_the_runtime_restarts_leaves_a_host_as_it_was() -> Outcome {
    let Some(stage) = Stage::set()? else { return Ok(()) };
    stage.config(WITHOUT_PATH);
    stage.start();
    let before = stage.tree();
    // The command says that it began, and does not end by itself.
    let began = stage.at("/run/containerd/began");
    let go = stage.at("/run/containerd/go");
    let command = format!(
        "if [ ! -f {go} ]; then touch {began}; sleep 1000; fi; {restart}",
        go = go.display(),
        began = began.display(),
        restart = stage.restart_command()
    );
    let mut apply = stage.command("apply", &["--restart", "allow", "--restart-command", &command]);
    let mut apply = apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the restart", DEADLINE, || {
        began.exists().then_some(()).ok_or_else(|| Wait::NotYet("not begun".into()))
    })?;
    assert_ne!(stage.read(CONFIG).unwrap(), WITHOUT_PATH, "it is swapped by now");
    fs::write(&go, "")?;
    kill_inside(&stage, "apply");
    apply.wait()?;

    // Whoever comes next waits for it to be taken back, and then does the work.
    let ran = stage.node("status", &[]);
    let _ = ran;
    let ran = stage.allowed("apply", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    let ran = stage.allowed("restore", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.tree(), before);
    Ok(())
}

/// Kills our program's process with this verb, as the host sees it.
fn kill_inside(stage: &Stage, verb: &str) {
    let script = format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '[i]mage-swap node {verb}' && kill -KILL ${{p#/proc/}}; done; true"
    );
    let status = stage.host.inside("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success());
}
