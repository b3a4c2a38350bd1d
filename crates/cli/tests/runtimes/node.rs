//! `image-swap node`, run on a host.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use image_swap_lab::{Daemon, LabHost};

use crate::declared::Declared;

/// The result of one run.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Ran {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let output = String::from_utf8([stdout, stderr].concat()).unwrap();
        Self { code: status.code(), output }
    }
}

/// Names, modes and bytes of files; directories have none.
pub(crate) type Tree = BTreeMap<String, (u32, Vec<u8>)>;

/// Fails with the names that differ, not with all bytes.
#[track_caller]
pub(crate) fn assert_same(found: &Tree, expected: &Tree, reason: &str) {
    let names = found.keys().chain(expected.keys());
    let mut differ: Vec<&String> =
        names.filter(|name| found.get(*name) != expected.get(*name)).collect();
    differ.dedup();
    let text = |tree: &Tree, name: &String| match tree.get(name) {
        Some((mode, bytes)) => format!("{mode:o} {}", String::from_utf8_lossy(bytes)),
        None => "not there".to_owned(),
    };
    for name in &differ {
        assert_eq!(text(found, name), text(expected, name), "{reason}: {differ:?}");
    }
}

/// Writes the files of `tree` to their paths on the host.
pub(crate) fn restore_tree(host: &LabHost, tree: &Tree) {
    for (name, (mode, bytes)) in tree {
        let path = host.root().join(name);
        if mode & DIRECTORY != 0 {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::write(&path, bytes).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777)).unwrap();
    }
}

/// A directory's bit in its mode (`S_IFDIR`).
const DIRECTORY: u32 = 0o40000;

/// Splits a command inside a host into the words that enter the host and those that run there.
pub(crate) fn words(command: &Command) -> (Vec<OsString>, Vec<OsString>) {
    let all = [command.get_program()].into_iter().chain(command.get_args());
    let mut enter: Vec<OsString> = all.map(OsString::from).collect();
    let end = enter.iter().position(|word| word == "--").unwrap() + 1;
    let program = enter.split_off(end);
    (enter, program)
}

/// Returns the command `image-swap node apply` with a restart allowed.
pub(crate) fn apply(
    host: &LabHost,
    daemon: &Daemon,
    declared: &Declared,
    more: &[&str],
) -> Command {
    let mut command = verb(host, daemon, "apply");
    command.args(["--registry-info", &declared.write(host)]).arg("--header-over-http").args(more);
    command
}

/// Returns the command `image-swap node restore`.
pub(crate) fn restore(host: &LabHost, daemon: &Daemon) -> Command {
    verb(host, daemon, "restore")
}

/// Returns the command `image-swap node status`, which reports the last apply.
pub(crate) fn status(host: &LabHost) -> Command {
    let mut command = host.inside(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["node", "status", "--runtime", "containerd"]);
    command
}

fn verb(host: &LabHost, daemon: &Daemon, verb: &str) -> Command {
    let mut command = host.inside(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["node", verb, "--runtime", "containerd", "--restart", "allow"]);
    command.args(["--restart-command", &daemon.restart_command()]);
    command
}

/// Reads every file and directory of `/etc` on a host, and image-swap's own state, with mode and
/// bytes.
pub(crate) fn tree(host: &LabHost) -> Tree {
    let mut tree = BTreeMap::new();
    for top in ["etc", "var/lib/image-swap"] {
        walk(&host.root(), &host.root().join(top), &mut tree);
    }
    tree
}

fn walk(root: &Path, dir: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let mode = entry.metadata().unwrap().permissions().mode();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let is_dir = entry.file_type().unwrap().is_dir();
        let is_file = entry.file_type().unwrap().is_file();
        let bytes = if is_file { fs::read(&path).unwrap() } else { Vec::new() };
        tree.insert(name, (mode, bytes));
        // Files of the containerd of a trial differ in each run: only their folder counts.
        if is_dir && entry.file_name() != "trial" {
            walk(root, &path, tree);
        }
    }
}
