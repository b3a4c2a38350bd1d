//! The parts themselves.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod control_plane;
mod control_planes;
mod end;
mod helm;
mod node;
mod registry;

use std::{error::Error, io::Write, process::Command, sync::LazyLock};

use image_swap_testbed::Parts;

type Outcome = Result<(), Box<dyn Error>>;

/// Returns all parts, found once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

/// Returns the traces of a node on the machine: its link, its rules, one of its cgroups.
fn traces(node: &str) -> Vec<String> {
    let id = node.trim_start_matches("node-");
    let output_of = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let cgroups = output_of("find", &["/sys/fs/cgroup", "-type", "d", "-name", &format!("*{id}")]);
    let all = [
        output_of("ip", &["-oneline", "link", "show", "type", "veth"]),
        output_of("iptables-save", &["-t", "nat"]),
        cgroups.lines().next().unwrap_or_default().to_owned(),
    ];
    all.iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.contains(id))
        .map(String::from)
        .collect()
}

/// Prints a step past the test harness, which shows only the output of failed tests.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
