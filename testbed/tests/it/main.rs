//! The parts themselves, run for real. Where one is missing, CI fails and any
//! other machine is told what was skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod control_plane;
mod end;
mod node;
mod registry;

use std::{error::Error, io::Write, process::Command, sync::LazyLock};

use image_swap_testbed::Parts;

type Outcome = Result<(), Box<dyn Error>>;

/// All parts, looked for once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::for_tests(&announce).unwrap());
    &PARTS
}

/// What of a node is on the machine: its bridge, its rules, its cgroups (one of
/// them).
fn traces(node: &str) -> Vec<String> {
    let id = node.trim_start_matches("node-");
    let said = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let cgroups = said("find", &["/sys/fs/cgroup", "-type", "d", "-name", &format!("*{id}")]);
    let all = [
        said("ip", &["-oneline", "link", "show", "type", "bridge"]),
        said("iptables-save", &["-t", "nat"]),
        cgroups.lines().next().unwrap_or_default().to_owned(),
    ];
    all.iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.contains(id))
        .map(String::from)
        .collect()
}

/// Past the test harness, which would keep it until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
