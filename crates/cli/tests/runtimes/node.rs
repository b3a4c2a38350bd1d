//! `image-swap node`, run on a host.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use image_swap_lab::{Daemon, Host};

use crate::declared::Declared;

/// What one run came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

impl Ran {
    /// Runs it to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        Self { code: status.code(), said }
    }
}

/// `image-swap node apply`, as it is run where a restart is allowed. It is not
/// run yet.
pub(crate) fn apply(host: &Host, daemon: &Daemon, declared: &Declared, more: &[&str]) -> Command {
    let mut command = verb(host, daemon, "apply");
    command.args(["--registry-info", &declared.write(host)]).arg("--header-over-http").args(more);
    command
}

/// `image-swap node restore`
pub(crate) fn restore(host: &Host, daemon: &Daemon) -> Command {
    verb(host, daemon, "restore")
}

fn verb(host: &Host, daemon: &Daemon, verb: &str) -> Command {
    let mut command = host.inside(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["node", verb, "--runtime", "containerd", "--restart", "allow"]);
    command.args(["--restart-command", &daemon.restart_command()]);
    command
}

/// Every file and directory of `/etc` on a host, with mode and bytes; beside
/// them what we keep for ourselves.
pub(crate) fn tree(host: &Host) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    for top in ["etc", "var/lib/image-swap"] {
        walk(&host.root(), &host.root().join(top), &mut tree);
    }
    tree
}

fn walk(root: &Path, dir: &Path, tree: &mut BTreeMap<String, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let mode = entry.metadata().unwrap().permissions().mode();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let is_dir = entry.file_type().unwrap().is_dir();
        let bytes = if is_dir { Vec::new() } else { fs::read(&path).unwrap() };
        tree.insert(name, (mode, bytes));
        if is_dir {
            walk(root, &path, tree);
        }
    }
}
