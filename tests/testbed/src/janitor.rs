//! A directory that goes away with its owner, however the owner ends.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::{error::Error, private_file};

/// The script of the janitor. Its input ends when the kernel closes the pipe of an ended owner.
/// Then it undoes the changes, last first, and removes the directory.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
tac "$1/undo" | sh >/dev/null 2>&1
[ -n "$IMAGE_SWAP_KEEP" ] && exit
# What still dies may still write.
for _ in $(seq 100); do rm -rf --one-file-system "$1" && exit; sleep 0.1; done
"#;

/// A directory for the files of one running part.
///
/// It is removed when the value is dropped, and also when the process is killed: a separate
/// process, the janitor, waits for the end. The variable `IMAGE_SWAP_KEEP`, with any value,
/// keeps the directory.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    janitor: Child,
    /// The input of the janitor, which cleans up when it ends.
    alive: Option<ChildStdin>,
}

impl RunDir {
    /// Makes an empty directory `image-swap-KIND-…` under `$TMPDIR` or `/tmp`.
    ///
    /// # Errors
    /// The directory cannot be made or the janitor not started.
    pub fn new(kind: &str) -> Result<Self, Error> {
        let path = tempfile::Builder::new()
            .prefix(&format!("image-swap-{kind}-"))
            .tempdir()
            .map_err(Error::io(format!("make a directory under {}", env::temp_dir().display())))?
            .keep();
        fs::write(path.join("undo"), "").map_err(Error::io("write the undo file"))?;
        // In a separate session Ctrl-C in the terminal does not reach the janitor.
        let mut janitor = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("start setsid (Debian package util-linux)"))?;
        let alive = janitor.stdin.take();
        Ok(Self { path, janitor, alive })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Registers a shell command that undoes a change outside the directory.
    ///
    /// Callers register it before the change, so that a crash in between is harmless. The
    /// command must succeed even if there is nothing to undo.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn undo(&self, command: &str) -> Result<(), Error> {
        OpenOptions::new()
            .append(true)
            .open(self.path.join("undo"))
            .and_then(|mut file| writeln!(file, "{command}"))
            .map_err(Error::io("write the undo file"))
    }

    /// Writes a file that only its owner may read, with the directories above it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(format!("make {}", parent.display())))?;
        }
        private_file::write(&path, content.as_ref())?;
        Ok(path)
    }

    /// Makes a directory in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(Error::io(format!("make {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        drop(self.alive.take());
        // An error could not be reported; any leftovers are in the temporary directory.
        let _ = self.janitor.wait();
    }
}
