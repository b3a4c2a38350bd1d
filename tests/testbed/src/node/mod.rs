//! A node: containerd, a kubelet and kube-proxy, which run real pods.

mod containerd;
mod dns;
mod kubelet;
mod network;
mod proxy;
mod space;

use std::{ffi::OsStr, fs, iter::successors, net::IpAddr, path::PathBuf, process::Command};

use self::{dns::NameServer, network::Network, space::Space};
use crate::{
    control_plane::{ControlPlane, DEADLINE},
    error::Error,
    janitor::RunDir,
    kubeconfig::{self, SERVER_NAME, UserCredential},
    parts::{NodeParts, Parts},
    port::random,
    process::Process,
    product::Product,
    registry::Registry,
    run,
    wait::{Wait, until},
};

/// The options of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// The name in the cluster; `None` chooses a random one.
    pub name: Option<String>,
    /// Names that the node and its pods resolve, with their addresses. A loopback
    /// address is one of the machine's: the node reaches it through the link.
    pub hosts: Vec<(String, IpAddr)>,
    /// The minor version of containerd, such as `1.6`; `None` for the pinned current one.
    pub containerd: Option<String>,
}

/// A running node.
///
/// Its processes run as root of the machine. They have network, PID and mount
/// namespaces of their own, in which `/etc/containerd`, `/run/containerd`,
/// `/var/lib/kubelet`, `/var/lib/image-swap` and the like are folders of the node. When the
/// first process of the PID namespace ends, the kernel kills containerd's shims and every
/// container.
///
/// Pods reach each other, Services (by kube-proxy), and the names in
/// [`NodeOptions::hosts`] (by a name server on the link). The API server reaches pods
/// and Services through the first node. Nodes of a cluster have a link of their own to each
/// other. No packet is routed outside.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: processes before the parts that they use.
    kubelet: Process,
    proxy: Process,
    containerd: Process,
    _names: NameServer,
    space: Space,
    name: String,
    network: Network,
    ctr: PathBuf,
    crictl: PathBuf,
    dir: RunDir,
}

/// The user and group of a kubelet (`system:nodes` is the group that the Node authorizer
/// knows), and of kube-proxy.
const NODES: &str = "system:nodes";
const PROXY: &str = "system:kube-proxy";

impl Node {
    /// A script that restarts containerd. It runs inside a node.
    pub const RESTART: &str = containerd::RESTART;

    /// Starts a node of a control plane, and returns when it is `Ready`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without root or a part; the end of a log if a server does
    /// not start.
    pub fn start(
        parts: &Parts,
        control_plane: &ControlPlane,
        options: &NodeOptions,
    ) -> Result<Self, Error> {
        Self::start_in(parts, control_plane, options, &[])
    }

    /// Starts one more node of a cluster that has the nodes `others`, the first one first, and
    /// returns when it is `Ready`.
    ///
    /// # Errors
    /// Fails as [`Node::start`] does.
    pub fn start_in(
        parts: &Parts,
        control_plane: &ControlPlane,
        options: &NodeOptions,
        others: &[&Self],
    ) -> Result<Self, Error> {
        let old = options.containerd.as_deref();
        let old = old.map(|minor| parts.runtimes()?.containerd(minor)).transpose()?;
        let parts = parts.node()?;
        let dir = RunDir::new("node")?;
        let id = format!("{:08x}", random() >> 32);
        let name = options.name.clone().unwrap_or_else(|| format!("node-{id}"));
        let addresses: Vec<IpAddr> = options.hosts.iter().map(|(_, address)| *address).collect();
        let network = Network::choose(&id, &addresses)?;
        let hosts = options.hosts.iter();
        let hosts: Vec<_> = hosts.map(|(name, at)| (name.clone(), network.seen(*at))).collect();
        let space = Space::open(&dir, &id, &hosts)?;
        let first = others.first().map(|first| &first.network);
        network.make(&dir, &space, control_plane, first)?;
        for other in others {
            network.join(&space, &other.network, &other.space)?;
        }
        let names = NameServer::start(network.machine(), &hosts)?;
        if first.is_none() {
            publish(control_plane, &network)?;
        }
        let [kubelet, proxy] = servers(&dir, &space, parts, control_plane, &name, &network)?;
        let mut node = Self {
            kubelet,
            proxy,
            containerd: containerd::process(&dir, &space, parts, old, &network)?,
            _names: names,
            space,
            name,
            network,
            ctr: old.map_or(&parts.containerd, |old| &old.program).with_file_name("ctr"),
            crictl: parts.crictl.clone(),
            dir,
        };
        node.wait_containerd()?;
        node.import_pause(&parts.busybox)?;
        node.wait_ready(control_plane)?;
        Ok(node)
    }

    /// Starts the processes that do not run, and waits until the node is `Ready`.
    ///
    /// # Errors
    /// containerd or the kubelet ended unexpectedly, or is not ready in time.
    pub fn wait_ready(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        self.power_on()?;
        let path = format!("/api/v1/nodes/{}", self.name);
        until(&format!("the node {} to be Ready", self.name), DEADLINE, || {
            self.kubelet.check()?;
            self.proxy.check()?;
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

    /// Cuts the power: every process of the node ends without warning, and `/run` is
    /// lost; the disk stays. [`power_on`](Self::power_on) starts it again.
    ///
    /// # Errors
    /// Something of it still runs.
    pub fn power_off(&mut self) -> Result<(), Error> {
        self.kubelet.kill()?;
        self.proxy.kill()?;
        self.containerd.kill()?;
        self.space.power_off()
    }

    /// Starts the processes that do not run, and waits until containerd answers.
    ///
    /// # Errors
    /// A process does not start, or containerd does not answer in time.
    pub fn power_on(&mut self) -> Result<(), Error> {
        self.wait_containerd()?;
        self.proxy.start()?;
        self.kubelet.start()
    }

    fn wait_containerd(&mut self) -> Result<(), Error> {
        self.containerd.start()?;
        until("containerd", DEADLINE, || {
            self.containerd.check()?;
            self.ask_containerd()
        })
    }

    /// Restarts containerd from inside, as an administrator does on a host, and waits until it
    /// answers. Containers run on.
    ///
    /// # Errors
    /// containerd does not end, or does not answer in time.
    pub fn restart_containerd(&self) -> Result<(), Error> {
        run::output(self.inside("sh").args(["-c", Self::RESTART]))?;
        until("containerd", DEADLINE, || self.ask_containerd())
    }

    /// Checks that containerd answers.
    fn ask_containerd(&self) -> Result<(), Wait> {
        let answered = run::output(self.inside(&self.ctr).arg("version"));
        answered.map(drop).map_err(|error| Wait::NotYet(error.to_string()))
    }

    /// Imports the pause image, which every pod needs, from a file. No registry receives a request
    /// that a test does not cause.
    fn import_pause(&self, busybox: &std::path::Path) -> Result<(), Error> {
        let image = crate::image::Image::pause_from(busybox)?;
        self.import(&image.archive(containerd::PAUSE)?)
    }

    /// Loads the image of the program as `reference`, so that no registry is contacted for it.
    ///
    /// # Errors
    /// A file of the image cannot be read, or containerd refuses the image.
    pub fn import_product(&self, product: &Product, reference: &str) -> Result<(), Error> {
        self.import(&product.archive(reference)?)
    }

    /// Loads the images of an archive.
    fn import(&self, archive: &[u8]) -> Result<(), Error> {
        let file = self.dir.write("import.tar", archive)?;
        let mut import = self.inside(&self.ctr);
        import.args(["--namespace", "k8s.io", "images", "import"]).arg(&file);
        run::output(&mut import)?;
        fs::remove_file(&file).map_err(Error::io("remove an imported archive"))
    }

    /// Returns the name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the machine's address on the link to the node. Servers of a test that
    /// listen there are reached by pods, and an `EndpointSlice` may name it.
    pub const fn address(&self) -> IpAddr {
        IpAddr::V4(self.network.machine())
    }

    /// Returns the folder that the node sees as `/etc/containerd`. containerd reads files
    /// below `certs.d` at each pull.
    pub fn etc_containerd(&self) -> PathBuf {
        self.dir.path().join(space::ETC_CONTAINERD)
    }

    /// Returns the folder that the node sees as `/var/lib/image-swap`.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join(space::STATE)
    }

    /// Returns the folder whose manifests the kubelet runs as static pods.
    pub fn static_pods(&self) -> PathBuf {
        self.dir.path().join(kubelet::STATIC_PODS)
    }

    /// Makes containerd trust the certificate of `registry`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn trust(&self, registry: &Registry) -> Result<(), Error> {
        let Some(authority) = registry.authority() else { return Ok(()) };
        let address = registry.address();
        let folder = self.etc_containerd().join("certs.d").join(&address);
        let toml = format!("[host.\"https://{address}\"]\nca = \"ca.crt\"\n");
        let write = || {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("ca.crt"), authority)?;
            fs::write(folder.join("hosts.toml"), toml)
        };
        write().map_err(Error::io(format!("write {}", folder.display())))
    }

    /// Returns `crictl`, the client for the runtime's own API, in the node's namespaces.
    pub fn crictl(&self) -> Command {
        let mut command = self.inside(&self.crictl);
        command.args(["--runtime-endpoint", "unix:///run/containerd/containerd.sock"]);
        command
    }

    /// Returns a command that runs in the node's namespaces.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let words = self.space.wrapper();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// Returns true if the process `pid`, as the machine numbers it, runs in the node's namespaces: its
    /// last parent is their first process.
    pub fn has_process(&self, pid: u32) -> bool {
        let parent = |pid: &u32| -> Option<u32> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            parent.trim().parse().ok()
        };
        successors(Some(pid), parent).any(|it| it == self.space.pid())
    }

    /// Returns containerd, for tests that stop it.
    pub const fn containerd(&mut self) -> &mut Process {
        &mut self.containerd
    }

    /// Returns the kubelet, for tests that stop it.
    pub const fn kubelet(&mut self) -> &mut Process {
        &mut self.kubelet
    }

    /// Returns all processes except those of pods.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.containerd, &self.kubelet, &self.proxy].into_iter()
    }
}

/// Returns the kubelet and kube-proxy, not yet started.
fn servers(
    dir: &RunDir,
    space: &Space,
    parts: &NodeParts,
    control_plane: &ControlPlane,
    name: &str,
    network: &Network,
) -> Result<[Process; 2], Error> {
    let authority = control_plane.authority();
    dir.write("ca.crt", authority.certificate())?;
    let url = format!("https://{}:{}", network.machine(), control_plane.port());
    let kubeconfig = |file: &str, user: &str, group: Option<&str>| {
        let identity = authority.client(user, group)?;
        let credential = UserCredential::Certificate(&identity);
        let name = Some(SERVER_NAME);
        dir.write(file, kubeconfig::render(&url, name, authority.certificate(), &credential))
    };
    let user = format!("system:node:{name}");
    let kubelet = kubelet::Kubelet {
        dir,
        space,
        program: &parts.kubelet,
        kubeconfig: &kubeconfig("kubelet.kubeconfig", &user, Some(NODES))?,
        name,
        network,
    };
    let for_proxy = kubeconfig("kube-proxy.kubeconfig", PROXY, None)?;
    let proxy = proxy::process(dir, space, &parts.kube_proxy, network, &for_proxy, name)?;
    Ok([kubelet.process()?, proxy])
}

/// Publishes the address of the API server as the endpoint of the Service `kubernetes`.
/// The API server cannot do so itself: it listens on a loopback address, which no
/// endpoint may name.
fn publish(control_plane: &ControlPlane, network: &Network) -> Result<(), Error> {
    let server = (network.machine(), control_plane.port()).into();
    control_plane.set_endpoints("default", "kubernetes", "https", &[server])
}
