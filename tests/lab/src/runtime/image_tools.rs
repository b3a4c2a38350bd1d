//! podman and skopeo, which read the same files as CRI-O.

use std::process::Command;

use image_swap_testbed::{Error, Program, run};

use crate::host::LabHost;

/// Path of the credentials on the host.
const AUTH: &str = "/etc/containers/auth.json";

impl LabHost {
    /// Runs `podman pull IMAGE`, and returns its output.
    ///
    /// # Errors
    /// Returns the output of podman if it fails.
    pub fn podman_pull(&self, podman: &Program, image: &str) -> Result<String, Error> {
        let mut command = self.image_tool(podman);
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        // podman requires a runtime for containers to be installed, but does not run it in a pull.
        command.args(["--runtime", "/bin/true", "--events-backend", "none"]);
        command.args(["pull", "--quiet", image]);
        run::output(&mut command)
    }

    /// Runs `skopeo inspect IMAGE`, and returns its output. Tags of the repository are skipped,
    /// because skopeo lists them from the upstream registry, not from mirrors.
    ///
    /// # Errors
    /// Returns the output of skopeo if it fails.
    pub fn skopeo_inspect(&self, skopeo: &Program, image: &str) -> Result<String, Error> {
        let mut command = self.image_tool(skopeo);
        command.args(["inspect", "--no-tags", &format!("docker://{image}")]);
        run::output(&mut command)
    }

    /// Returns a command on the host with the environment of an image tool.
    fn image_tool(&self, program: &Program) -> Command {
        let mut command = self.inside(&program.path);
        let bin = program.path.parent().map(|bin| bin.display().to_string()).unwrap_or_default();
        command
            .env("LD_LIBRARY_PATH", &program.libraries)
            .env("PATH", format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("HOME", "/root")
            .current_dir("/");
        // podman and skopeo fail if the variable names a missing file.
        if self.root().join(AUTH.trim_start_matches('/')).exists() {
            command.env("REGISTRY_AUTH_FILE", AUTH);
        }
        command
    }
}
