//! The programs: found on the machine, or installed, or built.

mod apt;
mod build;
mod find;
mod machine;
mod runtimes;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use self::machine::Machine;
pub use self::runtimes::{Containerd, Program, RuntimeParts};
use crate::{
    error::{Error, Missing},
    version::Minor,
};

/// Told what is being done, one line at a time.
pub type Progress<'a> = &'a dyn Fn(&str);

/// All programs, by what needs them. A group that this machine cannot have says
/// why when it is asked for.
#[derive(Debug)]
pub struct Parts {
    servers: Result<ServerParts, Missing>,
    controllers: Result<ControllerParts, Missing>,
    node: Result<NodeParts, Missing>,
    registry: Result<RegistryParts, Missing>,
    runtimes: Result<RuntimeParts, Missing>,
    helm: Result<HelmParts, Missing>,
}

/// Helm, in the two major versions that people run.
#[derive(Clone, Debug)]
pub struct HelmParts {
    /// The `helm` program of Helm 4.
    pub helm4: PathBuf,
    /// The `helm` program of Helm 3.
    pub helm3: PathBuf,
}

/// What a control plane needs at least.
#[derive(Clone, Debug)]
pub struct ServerParts {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kubectl, of any version.
    pub kubectl: PathBuf,
    pub(crate) minor: Minor,
}

/// What makes objects into other objects.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kube-scheduler.
    pub kube_scheduler: PathBuf,
}

/// What runs pods.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// kubelet.
    pub kubelet: PathBuf,
    /// containerd; `ctr` and the shim are beside it.
    pub containerd: PathBuf,
    /// runc.
    pub runc: PathBuf,
    /// The directory with the CNI plugins `bridge`, `host-local`, `loopback`.
    pub cni: PathBuf,
    /// A busybox without shared libraries: what images are made of.
    pub busybox: PathBuf,
    pub(crate) minor: Minor,
}

/// What keeps images.
#[derive(Clone, Debug)]
pub struct RegistryParts {
    /// The registry of the distribution project.
    pub registry: PathBuf,
    /// A busybox without shared libraries: what images are made of.
    pub busybox: PathBuf,
}

impl Parts {
    /// Finds all parts and gets what is missing: Debian's packages and, once,
    /// a build of Kubernetes that takes ten minutes and more.
    ///
    /// `KUBEBUILDER_ASSETS` wins over `PATH`, `PATH` over what is got. Packages
    /// are unpacked into the [`Cache`](crate::Cache), not installed, so that no
    /// service starts and the machine stays as it is; only common tools
    /// (`iptables`, `make`, `rsync`, …) are installed where they are missing.
    ///
    /// # Errors
    /// A download or the build failed. That a part cannot be had on this
    /// machine at all is told by the accessors.
    pub fn obtain(progress: Progress<'_>) -> Result<Self, Error> {
        Self::assemble(&Machine::look(Some(progress))?)
    }

    /// Finds what is there, and gets nothing.
    ///
    /// # Errors
    /// There is no cache directory.
    pub fn present() -> Result<Self, Error> {
        Self::assemble(&Machine::look(None)?)
    }

    /// The parts for a test: in CI (`CI=true`) what is missing is got; elsewhere
    /// a test must not install and build unasked, so there they are what
    /// [`Parts::present`] finds.
    ///
    /// # Errors
    /// As [`Parts::obtain`].
    pub fn for_tests(progress: Progress<'_>) -> Result<Self, Error> {
        if in_ci() { Self::obtain(progress) } else { Self::present() }
    }

    fn assemble(machine: &Machine<'_>) -> Result<Self, Error> {
        let kubernetes = |name| machine.kubernetes(name);
        let registry = optional(|| {
            Ok(RegistryParts { registry: machine.registry()?, busybox: machine.busybox()? })
        })?;
        let servers = optional(|| {
            machine.tool("curl", "curl")?;
            let etcd = machine.program(&["etcd"], "etcd-server", "usr/bin/etcd")?;
            let kubectl = machine.program(&["kubectl"], "kubernetes-client", "usr/bin/kubectl")?;
            let kube_apiserver = kubernetes("kube-apiserver")?;
            let minor = Minor::of(&kube_apiserver)?;
            Ok(ServerParts { etcd, kube_apiserver, kubectl, minor })
        })?;
        let controllers = optional(|| {
            Ok(ControllerParts {
                kube_controller_manager: kubernetes("kube-controller-manager")?,
                kube_scheduler: kubernetes("kube-scheduler")?,
            })
        })?;
        let node = optional(|| {
            machine::may_run_nodes()?;
            machine.tool("iptables", "iptables")?;
            machine.tool("ip", "iproute2")?;
            let containerd = machine.containerd()?;
            let runc = machine.program(&["runc"], "runc", "usr/sbin/runc")?;
            let cni = machine.cni()?;
            let busybox = machine.busybox()?;
            let kubelet = kubernetes("kubelet")?;
            let minor = Minor::of(&kubelet)?;
            Ok(NodeParts { kubelet, containerd, runc, cni, busybox, minor })
        })?;
        let runtimes = optional(|| {
            machine::may_run_nodes()?;
            machine.tool("ip", "iproute2")?;
            RuntimeParts::find(machine)
        })?;
        let helm = optional(|| {
            Ok(HelmParts {
                helm4: machine.built("helm-4")?.join("helm"),
                helm3: machine.built("helm-3")?.join("helm"),
            })
        })?;
        Ok(Self { servers, controllers, node, registry, runtimes, helm })
    }

    /// What a control plane needs at least.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn servers(&self) -> Result<&ServerParts, Missing> {
        self.servers.as_ref().map_err(Missing::clone)
    }

    /// Controller manager and scheduler.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn controllers(&self) -> Result<&ControllerParts, Missing> {
        self.controllers.as_ref().map_err(Missing::clone)
    }

    /// What runs pods.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn node(&self) -> Result<&NodeParts, Missing> {
        self.node.as_ref().map_err(Missing::clone)
    }

    /// What keeps images.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn registry(&self) -> Result<&RegistryParts, Missing> {
        self.registry.as_ref().map_err(Missing::clone)
    }

    /// Container runtimes of several ages.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn runtimes(&self) -> Result<&RuntimeParts, Missing> {
        self.runtimes.as_ref().map_err(Missing::clone)
    }

    /// Helm 4 and Helm 3.
    ///
    /// # Errors
    /// What is missing and how to get it.
    pub fn helm(&self) -> Result<&HelmParts, Missing> {
        self.helm.as_ref().map_err(Missing::clone)
    }

    /// Every program with its path, and every group that is missing with the reason.
    pub fn list(&self) -> Vec<Result<(&'static str, &Path), &Missing>> {
        let mut list = Vec::new();
        match &self.servers {
            Ok(parts) => list.extend([
                Ok(("etcd", parts.etcd.as_path())),
                Ok(("kube-apiserver", parts.kube_apiserver.as_path())),
                Ok(("kubectl", parts.kubectl.as_path())),
            ]),
            Err(error) => list.push(Err(error)),
        }
        match &self.controllers {
            Ok(parts) => list.extend([
                Ok(("kube-controller-manager", parts.kube_controller_manager.as_path())),
                Ok(("kube-scheduler", parts.kube_scheduler.as_path())),
            ]),
            Err(error) => list.push(Err(error)),
        }
        match &self.node {
            Ok(parts) => list.extend([
                Ok(("kubelet", parts.kubelet.as_path())),
                Ok(("containerd", parts.containerd.as_path())),
                Ok(("runc", parts.runc.as_path())),
                Ok(("CNI plugins", parts.cni.as_path())),
            ]),
            Err(error) => list.push(Err(error)),
        }
        match &self.registry {
            Ok(parts) => list.extend([
                Ok(("registry", parts.registry.as_path())),
                Ok(("busybox", parts.busybox.as_path())),
            ]),
            Err(error) => list.push(Err(error)),
        }
        match &self.runtimes {
            Ok(parts) => {
                let containerds = parts.containerds.iter();
                list.extend(containerds.map(|part| Ok(("containerd", part.program.as_path()))));
                list.extend([
                    Ok(("podman", parts.podman.path.as_path())),
                    Ok(("skopeo", parts.skopeo.path.as_path())),
                    Ok(("strace", parts.strace.path.as_path())),
                ]);
            }
            Err(error) => list.push(Err(error)),
        }
        list
    }
}

/// What a test does about a missing part: in CI it fails, elsewhere it says what
/// is missing and how to get it, and passes.
///
/// # Errors
/// The same error, if it is not [`Error::Unavailable`] or if `CI=true` is set.
pub fn or_skip<T>(part: Result<T, impl Into<Error>>) -> Result<Option<T>, Error> {
    match part.map_err(Into::into) {
        Ok(part) => Ok(Some(part)),
        Err(Error::Unavailable(missing)) if !in_ci() => {
            // Not `eprintln!`, which the test harness keeps to itself; in one
            // piece, since tests run beside each other.
            let _ = io::stderr().write_all(format!("skipped, {missing}\n").as_bytes());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a missing part is a failure: `CI=true`, as CI services set it.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// A group: that it is missing is an answer, any other error ends the search.
fn optional<T>(group: impl FnOnce() -> Result<T, Error>) -> Result<Result<T, Missing>, Error> {
    match group() {
        Err(Error::Unavailable(missing)) => Ok(Err(missing)),
        Err(error) => Err(error),
        Ok(parts) => Ok(Ok(parts)),
    }
}
