//! Processes and files end with their owner.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use image_swap_testbed::{ControlPlane, Node, NodeOptions, Options, Process, Wait, until};

use crate::{Outcome, parts, traces};

/// Marks the process that the test kills.
const VICTIM: &str = "IMAGE_SWAP_TESTBED_VICTIM";

/// Starts servers and files, and waits until the next test kills it. Alone it does nothing.
#[test]
fn victim() -> Outcome {
    if env::var_os(VICTIM).is_none() {
        return Ok(());
    }
    let control_plane = ControlPlane::start(parts(), &Options::default())?;
    let mut out = std::io::stderr();
    writeln!(out, "dir {}", control_plane.kubeconfig().parent().unwrap().display())?;
    for process in control_plane.processes() {
        writeln!(out, "pid {}", process.pid().unwrap())?;
    }
    let node = Node::start(parts(), &control_plane, &NodeOptions::default())?;
    writeln!(out, "dir {}", node.etc_containerd().parent().unwrap().display())?;
    writeln!(out, "node {}", node.name())?;
    for process in node.processes() {
        writeln!(out, "pid {}", process.pid().unwrap())?;
    }
    writeln!(out, "ready")?;
    loop {
        thread::park();
    }
}

#[test]
#[ignore = "needs a node: cargo xtask test"]
fn servers_and_files_end_with_a_killed_process() -> Outcome {
    let mut victim = Command::new(env::current_exe()?)
        .args(["--exact", "end::victim", "--nocapture"])
        .env(VICTIM, "1")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines();
    let lines_of_victim: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| line != "ready").collect();
    victim.kill()?;
    victim.wait()?;
    let paths: Vec<_> = lines_of_victim
        .iter()
        .filter_map(|line| match line.split_once(' ')? {
            ("dir", path) => Some(path.to_owned()),
            ("pid", pid) => Some(format!("/proc/{pid}")),
            _ => None,
        })
        .collect();
    let node = lines_of_victim.iter().find_map(|line| line.strip_prefix("node "));
    assert_eq!(paths.len(), 7, "directories and processes: {lines_of_victim:?}");
    until("nothing to be left", Duration::from_mins(1), || {
        let left = paths.iter().filter(|path| Path::new(path).exists()).cloned();
        match left.chain(node.map(traces).into_iter().flatten()).next() {
            Some(left) => Err(Wait::NotYet(left)),
            None => Ok(()),
        }
    })?;
    Ok(())
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn servers_and_files_end_with_the_value() -> Outcome {
    let control_plane = ControlPlane::start(parts(), &Options::default())?;
    let dir = control_plane.kubeconfig().parent().unwrap().to_owned();
    let pids: Vec<_> = control_plane.processes().filter_map(Process::pid).collect();
    assert_eq!(pids.len(), 2);
    drop(control_plane);
    assert!(!dir.exists());
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
    Ok(())
}
