//! Files whose content matters, watched for as long as it does.
//!
//! The kernel is asked about directories, never about the files: kubelet
//! replaces a mounted Secret by renaming a symlink (`..data`) beside it, an
//! editor by renaming a file over it, and neither ever writes to the file that
//! was there. Every directory that has a part in finding a file is watched:
//! the one it is in, and those of all symlinks on the way. Whatever happens
//! there only is a reason to look; what counts is whether the content differs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tracing::warn;

/// How often to look although nothing was heard: some file systems tell
/// nothing, and the number of watches is limited per user.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// How long to wait after something was heard: who replaces a certificate
/// writes two files, and who writes a file truncates it first.
const SETTLE: Duration = Duration::from_millis(50);
/// As many symlinks as Linux follows.
const SYMLINKS_MAX: usize = 40;

/// What is in each file, in the order they were named.
pub type Contents = Vec<io::Result<Vec<u8>>>;

/// Some files, and what was last seen in them.
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<u64>,
    /// Directories that are watched, and which they were when that began.
    watched: BTreeMap<PathBuf, Identity>,
    watcher: Option<RecommendedWatcher>,
    look_anyway: Duration,
    sender: mpsc::Sender<Wake>,
    receiver: mpsc::Receiver<Wake>,
}

/// A directory, whatever its name: device and inode.
type Identity = (u64, u64);

/// Why to look.
enum Wake {
    /// Something happened; these directories may be gone, and their watches with them.
    Event(Vec<PathBuf>),
    /// Nobody wants to know any more.
    Stop,
}

/// Ends a [`Watch`] that another thread waits on, when dropped.
#[derive(Debug)]
pub struct Stop(mpsc::Sender<Wake>);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = self.0.send(Wake::Stop);
    }
}

impl Watch {
    /// Watches `files`, which need not exist yet. Nothing has been read: call
    /// [`Self::read`] next, and no change will be missed in between.
    ///
    /// Where the kernel grants no watch (there is a limit per user) changes are
    /// still found, within ten seconds; that is logged.
    ///
    /// # Errors
    /// If there is no current directory for a relative path to begin at.
    pub fn new(files: &[&Path]) -> io::Result<Self> {
        let files = files.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>()?;
        let (sender, receiver) = mpsc::channel();
        let events = sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(gone) = relevance(event) {
                let _ = events.send(Wake::Event(gone));
            }
        })
        .inspect_err(|error| warn!(%error, "files cannot be watched, only looked at every 10 s"))
        .ok();
        let mut watch = Self {
            files,
            seen: Vec::new(),
            watched: BTreeMap::new(),
            watcher,
            look_anyway: LOOK_ANYWAY,
            sender,
            receiver,
        };
        watch.watch_directories();
        Ok(watch)
    }

    /// Looks every `interval` although nothing was heard, not every ten seconds.
    #[must_use]
    pub fn looking_every(mut self, interval: Duration) -> Self {
        self.look_anyway = interval;
        self
    }

    /// Reads the files as they are now.
    pub fn read(&mut self) -> Contents {
        let contents = self.files.iter().map(|file| read(file)).collect::<Contents>();
        self.seen = contents.iter().map(fingerprint).collect();
        contents
    }

    /// Waits until the content of a file, or the reason why there is none, is
    /// another than when it was last read. `None` when it was stopped.
    pub fn changed(&mut self) -> Option<Contents> {
        loop {
            match self.receiver.recv_timeout(self.look_anyway) {
                Ok(Wake::Event(gone)) => {
                    self.forget(&gone);
                    std::thread::sleep(SETTLE);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            }
            while let Ok(wake) = self.receiver.try_recv() {
                match wake {
                    Wake::Event(gone) => self.forget(&gone),
                    Wake::Stop => return None,
                }
            }
            // Watch first, read then: what changes in between wakes us again.
            self.watch_directories();
            let before = std::mem::take(&mut self.seen);
            let contents = self.read();
            if self.seen != before {
                return Some(contents);
            }
        }
    }

    /// What ends [`Self::changed`] on another thread.
    pub fn stop(&self) -> Stop {
        Stop(self.sender.clone())
    }

    /// The kernel has dropped the watches of directories that were removed; one
    /// made anew may even get the same inode.
    fn forget(&mut self, gone: &[PathBuf]) {
        for directory in gone {
            self.watched.remove(directory);
        }
    }

    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeMap::new();
        for directory in self.files.iter().flat_map(|file| directories(file)) {
            if let Ok(metadata) = fs::metadata(&directory) {
                wanted.insert(directory, (metadata.dev(), metadata.ino()));
            }
        }
        self.watched.retain(|directory, identity| {
            let stays = wanted.get(directory) == Some(identity);
            if !stays {
                // An error says that the kernel was faster.
                let _ = watcher.unwatch(directory);
            }
            stays
        });
        for (directory, identity) in wanted {
            if self.watched.contains_key(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory, identity);
                }
                Err(error) => warn!(
                    directory = %directory.display(), %error,
                    "directory cannot be watched, only looked at every 10 s"
                ),
            }
        }
    }
}

/// Whether to look after `event`, and which paths are gone. Reading is an event
/// too: ours would wake us for ever.
fn relevance(event: notify::Result<Event>) -> Option<Vec<PathBuf>> {
    // An error may hide an event.
    let Ok(event) = event else { return Some(Vec::new()) };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Vec::new()),
        EventKind::Access(_) => None,
        EventKind::Remove(_) => Some(event.paths),
        _ => Some(Vec::new()),
    }
}

/// The content of `file`. Nothing but a regular file is opened: a pipe would
/// keep us waiting, and is empty once it was read.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a regular file, found something else",
        ));
    }
    fs::read(file)
}

/// Tells contents apart without keeping them: they hold passwords and keys.
fn fingerprint(content: &io::Result<Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.as_ref().map_err(io::Error::kind).hash(&mut hasher);
    hasher.finish()
}

/// The directories in which a change can change what `file` (absolute) is:
/// where it is, where each symlink on the way is, and, if it does not exist,
/// where its first missing part would be.
fn directories(file: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut rest = parts(file);
    let mut at = PathBuf::from("/");
    let mut symlinks = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() && symlinks < SYMLINKS_MAX => {
                directories.insert(at.clone());
                symlinks += 1;
                let target = fs::read_link(&next).unwrap_or_default();
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    rest.push_front(part);
                }
            }
            Ok(metadata) if !rest.is_empty() && !metadata.is_symlink() => at = next,
            Ok(_) | Err(_) => {
                directories.insert(at);
                break;
            }
        }
    }
    directories
}

/// The names in `path`, `..` among them.
fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mk_mounted_secret() -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        let root = mount.path();
        fs::create_dir(root.join("..2024_01")).unwrap();
        fs::write(root.join("..2024_01/secret.yaml"), "one").unwrap();
        symlink("..2024_01", root.join("..data")).unwrap();
        symlink("..data/secret.yaml", root.join("secret.yaml")).unwrap();
        mount
    }

    #[test]
    fn of_a_mounted_secret_both_the_mount_and_the_data_are_watched() {
        let mount = mk_mounted_secret();
        let root = mount.path().canonicalize().unwrap();
        let expected = BTreeSet::from([root.clone(), root.join("..2024_01")]);
        assert_eq!(directories(&root.join("secret.yaml")), expected);
    }

    #[test]
    fn of_a_missing_file_the_deepest_directory_that_exists_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        assert_eq!(directories(&root.join("a/b/c")), BTreeSet::from([root]));
    }

    #[test]
    fn a_symlink_to_itself_ends() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(directories(&root.join("loop/file")), BTreeSet::from([root]));
    }

    #[test]
    fn a_relative_symlink_out_of_its_directory_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("b/file"), "").unwrap();
        symlink("../b/file", root.join("a/file")).unwrap();
        let expected = BTreeSet::from([root.join("a"), root.join("b")]);
        assert_eq!(directories(&root.join("a/file")), expected);
    }

    #[test]
    fn what_is_not_heard_of_is_found_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&[&file]).unwrap().looking_every(Duration::from_millis(1));
        watch.watcher = None;
        watch.read();
        fs::write(&file, "two").unwrap();
        assert_eq!(watch.changed().unwrap()[0].as_ref().unwrap(), b"two");
    }

    #[test]
    fn a_pipe_is_not_opened() {
        assert_eq!(read(Path::new("/dev/null")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_read_does_not_count_as_a_change_and_a_write_does() {
        let access = |kind| Ok(Event::new(EventKind::Access(kind)));
        assert_eq!(relevance(access(AccessKind::Open(AccessMode::Any))), None);
        assert_eq!(relevance(access(AccessKind::Close(AccessMode::Read))), None);
        assert_eq!(relevance(access(AccessKind::Close(AccessMode::Write))), Some(Vec::new()));
    }
}
