//! Leaves a pod: a session, a mount namespace and cgroups of the host.
//!
//! The process that detaches has one thread, which the kernel requires for a mount namespace.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    process::setsid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    files::HostPath,
    host::{Host, root::Root},
    restart::{cgroup, directory},
};

/// The namespaces of the host's first process that are joined, in order. The cgroup namespace comes
/// first: the kernel refuses a move out of the namespace of a pod.
const NAMESPACES: [(&str, LinkNameSpaceType); 2] = [
    ("/proc/1/ns/cgroup", LinkNameSpaceType::ControlGroup),
    ("/proc/1/ns/mnt", LinkNameSpaceType::Mount),
];
/// The search path of systemd's services. That of the pod is about its image.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Replaces this process by the program `words` of the host, outside of the pod. Returns only the
/// error that prevents this.
pub fn detach(words: &[OsString]) -> io::Error {
    let Some((program, arguments)) = words.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    match leave() {
        Ok(log) => {
            let mut command = Command::new(program);
            command.args(arguments).env_clear().env("PATH", PATH);
            // The pipe to the pod closes with this.
            command.stdin(Stdio::null()).stdout(log.0).stderr(log.1);
            command.exec()
        }
        Err(error) => error,
    }
}

/// Moves this process out of the pod. Returns the log of the host, for standard output and standard
/// error.
fn leave() -> io::Result<(File, File)> {
    // Fails for the leader of a session, which does as well.
    let _ = setsid();
    let mut namespaces = Vec::new();
    for (path, kind) in NAMESPACES {
        match File::open(path) {
            Ok(file) => namespaces.push((path, kind, file)),
            // Linux before 4.6 has no cgroup namespaces.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(with(&format!("cannot open {path}"), &error)),
        }
    }
    for (path, kind, file) in namespaces {
        move_into_link_name_space(file.as_fd(), Some(kind))
            .map_err(|error| with(&format!("cannot join {path}"), &error.into()))?;
    }
    cgroup::enter()?;
    let path = directory::log();
    log(&path).map_err(|error| with(&format!("cannot write {path}"), &error))
}

/// Opens the log, twice.
fn log(path: &HostPath) -> io::Result<(File, File)> {
    let host = Host::new(Root::new(Path::new("/"))?);
    let mut options = fs::OpenOptions::new();
    let log = options.write(true).create(true).truncate(true).mode(0o600).open(host.at(path)?)?;
    let copy = log.try_clone()?;
    Ok((log, copy))
}

/// Adds the failed operation to an error.
fn with(doing: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}
