//! Commands as people type them.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use anyhow::{Result, bail};

use crate::stage::Stage;

impl Stage {
    /// `kubectl` as the administrator: what it prints.
    ///
    /// # Errors
    /// What it says, if it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.control_plane.kubectl();
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        printed(&format!("kubectl {}", arguments.join(" ")), output)
    }

    /// `kubectl apply` of `manifest`, YAML or JSON.
    ///
    /// # Errors
    /// What it says, if it fails.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.write("apply.yaml", manifest)?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()])
    }

    /// A line of the shell in [`Stage::folder`], where `kubectl` and `image-swap`
    /// are on PATH: what it prints on standard output.
    ///
    /// # Errors
    /// What it says, if it fails.
    pub fn shell(&self, line: &str) -> Result<String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder()).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder().join("bin").display()));
        shell.env("KUBECONFIG", self.control_plane.kubeconfig()).env("HOME", self.folder());
        printed(line, shell.output()?)
    }

    pub(crate) fn prepare_shell(&self) -> Result<()> {
        let bin = self.folder().join("bin");
        fs::create_dir(&bin)?;
        symlink(&self.parts.servers()?.kubectl, bin.join("kubectl"))?;
        symlink(self.program.path(), bin.join("image-swap"))?;
        Ok(())
    }
}

fn printed(what: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("`{what}`: {}: {}", output.status, String::from_utf8_lossy(&said))
}
