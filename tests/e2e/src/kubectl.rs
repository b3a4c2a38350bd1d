//! Commands as a user types them.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use anyhow::{Result, bail};

use crate::helm_cluster::HelmCluster;

impl HelmCluster {
    /// Runs `kubectl` as the administrator and returns its standard output.
    ///
    /// # Errors
    /// kubectl fails; the error has all of its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.control_plane.kubectl();
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        printed(&format!("kubectl {}", arguments.join(" ")), output)
    }

    /// Runs `kubectl apply` of `manifest`, YAML or JSON.
    ///
    /// # Errors
    /// kubectl fails; the error has all of its output.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.write("apply.yaml", manifest)?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()])
    }

    /// Runs a line of the shell in [`HelmCluster::folder`] and returns its standard output.
    /// `kubectl`, `helm` (Helm 4) and `image-swap` are on PATH.
    ///
    /// # Errors
    /// The line fails; the error has all of its output.
    pub fn shell(&self, line: &str) -> Result<String> {
        printed(line, self.shell_command(line).output()?)
    }

    /// Returns the line of the shell that [`shell`](Self::shell) runs, not yet started.
    pub fn shell_command(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder()).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder().join("bin").display()));
        shell.env("KUBECONFIG", self.control_plane.kubeconfig()).env("HOME", self.folder());
        shell
    }

    pub(crate) fn prepare_shell(&self) -> Result<()> {
        let bin = self.folder().join("bin");
        fs::create_dir(&bin)?;
        symlink(&self.parts.servers()?.kubectl, bin.join("kubectl"))?;
        symlink(&self.parts.helm()?.helm4, bin.join("helm"))?;
        symlink(self.program.path(), bin.join("image-swap"))?;
        Ok(())
    }
}

fn printed(command: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let all = [output.stdout, output.stderr].concat();
    bail!("`{command}`: {}: {}", output.status, String::from_utf8_lossy(&all))
}
