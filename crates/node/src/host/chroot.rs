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

/// The verb of our own program by which [`enter`] is reached.
const VERB: [&str; 2] = ["node", "inside"];

impl Host {
    /// `program` as the host would run it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.root.is_whole() {
            return Command::new(program);
        }
        let mut command = Self::own(&["--root".as_ref(), self.root.path().as_os_str()]);
        command.arg("--").arg(program);
        command
    }

    /// The same, but it does not outlive us.
    pub(crate) fn killed_with_parent(&self, program: impl AsRef<OsStr>) -> Command {
        let root = self.root.path().as_os_str();
        let mut command = Self::own(&["--mortal".as_ref(), "--root".as_ref(), root]);
        command.arg("--").arg(program);
        command
    }

    fn own(flags: &[&OsStr]) -> Command {
        // Also where our program was replaced since it was started.
        let mut command = Command::new("/proc/self/exe");
        command.args(VERB).args(flags);
        // systemctl would else do nothing but say where it is.
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
            // It may have ended before it was noted.
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
