//! Runs programs of the host with the host's `/` as their root directory.

use std::{
    ffi::OsString,
    io,
    os::unix::{fs::chroot, process::CommandExt},
    path::Path,
    process::Command,
};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::host::Host;

/// The verb of image-swap that calls [`enter`].
const VERB: [&str; 2] = ["node", "inside"];

impl Host {
    /// Returns a command that runs `program` as the host would.
    pub(crate) fn command(&self, program: &str) -> Command {
        if self.root.is_whole() { Command::new(program) } else { self.inside(&[], program) }
    }

    /// Returns such a command for a process that is killed with image-swap.
    pub(crate) fn killed_with_parent(&self, program: &str) -> Command {
        self.inside(&["--mortal"], program)
    }

    fn inside(&self, flags: &[&str], program: &str) -> Command {
        // Works also if the file of the program was replaced since its start.
        let mut command = Command::new("/proc/self/exe");
        command.args(VERB).args(flags).arg("--root").arg(self.root.path()).args(["--", program]);
        // Without this variable systemctl does nothing in a chroot.
        command.env("SYSTEMD_IGNORE_CHROOT", "1");
        command
    }
}

/// Replaces this process by the program `words`, with `root` as its `/`. Returns only the error
/// that prevents this. A `mortal` program is killed when its parent ends.
pub fn enter(root: &Path, mortal: bool, words: &[OsString]) -> io::Error {
    let enter = || {
        if mortal {
            let parent = getppid();
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before that.
            if getppid() != parent {
                return Err(io::Error::other("the parent process has ended"));
            }
        }
        if root != Path::new("/") {
            chroot(root)?;
        }
        std::env::set_current_dir("/")
    };
    if let Err(error) = enter() {
        return error;
    }
    let Some((program, arguments)) = words.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    Command::new(program).args(arguments).exec()
}
