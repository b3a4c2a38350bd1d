//! Tar archives (POSIX ustar), as much as an image needs: short names, fixed
//! times and owners.

/// What is written and read at once.
const BLOCK: usize = 512;

/// An archive being written.
#[derive(Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// A file; `name` has at most 100 bytes.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.header(name, mode, content.len(), b'0', "");
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// A directory; its name ends in `/`.
    pub fn directory(&mut self, name: &str, mode: u32) {
        self.header(name, mode, 0, b'5', "");
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.header(name, 0o777, 0, b'2', target);
    }

    /// The archive: two empty blocks are its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn header(&mut self, name: &str, mode: u32, size: usize, kind: u8, target: &str) {
        let mut header = [0; BLOCK];
        let mut put = |offset: usize, text: &[u8]| {
            header[offset..offset + text.len()].copy_from_slice(text);
        };
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        // The sum is taken with blanks in its own place.
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, process::Command};

    use super::Tar;

    #[test]
    fn tar_itself_reads_the_archive() {
        let mut tar = Tar::default();
        tar.directory("bin/", 0o755);
        tar.file("bin/program", 0o755, b"content");
        tar.link("bin/alias", "program");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&tar.finish()).unwrap();
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
}
