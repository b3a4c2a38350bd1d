//! Tar archives (POSIX ustar) that depend only on their content.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use tar::{Builder, EntryType, Header};

/// An archive in memory. Every entry has the time 0 and the user and group 0.
pub struct Tar(Builder<Vec<u8>>);

impl Default for Tar {
    fn default() -> Self {
        Self(Builder::new(Vec::new()))
    }
}

impl Tar {
    /// Appends a file.
    ///
    /// # Errors
    /// The name is absolute, contains `..`, or is too long.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.append(EntryType::Regular, name, mode, "", content)
    }

    /// Appends a directory, whose name ends in `/`.
    ///
    /// # Errors
    /// See [`Self::file`].
    pub fn directory(&mut self, name: &str, mode: u32) -> io::Result<()> {
        self.append(EntryType::Directory, name, mode, "", &[])
    }

    /// Appends files with their modes, sorted by path, each after its directories.
    ///
    /// # Errors
    /// See [`Self::file`].
    pub fn tree<B: AsRef<[u8]>>(&mut self, files: &BTreeMap<String, (u32, B)>) -> io::Result<()> {
        let mut made = BTreeSet::new();
        for (path, (mode, content)) in files {
            for (at, _) in path.match_indices('/') {
                if made.insert(&path[..=at]) {
                    self.directory(&path[..=at], 0o755)?;
                }
            }
            self.file(path, *mode, content.as_ref())?;
        }
        Ok(())
    }

    /// Appends a symbolic link.
    ///
    /// # Errors
    /// See [`Self::file`]; the target is refused likewise.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.append(EntryType::Symlink, name, 0o777, target, &[])
    }

    /// Returns the bytes of the archive.
    ///
    /// # Errors
    /// The end cannot be written.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.0.into_inner()
    }

    fn append(
        &mut self,
        kind: EntryType,
        name: &str,
        mode: u32,
        target: &str,
        content: &[u8],
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path(name)?;
        if !target.is_empty() {
            header.set_link_name(target)?;
        }
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
        header.set_cksum();
        self.0.append(&header, content)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, process::Command};

    use super::Tar;

    #[test]
    fn tar_program_lists_the_archive() {
        let mut tar = Tar::default();
        tar.directory("bin/", 0o755).unwrap();
        tar.file("bin/program", 0o755, b"content").unwrap();
        tar.link("bin/alias", "program").unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.finish().unwrap()).unwrap();
        let out = Command::new("tar")
            .args(["--list", "--verbose", "--file"])
            .arg(file.path())
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(out.status.success());
        assert!(lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with("bin/"), "{text}");
        assert!(lines[1].starts_with("-rwxr-xr-x") && lines[1].contains(" 7 "), "{text}");
        assert!(lines[2].ends_with("bin/alias -> program"), "{text}");
    }

    #[test]
    fn path_that_no_header_holds_is_refused() {
        let long = "a".repeat(200);
        for name in ["/etc/passwd", "../up", &long] {
            assert!(Tar::default().file(name, 0o644, b"").is_err(), "{name}");
        }
    }
}
