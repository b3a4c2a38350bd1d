//! A node: containerd and a kubelet that run real pods.

mod containerd;
mod kubelet;
mod network;
mod space;

use std::{ffi::OsStr, net::IpAddr, path::PathBuf, process::Command};

use self::{network::Network, space::Space};
use crate::{
    control_plane::{ControlPlane, DEADLINE},
    error::Error,
    janitor::RunDir,
    parts::Parts,
    port::{Port, random},
    process::Process,
    run,
    wait::{Wait, until},
};

/// What a node is to be.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Its name; a random one without.
    pub name: Option<String>,
    /// Names that it resolves besides the machine's own, as `/etc/hosts` does.
    pub hosts: Vec<(String, IpAddr)>,
}

/// A running node, which is root on the machine but keeps to itself: its
/// processes have PID and mount namespaces of their own, in which
/// `/etc/containerd`, `/run/containerd`, `/var/lib/kubelet` and the like are
/// its own directories. When the first process of the PID namespace dies, the
/// kernel kills containerd's shims and every container too.
///
/// Its pods are on a bridge of its own and reach each other, the machine, and
/// the API server at the address of the Service `kubernetes`. No other Service
/// address works (there is no kube-proxy), no name is resolved, nothing is
/// routed outside.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: processes before what they use.
    kubelet: Process,
    containerd: Process,
    space: Space,
    name: String,
    network: Network,
    ctr: PathBuf,
    _port: Port,
    dir: RunDir,
}

impl Node {
    /// Starts a node of a control plane, and returns when it is `Ready`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without root or a part; what containerd or the
    /// kubelet said if they do not come up.
    pub fn start(
        parts: &Parts,
        control_plane: &ControlPlane,
        options: &NodeOptions,
    ) -> Result<Self, Error> {
        let parts = parts.node()?;
        let dir = RunDir::new("node")?;
        let id = format!("{:08x}", random() >> 32);
        let name = options.name.clone().unwrap_or_else(|| format!("node-{id}"));
        let network = Network::make(&dir, &id, control_plane)?;
        let space = Space::open(&dir, &id, &options.hosts)?;
        let port = Port::reserve()?;
        let containerd = containerd::process(&dir, &space, parts, &network)?;
        let kubelet = kubelet::Kubelet {
            dir: &dir,
            space: &space,
            parts,
            control_plane,
            name: &name,
            address: network.gateway(),
            port: port.number(),
        };
        let mut node = Self {
            kubelet: kubelet.process()?,
            containerd,
            space,
            name,
            network,
            ctr: parts.containerd.with_file_name("ctr"),
            _port: port,
            dir,
        };
        node.wait_containerd()?;
        node.import_pause(&parts.busybox)?;
        node.wait_ready(control_plane)?;
        Ok(node)
    }

    /// Starts what was stopped, and waits until the node is `Ready`.
    ///
    /// # Errors
    /// containerd or the kubelet ended by itself, or does not do its work in time.
    pub fn wait_ready(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        self.wait_containerd()?;
        self.kubelet.start()?;
        let path = format!("/api/v1/nodes/{}", self.name);
        until(&format!("the node {} to be Ready", self.name), DEADLINE, || {
            self.kubelet.check()?;
            self.containerd.check()?;
            let node = control_plane.get(&path)?;
            let node = node.ok_or_else(|| Wait::NotYet("no such node".into()))?;
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            match conditions.into_iter().find(|condition| condition["type"] == "Ready") {
                Some(ready) if ready["status"] == "True" => Ok(()),
                Some(ready) => Err(Wait::NotYet(ready["message"].to_string())),
                None => Err(Wait::NotYet("a node without conditions".into())),
            }
        })
    }

    /// Cuts its power: containerd, the kubelet and all that ran in pods are gone
    /// without warning, and so is what lay in `/run`; the disk stays.
    /// [`wait_ready`](Self::wait_ready) switches it on again.
    ///
    /// # Errors
    /// Something of it still runs.
    pub fn power_off(&mut self) -> Result<(), Error> {
        self.kubelet.kill()?;
        self.containerd.kill()?;
        self.space.power_off()
    }

    fn wait_containerd(&mut self) -> Result<(), Error> {
        self.containerd.start()?;
        until("containerd", DEADLINE, || {
            self.containerd.check()?;
            run::output(self.inside(&self.ctr).arg("version"))
                .map_err(|error| Wait::NotYet(error.to_string()))
        })
        .map(drop)
    }

    /// Pods need the pause image; it comes from a file, so that no registry is
    /// asked for what no test is about.
    fn import_pause(&self, busybox: &std::path::Path) -> Result<(), Error> {
        let image = crate::image::Image::pause_from(busybox)?;
        let file = self.dir.write("pause.tar", image.archive(containerd::PAUSE))?;
        let mut import = self.inside(&self.ctr);
        import.args(["--namespace", "k8s.io", "images", "import"]).arg(file);
        run::output(&mut import).map(drop)
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's address on the bridge: the node's own address, at which its
    /// pods and the API server reach what listens there.
    pub fn address(&self) -> IpAddr {
        self.network.gateway()
    }

    /// What the node sees as `/etc/containerd`. Files under `certs.d` are in
    /// force at once.
    pub fn etc_containerd(&self) -> PathBuf {
        self.dir.path().join(space::ETC_CONTAINERD)
    }

    /// A command that runs in the node's namespaces.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let words = self.space.wrapper();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// containerd, for tests that hurt it.
    pub const fn containerd(&mut self) -> &mut Process {
        &mut self.containerd
    }

    /// The kubelet, for tests that hurt it.
    pub const fn kubelet(&mut self) -> &mut Process {
        &mut self.kubelet
    }

    /// All processes but those of pods.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.containerd, &self.kubelet].into_iter()
    }
}
