//! Restarts: their trial, their watchdog and their rollback.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use image_swap_lab::{Answers, HostOptions, MIRROR};
use image_swap_testbed::{Wait, until};

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, DEADLINE},
    files::WITHOUT_PATH,
    images::TAG,
    lab,
};

const CONFIG: &str = "/etc/containerd/config.toml";

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn fresh_host_is_configured_restarted_and_restored() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let default = containerd.default_configuration()?;
        for config in [None, Some(WITHOUT_PATH.to_owned()), Some(default)] {
            let stage = ContainerdHost::of(containerd, content, &HostOptions::default())?;
            if let Some(config) = &config {
                stage.config(config);
            }
            stage.start();
            let before = stage.tree();
            let image = format!("quay.io/team/app:{TAG}");
            let ran = stage.allowed("apply", &["--image", &image]);
            assert_eq!(ran.code, 0, "{}: {ran:?}", containerd.version);
            assert!(ran.stderr.contains(&format!("pulls {image}")), "{ran:?}");
            assert_eq!(stage.pull("quay.io/team/app")?, MIRROR, "{}", containerd.version);
            assert_eq!(stage.node("apply", &[]).code, 0, "nothing is left to do");

            let ran = stage.node("restore", &[]);
            assert_eq!(ran.code, 1, "the edit of config.toml needs a restart too: {ran:?}");
            let ran = stage.allowed("restore", &[]);
            assert_eq!(ran.code, 0, "{}: {ran:?}", containerd.version);
            assert_eq!(stage.tree(), before);
            assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
        }
    }
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn configuration_that_stops_cri_is_refused_before_changes() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let stage = ContainerdHost::of(containerd, content, &HostOptions::default())?;
        stage.config(WITHOUT_PATH);
        stage.start();
        // The plan does not check the error: an unknown runtime type.
        let dead = [
            WITHOUT_PATH,
            "    [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n      default_runtime_name = \"none\"\n",
        ]
        .concat();
        stage.config(&dead);
        let before = stage.tree();
        let ran = stage.allowed("apply", &[]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("CRI does not start with the new configuration"), "{ran:?}");
        assert!(ran.stderr.contains("the host is as it was"), "{ran:?}");
        assert_eq!(stage.tree(), before);
        stage.client()?.version()?;
    }
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn failed_restart_is_rolled_back() -> Outcome {
    let (stage, before) = ContainerdHost::started(WITHOUT_PATH)?;
    let image = format!("quay.io/team/app:{TAG}");

    // The command fails.
    let ran = stage.node("apply", &["--restart", "allow", "--restart-command", "echo no; exit 3"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("exit status: 3 no"), "{ran:?}");
    assert_eq!(stage.tree(), before);

    // The mirror serves no image, and the public registry is not allowed.
    stage.mirror.set(Answers::Missing);
    let ran = stage.allowed("apply", &["--image", &image, "--fallback", "never"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("which it could pull before"), "{ran:?}");
    assert!(ran.stderr.contains("the host is as it was"), "{ran:?}");
    assert_eq!(stage.tree(), before);
    assert_eq!(stage.pull("quay.io/team/app")?, "quay.io");
    Ok(())
}

/// Every server that a configuration of version 4 can set up, and no `config_path`.
const SERVERS: &str = r"version = 4

[plugins.'io.containerd.grpc.v1.cri']
  disable_tcp_service = false
[plugins.'io.containerd.server.v1.debug']
  address = '/run/containerd/debug.sock'
[plugins.'io.containerd.server.v1.grpc']
  address = '/run/containerd/containerd.sock'
[plugins.'io.containerd.server.v1.grpc-tcp']
  address = '127.0.0.1:1234'
[plugins.'io.containerd.server.v1.metrics']
  address = '127.0.0.1:1338'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '/run/containerd/containerd.sock.ttrpc'
";

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn trial_runs_next_to_every_version_4_server() -> Outcome {
    let (stage, before) = ContainerdHost::started(SERVERS)?;
    stage.applies_and_restores(&before)
}

/// A registry table under the name that version 4 ignores.
const OLD_NAME: &str = "version = 4

[plugins.'io.containerd.grpc.v1.cri'.registry]
  config_path = '/etc/containerd/certs.d'
";

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn old_plugin_name_in_version_4_is_ignored() -> Outcome {
    let (stage, before) = ContainerdHost::started(OLD_NAME)?;
    stage.applies_and_restores(&before)
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn drop_in_may_be_newer_than_config_toml() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config("version = 2\nimports = ['conf.d/*.toml']\n");
    let drop_in = OLD_NAME.replace("grpc.v1.cri", "cri.v1.images");
    stage.host.write("/etc/containerd/conf.d/registry.toml", &drop_in)?;
    stage.start();
    let before = stage.tree();
    let ran = stage.node("apply", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    let ran = stage.node("restore", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.tree(), before);
    Ok(())
}

/// Starts an apply that has changed the configuration. Its restart waits for a file and then fails;
/// the next restart works.
fn restarting(stage: &ContainerdHost) -> std::io::Result<Child> {
    let began = stage.at("/run/containerd/began");
    let go = stage.at("/run/containerd/go");
    let command = format!(
        "if [ ! -f {go} ]; then touch {go} {began}; read -r word < {go}.word; exit 9; fi; {restart}",
        go = go.display(),
        began = began.display(),
        restart = stage.restart_command()
    );
    let pipe = format!("{}.word", go.display());
    assert!(stage.host.inside("mkfifo").arg(pipe).status()?.success());
    let mut apply = stage.command("apply", &["--restart", "allow", "--restart-command", &command]);
    let apply = apply.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    until("the restart", DEADLINE, || {
        began.exists().then_some(()).ok_or_else(|| Wait::NotYet("not begun".into()))
    })
    .unwrap();
    assert_ne!(stage.read(CONFIG).unwrap(), WITHOUT_PATH, "it is swapped by now");
    Ok(apply)
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn kill_during_restart_is_rolled_back() -> Outcome {
    let (stage, before) = ContainerdHost::started(WITHOUT_PATH)?;
    let mut apply = restarting(&stage)?;
    end_inside(&stage, "apply", "KILL");
    apply.wait()?;

    // The next run waits for the rollback, and then does the work.
    stage.applies_and_restores(&before)
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn stop_by_service_manager_is_rolled_back() -> Outcome {
    let (stage, before) = ContainerdHost::started(WITHOUT_PATH)?;
    let mut apply = restarting(&stage)?;
    for verb in ["guard", "apply"] {
        end_inside(&stage, verb, "TERM");
    }
    apply.wait()?;
    // The rollback holds the lock until it is complete.
    let lock = stage.at("/var/lib/image-swap/node/lock");
    assert!(Command::new("flock").arg(lock).arg("true").status()?.success());
    assert_eq!(stage.read(CONFIG).unwrap(), WITHOUT_PATH);
    stage.client()?.version()?;
    let ran = stage.node("status", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("received SIGTERM"), "{ran:?}");
    let ran = stage.allowed("apply", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = stage.node("status", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    stage.restores(&before);
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn apply_without_its_watchdog_rolls_back() -> Outcome {
    let (stage, before) = ContainerdHost::started(WITHOUT_PATH)?;
    let apply = restarting(&stage)?;
    end_inside(&stage, "guard", "KILL");
    // The command fails now.
    fs::write(stage.at("/run/containerd/go.word"), "word\n")?;
    let output = apply.wait_with_output()?;
    let stderr = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the host is as it was"), "{stderr}");
    assert_eq!(stage.tree(), before);
    stage.client()?.version()?;
    Ok(())
}

/// Kills an apply and its watchdog after the runtime has ended. The runtime does not start again.
fn killed_half_way(stage: &ContainerdHost) -> Outcome {
    let restart = format!(
        "kill -KILL $(cat /run/containerd/test/pid); {}; {}",
        kill("guard", "KILL"),
        kill("apply", "KILL")
    );
    let options = ["--restart", "allow", "--restart-command", &restart];
    let status = stage.command("apply", &options).stderr(Stdio::null()).status()?;
    assert!(!status.success());
    assert_ne!(stage.read(CONFIG).unwrap(), WITHOUT_PATH, "it is swapped by now");
    // The kernel closes the socket of a killed process a moment later.
    until("the end of the runtime", DEADLINE, || match stage.client() {
        Ok(_) => Err(Wait::NotYet("its socket accepts connections".to_owned())),
        Err(_) => Ok(()),
    })?;
    let ran = stage.node("status", &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("interrupted"), "{ran:?}");
    let ran = stage.node("plan", &[]);
    assert!(ran.stderr.contains("its watchdog was killed"), "{ran:?}");
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn interrupted_change_is_reported_and_rolled_back_first() -> Outcome {
    let (stage, before) = ContainerdHost::started(WITHOUT_PATH)?;
    killed_half_way(&stage)?;

    // The runtime does not start with the written configuration.
    let start = stage.restart_command();
    let unwilling = format!("! grep -q config_path {CONFIG} && {start}");
    let ran = stage.node("apply", &["--restart", "allow", "--restart-command", &unwilling]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("rolling back a change"), "{ran:?}");
    assert!(ran.stderr.contains("the host is as it was"), "{ran:?}");
    assert_eq!(stage.tree(), before);
    stage.client()?.version()?;

    // A rollback that fails stays pending, and blocks other changes.
    killed_half_way(&stage)?;
    let ran = stage.node("apply", &["--restart", "allow", "--restart-command", "exit 7"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("must be rolled back first"), "{ran:?}");
    assert!(stage.node("status", &[]).stdout.contains("interrupted"));
    stage.restores(&before);
    stage.client()?.version()?;
    Ok(())
}

// guarantee: 5b, 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn foreign_files_survive_an_interrupted_change() -> Outcome {
    let stage = ContainerdHost::set()?;
    stage.config(WITHOUT_PATH);
    stage.start();
    killed_half_way(&stage)?;
    let addition = "[debug]\n  level = \"info\" # another program\n";
    stage.config(&[&stage.read(CONFIG).unwrap(), addition].concat());
    let ran = stage.allowed("restore", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.read(CONFIG).unwrap(), [WITHOUT_PATH, addition].concat());
    stage.client()?.version()?;
    assert!(!stage.node("status", &[]).stdout.contains("interrupted"));
    Ok(())
}

/// Sends a signal to the process of `node VERB`, from inside the host.
fn end_inside(stage: &ContainerdHost, verb: &str, signal: &str) {
    let status = stage.host.inside("sh").args(["-c", &kill(verb, signal)]).status().unwrap();
    assert!(status.success());
}

/// Returns the shell commands that send `signal` to the process of `node VERB`.
fn kill(verb: &str, signal: &str) -> String {
    format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '[n]ode {verb}' && kill -{signal} ${{p#/proc/}}; done; true"
    )
}
