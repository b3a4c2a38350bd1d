//! `cargo xtask release`: the files that users download.

mod archive;
mod chart;
mod krew;
mod maintainer;
mod metadata;
mod notices;
mod program;
mod sbom;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use image_swap_testbed::oci::{Platform, digest_of};

use self::{maintainer::Maintainer, metadata::Metadata, program::Program};
use crate::{
    host::{Host, print_line},
    image::{self, AUTHORITIES, read},
    process,
};

/// The name of the program and of the chart.
const NAME: &str = "image-swap";
/// The version of the program, the chart and the image.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The shells that completions are written for, with the name of each file.
const SHELLS: [(&str, &str); 5] = [
    ("bash", "image-swap.bash"),
    ("elvish", "image-swap.elv"),
    ("fish", "image-swap.fish"),
    ("powershell", "_image-swap.ps1"),
    ("zsh", "_image-swap"),
];

/// Build the files of a release: programs, image, chart, SBOM, krew manifest, checksums
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Builds for linux/amd64 with this toolchain, and for linux/arm64 with Debian's, which is
unpacked into the cache (270 MB). The same source, toolchains, C library and authorities
give the same bytes, in any folder.")]
pub(crate) struct Args {
    /// Address of the folder from which users download the files
    #[arg(long, value_name = "BASE")]
    url: String,
    /// Maintainer in the chart; may be repeated
    #[arg(long, value_name = "NAME <EMAIL>")]
    maintainer: Vec<Maintainer>,
    /// Folder for the files
    #[arg(long, value_name = "FOLDER", default_value = "target/release-files")]
    out: PathBuf,
    /// Authorities that the program in the image trusts, PEM
    #[arg(long, value_name = "FILE", default_value = AUTHORITIES)]
    ca_bundle: PathBuf,
    /// Revision of the source, for the annotations of the image
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let url = self.url.trim_end_matches('/');
        ensure!(
            url.starts_with("https://") || url.starts_with("http://"),
            "--url: expected an address that begins with https://, found {url:?}"
        );
        let metadata = Metadata::read(host)?;
        let programs = program::all(host)?;
        let mut files = Files::default();
        let mut archives = Vec::new();
        let extra = documents(host, &programs, &metadata)?;
        for Program { platform, path } in &programs {
            let folder = format!("{NAME}-{VERSION}-{}-{}", platform.os, platform.architecture);
            let name = format!("{folder}.tar.gz");
            let binary = (NAME.to_owned(), (0o755, read(path)?));
            let content = extra.clone().into_iter().chain([binary]);
            let content = content.map(|(path, file)| (format!("{folder}/{path}"), file));
            let bytes = archive::compressed(&content.collect())?;
            archives.push((platform.clone(), name.clone(), sum(&bytes)));
            files.add(name, bytes);
        }
        let contents = programs.iter().map(|it| Ok((it.platform.clone(), read(&it.path)?)));
        let contents = contents.collect::<Result<_>>()?;
        let layout = image::make(host, contents, &self.ca_bundle, self.revision)?;
        files.add(format!("{NAME}-{VERSION}-image.tar"), layout.archive(VERSION)?);
        let chart = chart::package(&host.root.join("charts").join(NAME), url, &self.maintainer)?;
        files.add(format!("{NAME}-{VERSION}.tgz"), chart);
        let sbom = serde_json::to_string_pretty(&sbom::document(&metadata))? + "\n";
        files.add(format!("{NAME}-{VERSION}.cdx.json"), sbom.into_bytes());
        files.add(format!("{NAME}.yaml"), krew::manifest(url, &archives)?.into_bytes());
        files.add("SHA256SUMS".to_owned(), files.sums().into_bytes());
        files.write(&self.out)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The files of a release, by name.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.0.insert(name, bytes);
    }

    /// Returns a line for each file, as `sha256sum --check` reads it.
    fn sums(&self) -> String {
        self.0.iter().map(|(name, bytes)| format!("{}  {name}\n", sum(bytes))).collect()
    }

    /// Writes the files into the folder `out`, in place of its content.
    fn write(&self, out: &Path) -> Result<()> {
        if out.exists() {
            fs::remove_dir_all(out).with_context(|| out.display().to_string())?;
        }
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        for (name, bytes) in &self.0 {
            let path = out.join(name);
            fs::write(&path, bytes).with_context(|| path.display().to_string())?;
            print_line(&format!("{:>10}  {}", bytes.len(), path.display()));
        }
        Ok(())
    }
}

/// Returns the files beside the program in each archive, with their modes: licences,
/// completions and man pages. The program for this machine prints the latter two.
fn documents(host: &Host, programs: &[Program], metadata: &Metadata) -> Result<Contents> {
    let here = programs.iter().find(|it| it.platform == Platform::here());
    let here = &here.context("expected a program for this machine")?.path;
    let printed = |arguments: &[&str]| process::text(Command::new(here).args(arguments));
    let mut all = Contents::new();
    let mut add = |path: String, bytes: Vec<u8>| all.insert(path, (0o644, bytes));
    add("LICENSE".to_owned(), read(&host.root.join("LICENSE"))?);
    add("THIRD-PARTY".to_owned(), notices::text(metadata)?.into_bytes());
    for (shell, file) in SHELLS {
        add(format!("completions/{file}"), printed(&["completions", shell])?.into_bytes());
    }
    let man = tempfile::tempdir()?;
    let folder = man.path().to_str().context("expected a temporary folder in UTF-8")?;
    printed(&["man", "--out", folder])?;
    for entry in fs::read_dir(man.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        add(format!("man/{name}"), read(&entry.path())?);
    }
    Ok(all)
}

/// Files of an archive by their paths, with mode and content.
type Contents = BTreeMap<String, (u32, Vec<u8>)>;

/// Returns the SHA-256 sum in hexadecimal digits.
fn sum(bytes: &[u8]) -> String {
    digest_of(bytes).trim_start_matches("sha256:").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_by_the_program_of_coreutils() {
        let mut files = Files::default();
        files.add("b".to_owned(), b"two".to_vec());
        files.add("a".to_owned(), b"one".to_vec());
        files.add("SHA256SUMS".to_owned(), files.sums().into_bytes());
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("files");
        files.write(&out).unwrap();
        let mut check = std::process::Command::new("sha256sum");
        let check = check.args(["--check", "SHA256SUMS"]).current_dir(&out).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&check.stdout), "a: OK\nb: OK\n");
    }
}
