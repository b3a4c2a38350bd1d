//! The programs that tests run against, in pinned versions.
//!
//! Most are built from the Go modules below `tests/testbed/modules`, the others are Debian
//! packages that are unpacked into the [`Cache`]. A program on PATH never
//! replaces a pinned one. A variable does: `IMAGE_SWAP_ETCD`, `IMAGE_SWAP_KUBELET`, and
//! so on, after the name of the program.

mod apt;
mod build;
mod cluster_api;
mod cross;
mod find;
mod go;
mod group;
mod list;
mod machine;
mod minor;
mod module;
mod runtimes;
mod wheel;

use std::{path::PathBuf, time::Instant};

use self::{
    build::Builder,
    machine::{Machine, Permission},
};
pub use self::{
    cluster_api::ClusterApiParts,
    cross::CrossToolchain,
    group::Group,
    minor::Minor,
    runtimes::{Containerd, Program, RuntimeParts},
    wheel::Wheel,
};
use crate::{
    cache::Cache,
    error::{Error, Missing},
    progress::Progress,
    run,
};

/// A request to obtain missing parts.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The receiver of progress lines.
    pub progress: Progress<'a>,
    /// True if Debian packages may be installed on the machine itself.
    pub install: bool,
    /// The Kubernetes versions to build. The first one is the version of the parts that
    /// are returned.
    pub kubernetes: Vec<Minor>,
}

/// All programs, grouped by their use. A missing group reports the reason when it is used.
#[derive(Debug)]
pub struct Parts {
    minor: Minor,
    servers: Result<ServerParts, Missing>,
    controllers: Result<ControllerParts, Missing>,
    node: Result<NodeParts, Missing>,
    registry: Result<RegistryParts, Missing>,
    runtimes: Result<RuntimeParts, Missing>,
    helm: Result<HelmParts, Missing>,
    cluster_api: Result<ClusterApiParts, Missing>,
}

/// The programs of a control plane without controllers.
#[derive(Clone, Debug)]
pub struct ServerParts {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

/// The controllers of a control plane.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kube-scheduler.
    pub kube_scheduler: PathBuf,
}

/// The programs of a node.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// kubelet.
    pub kubelet: PathBuf,
    /// kube-proxy.
    pub kube_proxy: PathBuf,
    /// containerd; `ctr` and the shim are beside it.
    pub containerd: PathBuf,
    /// runc.
    pub runc: PathBuf,
    /// crictl, the client for the runtime's own API.
    pub crictl: PathBuf,
    /// The folder with the CNI plugins `bridge`, `host-local`, `loopback`, `portmap`.
    pub cni: PathBuf,
    /// A busybox without shared libraries, the content of test images.
    pub busybox: PathBuf,
}

/// The registries of the distribution project.
#[derive(Clone, Debug)]
pub struct RegistryParts {
    /// Version 3.
    pub registry: PathBuf,
    /// Version 2.8, for behaviour that version 3 dropped.
    pub registry2: PathBuf,
    /// A busybox without shared libraries, the content of test images.
    pub busybox: PathBuf,
}

/// Helm, in the two major versions that people run.
#[derive(Clone, Debug)]
pub struct HelmParts {
    /// The `helm` program of Helm 4.
    pub helm4: PathBuf,
    /// The `helm` program of Helm 3.
    pub helm3: PathBuf,
}

impl Parts {
    /// Builds and unpacks every missing part, and returns all of them.
    ///
    /// Prints the sources, the expected time and the disk space before the first step.
    /// Common tools of the machine (`curl`, `iptables`, `ip`) are installed only if
    /// [`Setup::install`] allows it.
    ///
    /// # Errors
    /// A download or a build failed. Parts that cannot be had on this machine are
    /// reported by the accessors.
    pub fn obtain(setup: &Setup<'_>) -> Result<Self, Error> {
        let Setup { progress, install, kubernetes } = setup;
        let machine = Machine::open(Some(Permission { progress: *progress, install: *install }))?;
        let _lock = machine.cache.lock()?;
        machine.prepare()?;
        let start = Instant::now();
        let mut minors = kubernetes.iter().copied();
        let first = minors.next().unwrap_or(Minor::DEFAULT);
        let builder = machine.builder(first);
        if let Some(builder) = &builder {
            announce(builder, &machine.cache, kubernetes, *progress)?;
        }
        let parts = Self::assemble(&machine, builder.as_ref(), first)?;
        for minor in minors {
            machine.built_folder(builder.as_ref(), &module::kubernetes(minor))?;
        }
        // The caches of the builds are removed with it.
        drop(builder);
        let (time, size) = (run::minutes(start.elapsed()), machine.cache.size()? >> 20);
        progress(&format!(
            "parts are set up after {time}; {size} MB kept in {}",
            machine.cache.path().display()
        ));
        Ok(parts)
    }

    /// Finds the parts in the cache. Does not build, download or install any.
    ///
    /// `IMAGE_SWAP_KUBERNETES` chooses the Kubernetes version.
    ///
    /// # Errors
    /// There is no cache folder, or the variable names an unknown version.
    pub fn present() -> Result<Self, Error> {
        Self::present_of(Minor::from_environment()?)
    }

    /// Finds the parts of one Kubernetes version in the cache, as [`Parts::present`] does.
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn present_of(minor: Minor) -> Result<Self, Error> {
        Self::assemble(&Machine::open(None)?, None, minor)
    }

    /// Removes the programs of one Kubernetes version from the cache.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_kubernetes(minor: Minor) -> Result<(), Error> {
        let cache = Cache::open()?;
        let _lock = cache.lock()?;
        cache.remove(&module::kubernetes(minor).name)
    }

    fn assemble<'a>(
        machine: &Machine<'a>,
        builder: Option<&Builder<'_, 'a>>,
        minor: Minor,
    ) -> Result<Self, Error> {
        let of = |module: &module::Module, program: &str| machine.built(builder, module, program);
        let of_kubernetes = module::kubernetes(minor);
        let kubernetes = |program: &str| of(&of_kubernetes, program);
        let servers = optional(|| {
            machine.tool("curl", "curl")?;
            Ok(ServerParts {
                etcd: of(&module::etcd(), "etcd")?,
                kube_apiserver: kubernetes("kube-apiserver")?,
                kubectl: kubernetes("kubectl")?,
            })
        })?;
        let controllers = optional(|| {
            Ok(ControllerParts {
                kube_controller_manager: kubernetes("kube-controller-manager")?,
                kube_scheduler: kubernetes("kube-scheduler")?,
            })
        })?;
        let registry = optional(|| {
            machine.tool("curl", "curl")?;
            Ok(RegistryParts {
                registry: of(&module::registry(), "registry")?,
                registry2: machine.registry2()?,
                busybox: machine.busybox()?,
            })
        })?;
        let node = optional(|| {
            machine::may_run_nodes()?;
            machine.tool("iptables", "iptables")?;
            machine.tool("ip", "iproute2")?;
            let cni = match find::named("cni") {
                Some(folder) => folder,
                None => machine.built_folder(builder, &module::cni())?,
            };
            Ok(NodeParts {
                kubelet: kubernetes("kubelet")?,
                kube_proxy: kubernetes("kube-proxy")?,
                containerd: of(&module::containerd(), "containerd")?,
                runc: of(&module::runc(), "runc")?,
                crictl: of(&module::crictl(), "crictl")?,
                cni,
                busybox: machine.busybox()?,
            })
        })?;
        let runtimes = optional(|| {
            machine::may_run_nodes()?;
            machine.tool("ip", "iproute2")?;
            RuntimeParts::find(machine, builder)
        })?;
        let helm = optional(|| {
            let helm = |name: &str, module: &module::Module| -> Result<PathBuf, Error> {
                match find::named(name) {
                    Some(named) => Ok(named),
                    None => Ok(machine.built_folder(builder, module)?.join("helm")),
                }
            };
            Ok(HelmParts {
                helm4: helm("helm-4", &module::helm4())?,
                helm3: helm("helm-3", &module::helm3())?,
            })
        })?;
        let cluster_api = optional(|| ClusterApiParts::find(machine, builder))?;
        Ok(Self { minor, servers, controllers, node, registry, runtimes, helm, cluster_api })
    }

    /// Returns the Kubernetes version of the parts.
    pub const fn minor(&self) -> Minor {
        self.minor
    }

    /// Returns the programs of a control plane without controllers.
    ///
    /// # Errors
    /// A program is missing; the error names the command that obtains it.
    pub fn servers(&self) -> Result<&ServerParts, Missing> {
        self.servers.as_ref().map_err(Missing::clone)
    }

    /// Returns the controller manager and the scheduler.
    ///
    /// # Errors
    /// A program is missing; the error names the command that obtains it.
    pub fn controllers(&self) -> Result<&ControllerParts, Missing> {
        self.controllers.as_ref().map_err(Missing::clone)
    }

    /// Returns the programs of a node.
    ///
    /// # Errors
    /// A program or a privilege is missing; the error names the remedy.
    pub fn node(&self) -> Result<&NodeParts, Missing> {
        self.node.as_ref().map_err(Missing::clone)
    }

    /// Returns the registries.
    ///
    /// # Errors
    /// A program is missing; the error names the command that obtains it.
    pub fn registry(&self) -> Result<&RegistryParts, Missing> {
        self.registry.as_ref().map_err(Missing::clone)
    }

    /// Returns container runtimes of several ages.
    ///
    /// # Errors
    /// A program or a privilege is missing; the error names the remedy.
    pub fn runtimes(&self) -> Result<&RuntimeParts, Missing> {
        self.runtimes.as_ref().map_err(Missing::clone)
    }

    /// Returns Helm 4 and Helm 3.
    ///
    /// # Errors
    /// A program is missing; the error names the command that obtains it.
    pub fn helm(&self) -> Result<&HelmParts, Missing> {
        self.helm.as_ref().map_err(Missing::clone)
    }

    /// Returns the controllers of Cluster API.
    ///
    /// # Errors
    /// A program is missing; the error names the command that obtains it.
    pub fn cluster_api(&self) -> Result<&ClusterApiParts, Missing> {
        self.cluster_api.as_ref().map_err(Missing::clone)
    }
}

/// Prints the modules that will be built, and the expected cost.
fn announce(
    builder: &Builder<'_, '_>,
    cache: &Cache,
    minors: &[Minor],
    progress: Progress<'_>,
) -> Result<(), Error> {
    let mut missing = Vec::new();
    for module in minors.iter().copied().map(module::kubernetes).chain(module::shared()) {
        if !builder.is_present(&module)? {
            missing.push(module);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    progress(&format!("parts to build from Go modules: {}", missing.len()));
    for module in &missing {
        let version = module.version()?;
        let module::Module { name, seconds, megabytes, .. } = module;
        progress(&format!("  {name:<18}{version:<10}about {seconds:>3} s  {megabytes:>3} MB"));
    }
    let seconds: u64 = missing.iter().map(|module| module.seconds).sum();
    let megabytes: u64 = missing.iter().map(|module| module.megabytes).sum();
    progress(&format!(
        "sources: the Go module proxy; time: about {} min on two idle cores; disk: {megabytes} MB \
         kept in {}, up to 11 GB there while building",
        seconds.div_ceil(60),
        cache.path().display()
    ));
    Ok(())
}

/// Turns a missing part into a value. Any other error ends the search.
fn optional<T>(group: impl FnOnce() -> Result<T, Error>) -> Result<Result<T, Missing>, Error> {
    match group() {
        Err(Error::Unavailable(missing)) => Ok(Err(missing)),
        Err(error) => Err(error),
        Ok(parts) => Ok(Ok(parts)),
    }
}
