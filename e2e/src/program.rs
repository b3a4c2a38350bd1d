//! The image under test, built and pushed as people do it, and the program in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    registry::{BASE_PATH, Company},
    stage::root,
};

/// `image-swap`, as the image holds it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The image's files, unpacked.
    pub root: PathBuf,
    /// The digest of the image's index.
    pub digest: String,
}

impl Program {
    /// `cargo xtask image`, with the profile that tests are built with.
    pub(crate) fn build(folder: &Path, company: &Company) -> Result<Self> {
        let layout = folder.join("image");
        let trusted = folder.join("company.crt");
        fs::write(&trusted, company.authority())?;
        let version = env!("CARGO_PKG_VERSION");
        let host = company.registry.listens().ip();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut image = Command::new(cargo);
        image.args(["run", "--quiet", "--package", "xtask", "--", "image", "--profile", "dev"]);
        image.arg("--out").arg(&layout).arg("--ca-cert").arg(&trusted);
        image.args(["--push", &format!("{host}/{BASE_PATH}/image-swap:{version}")]);
        // Names of who pushes elsewhere are not for this registry.
        image.env_remove("IMAGE_SWAP_PUSH_USERNAME").env_remove("IMAGE_SWAP_PUSH_PASSWORD");
        let output = image.current_dir(root()).output().context("run cargo")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "cargo xtask image: {}", String::from_utf8_lossy(&said));
        let index = read(&layout.join("index.json"))?;
        let digest = text(&index["manifests"][0]["digest"])?;
        let root = folder.join("root");
        unpack(&layout, &digest, &root)?;
        Ok(Self { root, digest })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.root.join("usr/bin/image-swap")
    }

    /// The program with `arguments`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path());
        command.args(arguments);
        command
    }
}

/// Unpacks the one layer of the first image of `index`.
fn unpack(layout: &Path, index: &str, to: &Path) -> Result<()> {
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    let index = read(&blob(index))?;
    let manifest = read(&blob(&text(&index["manifests"][0]["digest"])?))?;
    let layer = blob(&text(&manifest["layers"][0]["digest"])?);
    fs::create_dir(to)?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--gzip").arg("--file").arg(layer).arg("--directory").arg(to);
    let status = tar.status()?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("expected a string, found {value}"))
}
