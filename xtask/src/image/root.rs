//! The files of the image: one program, and the files that a static program reads.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result, bail};
use image_swap_testbed::oci::{Image, Platform, Runs, Tar};
use serde_json::json;

use super::elf;

/// The number of the user and group `nonroot`, as in many other images.
const USER: u32 = 65532;
/// The path of the program. It is on the PATH of `kubectl exec`.
const PROGRAM: &str = "usr/bin/image-swap";
/// The path at which rustls-native-certs looks for public authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The content that the images of all platforms share.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// The authorities that the program trusts, PEM.
    pub(super) authorities: Vec<u8>,
    /// Files below `usr/share/licenses`, by their paths there.
    pub(super) licences: BTreeMap<String, Vec<u8>>,
    /// The version of the program.
    pub(super) version: String,
    /// The annotation `org.opencontainers.image.revision`, if any.
    pub(super) revision: Option<String>,
}

impl Root {
    /// Returns the image of `program` for `platform`.
    ///
    /// # Errors
    /// The program does not run there.
    pub(super) fn image(&self, platform: Platform, program: &[u8]) -> Result<Image> {
        elf::check(program, &platform).with_context(|| format!("the program for {platform}"))?;
        let labels = self.annotations();
        let runs = json!({
            "User": format!("{USER}:{USER}"),
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": [format!("/{PROGRAM}")],
            "WorkingDir": "/",
            "Labels": labels,
        });
        Ok(Image::compressed(platform, &self.archive(program)?, Runs(runs), &labels))
    }

    /// Returns the labels of the image, which are also its annotations.
    pub(super) fn annotations(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::from([
            ("org.opencontainers.image.title", "image-swap".to_owned()),
            (
                "org.opencontainers.image.description",
                "Pull every image of a cluster from the company's own registry".to_owned(),
            ),
            ("org.opencontainers.image.version", self.version.clone()),
            // The licenses of the program, its C library and the list of authorities.
            (
                "org.opencontainers.image.licenses",
                "Apache-2.0 AND LGPL-2.1-or-later AND MPL-2.0".to_owned(),
            ),
        ]);
        let revision = self.revision.clone();
        all.extend(revision.map(|revision| ("org.opencontainers.image.revision", revision)));
        all
    }

    /// Returns the files as an archive: sorted, with one time and one owner.
    fn archive(&self, program: &[u8]) -> io::Result<Vec<u8>> {
        let passwd = format!(
            "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n"
        );
        let group = format!("root:x:0:\nnonroot:x:{USER}:\n");
        let mut files: BTreeMap<String, (u32, &[u8])> = BTreeMap::from([
            (PROGRAM.to_owned(), (0o755, program)),
            (AUTHORITIES.to_owned(), (0o644, self.authorities.as_slice())),
            ("etc/passwd".to_owned(), (0o644, passwd.as_bytes())),
            ("etc/group".to_owned(), (0o644, group.as_bytes())),
            // Host names of a pod are in /etc/hosts, others in DNS. Neither needs a
            // module of glibc.
            ("etc/nsswitch.conf".to_owned(), (0o644, b"hosts: files dns\n".as_slice())),
        ]);
        let licences = self.licences.iter();
        files.extend(
            licences.map(|(path, text)| {
                (format!("usr/share/licenses/{path}"), (0o644, text.as_slice()))
            }),
        );
        let mut tar = Tar::default();
        tar.tree(&files)?;
        // For programs in a container whose root is not read-only.
        tar.directory("tmp/", 0o1777)?;
        tar.finish()
    }
}

/// Reads the authorities in the file `path`.
///
/// # Errors
/// The file is missing, or has no certificates in PEM.
pub(super) fn authorities(path: &Path) -> Result<Vec<u8>> {
    let how = "install Debian's ca-certificates, or name another file with --ca-bundle";
    let pem = fs::read(path).with_context(|| format!("{}: {how}", path.display()))?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(begin.len()).any(|window| window == begin) {
        bail!("{}: expected certificates in PEM, found something else; {how}", path.display());
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, process::Command};

    use super::*;
    use crate::image::elf::tests::program;

    fn root() -> Root {
        Root {
            authorities: b"pem".to_vec(),
            licences: BTreeMap::from([("image-swap/LICENSE".to_owned(), b"text".to_vec())]),
            version: "1.2.3".to_owned(),
            revision: None,
        }
    }

    fn image(root: &Root) -> Image {
        root.image("linux/amd64".parse().unwrap(), &program(62, 1)).unwrap()
    }

    #[test]
    fn image_depends_only_on_its_input() {
        assert_eq!(image(&root()), image(&root()));
        let revised = Root { revision: Some("abc".to_owned()), ..root() };
        assert_ne!(image(&revised).manifest().digest(), image(&root()).manifest().digest());
    }

    #[test]
    fn program_runs_as_nonroot() {
        let image = image(&root());
        let config: serde_json::Value = serde_json::from_slice(image.config().bytes()).unwrap();
        assert_eq!(config["architecture"], "amd64");
        let runs = &config["config"];
        assert_eq!(runs["User"], "65532:65532");
        assert_eq!(runs["Entrypoint"], json!(["/usr/bin/image-swap"]));
        assert_eq!(runs["Labels"]["org.opencontainers.image.version"], "1.2.3");
    }

    #[test]
    fn archive_has_one_program_and_no_times() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&root().archive(b"program").unwrap()).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--list", "--verbose", "--utc", "--numeric-owner", "--file"]).arg(file.path());
        let listed = String::from_utf8(tar.env("LC_ALL", "C").output().unwrap().stdout).unwrap();
        let lines: Vec<String> = listed
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(words[1], "0/0");
                assert_eq!(words[3..5], ["1970-01-01", "00:00"]);
                format!("{} {}", words[0], words[5])
            })
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x etc/",
                "-rw-r--r-- etc/group",
                "-rw-r--r-- etc/nsswitch.conf",
                "-rw-r--r-- etc/passwd",
                "drwxr-xr-x etc/ssl/",
                "drwxr-xr-x etc/ssl/certs/",
                "-rw-r--r-- etc/ssl/certs/ca-certificates.crt",
                "drwxr-xr-x usr/",
                "drwxr-xr-x usr/bin/",
                "-rwxr-xr-x usr/bin/image-swap",
                "drwxr-xr-x usr/share/",
                "drwxr-xr-x usr/share/licenses/",
                "drwxr-xr-x usr/share/licenses/image-swap/",
                "-rw-r--r-- usr/share/licenses/image-swap/LICENSE",
                "drwxrwxrwt tmp/",
            ]
        );
    }

    #[test]
    fn file_without_certificates_is_refused() {
        let error = authorities(Path::new("/etc/passwd")).unwrap_err().to_string();
        assert!(error.contains("expected certificates in PEM"), "{error}");
        let error = authorities(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("--ca-bundle"), "{error}");
    }
}
