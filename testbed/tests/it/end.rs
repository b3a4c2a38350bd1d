//! That nothing stays behind.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use image_swap_testbed::{ControlPlane, Node, NodeOptions, Options, Process, Wait, or_skip, until};

use crate::{Outcome, parts, traces};

/// Set for the process that is going to be killed.
const VICTIM: &str = "IMAGE_SWAP_TESTBED_VICTIM";

/// Not a test of its own: what the process does that is going to be killed.
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
    let node = match or_skip(parts().node())? {
        Some(_) => Some(Node::start(parts(), &control_plane, &NodeOptions::default())?),
        None => None,
    };
    if let Some(node) = &node {
        writeln!(out, "dir {}", node.etc_containerd().parent().unwrap().display())?;
        writeln!(out, "node {}", node.name())?;
        for process in node.processes() {
            writeln!(out, "pid {}", process.pid().unwrap())?;
        }
    }
    writeln!(out, "ready")?;
    loop {
        thread::park();
    }
}

#[test]
fn servers_and_files_go_with_a_process_that_is_killed() -> Outcome {
    if or_skip(parts().servers())?.is_none() {
        return Ok(());
    }
    let mut victim = Command::new(env::current_exe()?)
        .args(["--exact", "end::victim", "--nocapture"])
        .env(VICTIM, "1")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines();
    let told: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| line != "ready").collect();
    victim.kill()?;
    victim.wait()?;
    let paths: Vec<_> = told
        .iter()
        .filter_map(|line| match line.split_once(' ')? {
            ("dir", path) => Some(path.to_owned()),
            ("pid", pid) => Some(format!("/proc/{pid}")),
            _ => None,
        })
        .collect();
    let node = told.iter().find_map(|line| line.strip_prefix("node "));
    let expected = if node.is_some() { 6 } else { 3 };
    assert_eq!(paths.len(), expected, "directories and processes: {told:?}");
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
fn servers_and_files_go_with_the_value() -> Outcome {
    let Some(control_plane) = or_skip(ControlPlane::start(parts(), &Options::default()))? else {
        return Ok(());
    };
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
