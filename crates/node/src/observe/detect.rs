//! Detects the runtime of a host.

use image_swap_text::toml::Toml;

use crate::{
    files::HostPath,
    host::Host,
    runtime::kind::{
        ContainerRuntime::{self, Containerd, Crio, Docker, K3s, Podman, Rke2},
        RUNTIMES,
    },
};

/// The reason why a host cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// There is no sign of a runtime.
    #[error(
        "cannot find a container runtime on this host: it has no sign of {0}; name the runtime \
         with --runtime, or the directory of the host's / with --root"
    )]
    NoRuntime(String),
}

/// Signs of a runtime, the surest first: a socket exists while it runs, a directory of its
/// configuration when it is installed.
///
/// The order matters: k3s and RKE2 bring a containerd of their own, and Docker uses one that is
/// installed.
const SIGNS: [(ContainerRuntime, &[&str]); 7] = [
    (Containerd, &["/run/k0s/containerd.sock", "/etc/k0s", "/var/snap/microk8s/current/args"]),
    (K3s, &["/var/lib/rancher/k3s/agent", "/etc/rancher/k3s"]),
    (Rke2, &["/var/lib/rancher/rke2/agent", "/etc/rancher/rke2"]),
    (Crio, &["/run/crio/crio.sock", "/etc/crio"]),
    (Containerd, &["/run/containerd/containerd.sock", "/etc/containerd"]),
    (Docker, &["/run/docker.sock", "/etc/docker", "/var/snap/docker"]),
    (Podman, &["/usr/bin/podman"]),
];

/// The files that contain kubelet's runtime socket: kubeadm's flags, and kubelet's own
/// configuration.
const KUBELET: [&str; 2] = ["/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml"];

/// Returns the runtime of `host`.
pub(super) fn detect(host: &Host) -> Result<ContainerRuntime, ObserveError> {
    let there = |path: &&&str| host.at(&HostPath::new(path)).is_ok_and(|path| path.exists());
    let found: Vec<ContainerRuntime> = SIGNS
        .iter()
        .filter(|(_, paths)| paths.iter().any(|path| there(&path)))
        .map(|(runtime, _)| *runtime)
        .collect();
    // Among several runtimes the kubelet's is chosen.
    if let Some(used) = used_by_kubelet(host).filter(|used| found.contains(used)) {
        return Ok(used);
    }
    let docker = found.contains(&Docker);
    let brought = SIGNS[0].1.iter().any(|path| there(&path));
    let without_cri = || docker && !brought && cri_is_disabled(host);
    let chosen = found.into_iter().find(|runtime| !(*runtime == Containerd && without_cri()));
    chosen.ok_or_else(|| ObserveError::NoRuntime(RUNTIMES.map(ContainerRuntime::name).join(", ")))
}

fn text(host: &Host, path: &str) -> Option<String> {
    std::fs::read_to_string(host.at(&HostPath::new(path)).ok()?).ok()
}

fn used_by_kubelet(host: &Host) -> Option<ContainerRuntime> {
    KUBELET.iter().filter_map(|path| text(host, path)).find_map(|text| {
        let sockets = [
            ("crio.sock", Crio),
            ("cri-dockerd.sock", Docker),
            ("/k3s/containerd", K3s),
            ("containerd.sock", Containerd),
        ];
        sockets.into_iter().find(|(socket, _)| text.contains(socket)).map(|(_, runtime)| runtime)
    })
}

/// Returns true if config.toml disables CRI, as in Docker's own packages of containerd.
fn cri_is_disabled(host: &Host) -> bool {
    let config = text(host, Containerd.config().as_str()).unwrap_or_default();
    Toml::parse(&config).is_ok_and(|toml| {
        let disabled = toml.strings(&["disabled_plugins"]);
        disabled.iter().any(|name| ["cri", "io.containerd.grpc.v1.cri"].contains(name))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::host::root::Root;

    fn of(files: &[(&str, &str)]) -> Result<ContainerRuntime, ObserveError> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        detect(&Host::new(Root::new(Path::new(dir.path())).unwrap()))
    }

    #[test]
    fn runtime_in_use_is_detected() {
        let containerd = ("etc/containerd/config.toml", "");
        let crio = ("etc/crio/crio.conf", "");
        let docker = ("etc/docker/daemon.json", "{}");
        assert!(of(&[]).is_err());
        assert_eq!(of(&[containerd, docker]).unwrap(), ContainerRuntime::Containerd);
        assert_eq!(of(&[containerd, crio]).unwrap(), ContainerRuntime::Crio);
        let flags = (
            KUBELET[0],
            "ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"",
        );
        let flags = (flags.0.trim_start_matches('/'), flags.1);
        assert_eq!(of(&[containerd, crio, flags]).unwrap(), ContainerRuntime::Containerd);
        let packaged = ("etc/containerd/config.toml", "disabled_plugins = [\"cri\"]\n");
        assert_eq!(of(&[packaged, docker]).unwrap(), ContainerRuntime::Docker);
        assert_eq!(of(&[packaged]).unwrap(), ContainerRuntime::Containerd);
        assert_eq!(of(&[containerd, ("etc/rancher/k3s/x", "")]).unwrap(), ContainerRuntime::K3s);
    }
}
