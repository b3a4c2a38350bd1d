//! Programs of the host, run with its `/` as theirs.

use std::{
    ffi::OsStr,
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
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.root.is_whole() {
            return Command::new(program);
        }
        let mut command = Self::own(&["--root".as_ref(), self.root.path().as_os_str()]);
        command.arg("--").arg(program);
        command
    }

    /// Returns such a command for a process that is killed with image-swap.
    pub(crate) fn killed_with_parent(&self, program: impl AsRef<OsStr>) -> Command {
        let root = self.root.path().as_os_str();
        let mut command = Self::own(&["--mortal".as_ref(), "--root".as_ref(), root]);
        command.arg("--").arg(program);
        command
    }

    fn own(flags: &[&OsStr]) -> Command {
        // Works also if the file of the program was replaced since its start.
        let mut command = Command::new("/proc/self/exe");
        command.args(VERB).args(flags);
        // Without it systemctl does nothing in a chroot.
        command.env("SYSTEMD_IGNORE_CHROOT", "1");
        command
    }
}

/// Becomes the program `words`, with `root` as its `/`; returns only if that
/// cannot be. A `mortal` one is killed when the process that started it ends.
pub fn enter(root: &Path, mortal: bool, words: &[std::ffi::OsString]) -> io::Error {
    let enter = || {
        if mortal {
            let parent = getppid();
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before that.
            if getppid() != parent {
                return Err(io::Error::other("the process that asked for this has ended"));
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
