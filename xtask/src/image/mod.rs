//! `cargo xtask image`: the image that the chart runs, without a container
//! engine.

mod elf;
mod program;
mod push;
mod root;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use image_swap_oci::{Image, Layout, Platform};
use image_swap_testbed::Product;

use self::{
    push::{How, Target},
    root::Root,
};
use crate::host::{Host, say};

/// A layer's bytes at most, compressed: what a node has to pull before anything
/// else can start.
const LIMIT: usize = 25 << 20;

/// Where Debian keeps the authorities of public registries.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The image that the chart runs: on disk, in a file, in a registry
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same source, toolchain and authorities give the same digest.

Environment:
  IMAGE_SWAP_PUSH_USERNAME,  who pushes, where the registry asks
  IMAGE_SWAP_PUSH_PASSWORD")]
pub(crate) struct Args {
    /// Cargo's profile
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// A program without shared libraries, built elsewhere, for one more platform
    /// (linux/arm64=PATH); for this machine's platform: instead of building it
    #[arg(long, value_name = "PLATFORM=PATH")]
    binary: Vec<Binary>,
    /// The tag, in the layout and the archive
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// The folder for the image layout
    #[arg(long, value_name = "FOLDER", default_value = "target/image")]
    out: PathBuf,
    /// Write the layout into a tar archive, too
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Push it, too
    #[arg(long, value_name = "HOST/NAME:TAG")]
    push: Option<Target>,
    /// Push by plain HTTP
    #[arg(long, requires = "push")]
    plain_http: bool,
    /// The authority of the registry's certificate, PEM, if it is not a public one
    #[arg(long, value_name = "FILE", requires = "push")]
    ca_cert: Option<PathBuf>,
    /// The authorities that the program in the image trusts
    #[arg(long, value_name = "FILE", default_value = AUTHORITIES)]
    ca_bundle: PathBuf,
    /// The revision of the source, for the image's annotations
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    /// Build the image that the tests run, at its place below target/
    #[arg(long, exclusive = true)]
    tests: bool,
}

/// A program for a platform.
#[derive(Clone, Debug)]
struct Binary {
    platform: Platform,
    path: PathBuf,
}

impl FromStr for Binary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (platform, path) = text
            .split_once('=')
            .ok_or_else(|| format!("expected PLATFORM=PATH, found {text:?}"))?;
        Ok(Self { platform: platform.parse()?, path: path.into() })
    }
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        if self.tests {
            of_tests(host)?;
            return Ok(ExitCode::SUCCESS);
        }
        let layout = make(host, self.programs(host)?, &self.ca_bundle, self.revision)?;
        say(&format!("index   {}", layout.index().digest()));
        layout.write(&self.out, &self.tag)?;
        say(&format!("layout  {}", self.out.display()));
        if let Some(archive) = &self.archive {
            fs::write(archive, layout.archive(&self.tag))
                .with_context(|| archive.display().to_string())?;
            say(&format!("archive {}", archive.display()));
        }
        if let Some(target) = &self.push {
            let how = How { plain_http: self.plain_http, authority: self.ca_cert };
            push::push(&layout, target, &how)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A program for each platform; this machine's is built unless it is given.
    fn programs(&self, host: &Host) -> Result<Programs> {
        let mut programs = Programs::new();
        for Binary { platform, path } in &self.binary {
            let program = read(path)?;
            if programs.insert(platform.clone(), program).is_some() {
                bail!("expected one program for {platform}, found two");
            }
        }
        if let Entry::Vacant(here) = programs.entry(Platform::here()) {
            here.insert(read(&program::build(host, &self.profile)?)?);
        }
        Ok(programs)
    }
}

/// The program of each platform.
type Programs = BTreeMap<Platform, Vec<u8>>;

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// Builds the image that the tests run, unoptimised, and writes it to its place below
/// `target/`. Returns its size.
pub(crate) fn of_tests(host: &Host) -> Result<String> {
    let to = Product::begin(&host.root)?;
    let program = program::build(host, "dev")?;
    let programs = Programs::from([(Platform::here(), read(&program)?)]);
    let layout = make(host, programs, AUTHORITIES.as_ref(), None)?;
    layout.write(&to, env!("CARGO_PKG_VERSION"))?;
    Product::record(&host.root, &program.with_extension("d"))?;
    let sizes = layout.images().iter().map(|image| mebibytes(image.layer().bytes().len()));
    Ok(format!("{} compressed, unoptimised", sizes.collect::<Vec<_>>().join(", ")))
}

fn make(
    host: &Host,
    programs: Programs,
    authorities: &Path,
    revision: Option<String>,
) -> Result<Layout> {
    let root = Root {
        authorities: root::authorities(authorities)?,
        licences: program::licences(host)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision,
    };
    let images = programs.into_iter();
    let images = images.map(|(platform, program)| root.image(platform, &program));
    let layout = Layout::new(images.collect::<Result<_>>()?, &root.annotations());
    layout.images().iter().try_for_each(report)?;
    Ok(layout)
}

/// Tells how large an image is.
fn report(image: &Image) -> Result<()> {
    let (packed, unpacked) = (image.layer().bytes().len(), image.unpacked());
    let platform = image.platform();
    say(&format!(
        "image   {} {platform}, {} compressed, {}",
        image.manifest().digest(),
        mebibytes(packed),
        mebibytes(unpacked),
    ));
    if packed > LIMIT {
        bail!("{platform}: expected at most {}, found {}", mebibytes(LIMIT), mebibytes(packed));
    }
    Ok(())
}

/// One decimal, rounded up: no limit is met by rounding.
fn mebibytes(bytes: usize) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_a_platform_and_a_path() {
        let binary: Binary = "linux/arm64=/a=b".parse().unwrap();
        assert_eq!(binary.platform.to_string(), "linux/arm64");
        assert_eq!(binary.path.to_str(), Some("/a=b"));
        assert!("linux/arm64".parse::<Binary>().is_err());
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(mebibytes(LIMIT), "25.0 MiB");
        assert_eq!(mebibytes(LIMIT + 1), "25.1 MiB");
        assert_eq!(mebibytes(0), "0.0 MiB");
    }
}
