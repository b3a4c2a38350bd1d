//! Generated hosts in memory.

use image_swap_node::{
    ContainerRuntime, DesiredConfig, HostEntry, HostFile, HostFiles, HostPath, ObservedHost,
    PlannedStep, RestartPolicy, Version, restore,
};

use super::config;
use crate::choices::Choices;

/// Path of the main configuration of containerd.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";

/// A host whose files are in memory.
#[derive(Clone)]
pub(super) struct Host {
    runtime: ContainerRuntime,
    version: Option<Version>,
    bearer_only: bool,
    pub(super) disk: HostFiles,
}

impl Host {
    /// Generates a host.
    pub(super) fn new(c: &mut Choices<'_>) -> Self {
        use ContainerRuntime::{Containerd, Crio, Docker, K3s, Podman, Rke2};
        let versions = ["1.7.24", "1.6.20", "2.1.9", "2.3.4", "2.2.1", "2.4.0", "1.5.0", "?"];
        let mut disk = HostFiles::default();
        disk.insert("/", HostEntry::Directory(Vec::new()));
        let mut host = Self {
            runtime: if c.one_in(8) {
                c.of(&[Crio, K3s, Podman, Rke2, Docker])
            } else {
                Containerd
            },
            version: Version::parse(c.of(&versions)),
            bearer_only: c.one_in(8),
            disk,
        };
        host.write("/etc/hosts", "");
        host.write("/var/lib/other/file", "");
        if !c.one_in(8) {
            host.write(CONFIG, &config::text(c, "plugins"));
        }
        if c.one_in(4) {
            host.write("/etc/containerd/conf.d/a.toml", &config::text(c, "plugins"));
        }
        if c.one_in(4) {
            let path = c.of(&["registries.conf", "registries.conf.d/10-a.conf"]);
            let text = c.of(&[
                "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n",
                "[[registry]]\nprefix = \"gcr.io\"\nlocation = \"m.io/g\"\ninsecure = true\n",
                "[[registry]]\nlocation = \"h.io\"\ninsecure = true\n",
                "[[registry]]\nprefix = \"*.io\"\n",
            ]);
            host.write(&["/etc/containers/", path].concat(), text);
        }
        if c.one_in(4) {
            let text = c.of(&["", "\u{feff}{}", "{\"registry-mirrors\": null}", "{\n}\n"]);
            host.write("/etc/docker/daemon.json", text);
            host.write("/etc/rancher/k3s/registries.yaml", c.of(&["", "mirrors:\n  \"*\":\n"]));
        }
        while c.one_in(3) {
            let directory = c.of(&["certs.d", "certs.d", "other"]);
            let name = c.of(&["docker.io", "_default", "h.io", "quay.io:8443", "m.io"]);
            let file = c.of(&["hosts.toml", "ca.crt", "company.crt"]);
            let text = c.of(&[
                "server = \"https://m.io\"\n",
                "",
                "[host]\n",
                "-----BEGIN CERTIFICATE-----",
                "ca = \"company.crt\"\n[host.\"https://h.io/v2/x\"]\nskip_verify = true\n",
                "[host.\"https://k.io:5000\"]\nclient = \"ca.crt\"\n[host.\"https://k.io:5000\".header]\nx = [\"s3cret\"]\n",
            ]);
            host.write(&["/etc/containerd/", directory, "/", name, "/", file].concat(), text);
        }
        host
    }

    /// Writes a file and its directories.
    pub(super) fn write(&mut self, path: &str, text: &str) {
        let path = HostPath::new(path);
        let above = std::iter::successors(path.parent(), HostPath::parent);
        let above: Vec<HostPath> = above.collect();
        for path in above.into_iter().rev() {
            self.disk.apply(&PlannedStep::MakeDirectory { path, mode: 0o755 });
        }
        self.disk.apply(&PlannedStep::Write { path, file: HostFile::public(text) });
    }

    /// Returns the text of a file; `None` if there is no such file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.disk.text(&path.into())
    }

    /// Returns the observation that a plan for `desired` needs, or `restore` for `None`.
    pub(super) fn observe(&self, desired: Option<&DesiredConfig<'_>>) -> ObservedHost {
        let mut observed = ObservedHost::new(self.runtime, self.version);
        observed.bearer_only = self.bearer_only;
        observed.look(desired, |path| self.disk.get(path).cloned().unwrap_or(HostEntry::Absent));
        observed
    }

    /// Applies the plan of `restore`.
    pub(super) fn restore(&mut self) {
        let plan = restore(&self.observe(None), RestartPolicy::Allow);
        let plan = plan.unwrap_or_else(|refusal| panic!("{refusal}"));
        plan.steps.iter().for_each(|step| self.disk.apply(step));
    }

    /// Returns all existing files and directories.
    pub(super) fn existing(&self) -> Vec<(&HostPath, &HostEntry)> {
        self.disk.iter().filter(|(_, entry)| **entry != HostEntry::Absent).collect()
    }
}
