//! podman and skopeo: they read the same files as CRI-O.

use std::process::Command;

use image_swap_testbed::{Error, Program, run};

use crate::host::LabHost;

/// Where credentials are kept.
const AUTH: &str = "/etc/containers/auth.json";

impl LabHost {
    /// `podman pull IMAGE`
    ///
    /// # Errors
    /// What podman says.
    pub fn podman_pull(&self, podman: &Program, image: &str) -> Result<String, Error> {
        let mut command = self.image_tool(podman);
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        // It wants something that runs containers to be there, and pulls without it.
        command.args(["--runtime", "/bin/true", "--events-backend", "none"]);
        command.args(["pull", "--quiet", image]);
        run::output(&mut command)
    }

    /// `skopeo inspect IMAGE`, without the tags of its repository: those are
    /// asked of the registry itself, whatever its mirrors are.
    ///
    /// # Errors
    /// What skopeo says.
    pub fn skopeo_inspect(&self, skopeo: &Program, image: &str) -> Result<String, Error> {
        let mut command = self.image_tool(skopeo);
        command.args(["inspect", "--no-tags", &format!("docker://{image}")]);
        run::output(&mut command)
    }

    fn image_tool(&self, program: &Program) -> Command {
        let mut command = self.inside(&program.path);
        let bin = program.path.parent().map(|bin| bin.display().to_string()).unwrap_or_default();
        command
            .env("LD_LIBRARY_PATH", &program.libraries)
            .env("PATH", format!("{bin}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("HOME", "/root")
            .current_dir("/");
        // Named, it has to be there.
        if self.root().join(AUTH.trim_start_matches('/')).exists() {
            command.env("REGISTRY_AUTH_FILE", AUTH);
        }
        command
    }
}
