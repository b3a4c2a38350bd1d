//! The program in the image under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use image_swap_testbed::Product;

/// `image-swap`, as the image holds it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The folder with the unpacked files of the image.
    pub root: PathBuf,
}

impl Program {
    /// Unpacks the image into the new folder `root`.
    ///
    /// # Errors
    /// A file of the image cannot be read, or `tar` fails.
    pub fn unpack(product: &Product, root: &Path) -> Result<Self> {
        fs::create_dir(root)?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--file"]).arg(product.layer()?);
        let status = tar.arg("--directory").arg(root).status()?;
        ensure!(status.success(), "tar: {status}");
        Ok(Self { root: root.to_owned() })
    }

    /// Returns the path of the program.
    pub fn path(&self) -> PathBuf {
        self.root.join("usr/bin/image-swap")
    }

    /// Returns the program with `arguments`, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path());
        command.args(arguments);
        command
    }
}
