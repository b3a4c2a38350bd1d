//! `cargo xtask image`: builds the image that the chart runs, without a container engine.

pub(crate) mod elf;
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
use image_swap_testbed::{
    Product,
    oci::{Image, Layout, Platform},
};

pub(crate) use self::program::GLIBC as GLIBC_LICENCE;
use self::{
    push::{How, Target},
    root::Root,
};
use crate::host::{Host, print_line};

/// The largest size of a compressed layer in bytes. A node pulls it before any pod that the
/// webhook swaps can start.
const LIMIT: usize = 25 << 20;

/// The authorities of public registries, on Debian.
pub(crate) const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Build the image that the chart runs, and push it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same source, toolchain and authorities give the same digest.

Environment:
  IMAGE_SWAP_PUSH_USERNAME,  credentials for a registry that requires them
  IMAGE_SWAP_PUSH_PASSWORD")]
pub(crate) struct Args {
    /// Profile of cargo
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Program for a platform (linux/arm64=PATH), without shared libraries; the one for
    /// this machine is built if it is not given
    #[arg(long, value_name = "PLATFORM=PATH")]
    binary: Vec<Binary>,
    /// Tag in the layout and the archive
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Folder for the image layout
    #[arg(long, value_name = "FOLDER", default_value = "target/image")]
    out: PathBuf,
    /// Write the layout into a tar archive as well
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Push the image to a registry
    #[arg(long, value_name = "HOST/NAME:TAG")]
    push: Option<Target>,
    /// Push by plain HTTP
    #[arg(long, requires = "push")]
    plain_http: bool,
    /// Authority of the registry's certificate, PEM, if it is not a public one
    #[arg(long, value_name = "FILE", requires = "push")]
    ca_cert: Option<PathBuf>,
    /// Authorities that the program in the image trusts, PEM
    #[arg(long, value_name = "FILE", default_value = AUTHORITIES)]
    ca_bundle: PathBuf,
    /// Revision of the source, for the annotations of the image
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
        print_line(&format!("index   {}", layout.index().digest()));
        layout.write(&self.out, &self.tag)?;
        print_line(&format!("layout  {}", self.out.display()));
        if let Some(archive) = &self.archive {
            fs::write(archive, layout.archive(&self.tag)?)
                .with_context(|| archive.display().to_string())?;
            print_line(&format!("archive {}", archive.display()));
        }
        if let Some(target) = &self.push {
            let how = How { plain_http: self.plain_http, authority: self.ca_cert };
            push::push(&layout, target, &how)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns a program for each platform. Builds that of this machine if it is not given.
    fn programs(&self, host: &Host) -> Result<Programs> {
        let mut programs = Programs::new();
        for Binary { platform, path } in &self.binary {
            let program = read(path)?;
            if programs.insert(platform.clone(), program).is_some() {
                bail!("expected one program for {platform}, found two");
            }
        }
        if let Entry::Vacant(here) = programs.entry(Platform::here()) {
            here.insert(read(&program::build(host, &self.profile, &[])?)?);
        }
        Ok(programs)
    }
}

/// Programs by platform.
pub(crate) type Programs = BTreeMap<Platform, Vec<u8>>;

/// Reads the file at `path`; an error names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

/// Builds the image that the tests run, unoptimised, and writes it to its place below
/// `target/`. Returns its size.
pub(crate) fn of_tests(host: &Host) -> Result<String> {
    let to = Product::begin(&host.root)?;
    let program = program::build(host, "dev", program::OF_TESTS)?;
    let programs = Programs::from([(Platform::here(), read(&program)?)]);
    let layout = make(host, programs, AUTHORITIES.as_ref(), None)?;
    layout.write(&to, env!("CARGO_PKG_VERSION"))?;
    Product::record(&host.root, &program.with_extension("d"))?;
    let sizes = layout.images().iter().map(|image| mebibytes(image.layer().bytes().len()));
    Ok(format!("{} compressed, unoptimised", sizes.collect::<Vec<_>>().join(", ")))
}

/// Returns the layout of an image for each program.
///
/// # Errors
/// A program does not run in an image, a layer is too large, or a file is missing.
pub(crate) fn make(
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

/// Prints the size of an image, and checks it.
fn report(image: &Image) -> Result<()> {
    let (packed, unpacked) = (image.layer().bytes().len(), image.unpacked());
    let platform = image.platform();
    print_line(&format!(
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

/// Formats a size with one decimal, rounded up so that no limit is met by rounding.
fn mebibytes(bytes: usize) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_has_platform_and_path() {
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
