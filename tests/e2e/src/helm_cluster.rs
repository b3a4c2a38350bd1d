//! A whole cluster for one test.

use std::{
    env, fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Instant,
};

use anyhow::{Context, Result};
use image_swap_testbed::{
    ControlPlane, Credentials, HelmMajor, Live, Node, NodeOptions, Options, Parts, Product,
    Recorder, Registry, Turn,
};
use tempfile::TempDir;

use crate::{
    program::Program,
    registry::{BASE_PATH, Company, HARBOR, PUBLIC},
};

/// A cluster, a registry and Helm. The chart is not installed yet.
#[derive(Debug)]
pub struct HelmCluster {
    // Dropped in this order: clients before servers, and the turn last.
    /// The node, the first one.
    pub node: Node,
    /// The other nodes, in the order of [`HelmClusterOptions::others`].
    pub others: Vec<Node>,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The company's registry, [`HARBOR`].
    pub registry: Registry,
    /// The recorder of connections to the public registries, [`PUBLIC`].
    pub public: Recorder,
    /// The program in the chart's image.
    pub program: Program,
    /// The packed chart.
    pub chart: PathBuf,
    pub(crate) parts: Parts,
    pub(crate) product: Product,
    /// Names that every node resolves, with their addresses.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    helm: Live,
    folder: TempDir,
    _turn: Turn,
}

/// The options of a cluster.
#[derive(Clone, Debug, Default)]
pub struct HelmClusterOptions {
    /// The only user of the registry; `None` for a registry that anyone may use.
    pub credentials: Option<Credentials>,
    /// True if the API server writes an audit log, [`HelmCluster::audit_log`].
    pub audit: bool,
    /// The minor versions of containerd on further nodes, such as `1.6`; `None` stands for
    /// that of the first node.
    pub others: Vec<Option<&'static str>>,
    /// True if no node has mirror files at the start: its containerd does not know the
    /// registry. The image of the program is loaded into each node.
    pub bare_nodes: bool,
    /// Further names that every node and its pods resolve, with their addresses.
    pub hosts: Vec<(String, IpAddr)>,
}

/// The audit policy: every request for pods, without bodies.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    resources: [{group: '', resources: [pods]}]
  - level: None
";
const AUDIT_LOG: &str = "audit.log";
/// The tag of the program's image.
const TAG: &str = env!("CARGO_PKG_VERSION");

/// Returns the folder of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl HelmCluster {
    /// Starts everything, with a registry that anyone may use.
    ///
    /// # Errors
    /// A part or the image under test is missing, or a server does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(HelmClusterOptions::default())
    }

    /// Starts everything, and returns when all of it is ready.
    ///
    /// # Errors
    /// A part or the image under test is missing, or a server does not start.
    pub fn start_with(options: HelmClusterOptions) -> Result<Self> {
        let turn = Turn::take()?;
        print_step("starting the registry");
        let parts = Parts::present()?;
        let product = Product::find(&root())?;
        let folder = tempfile::Builder::new().prefix("image-swap-e2e-").tempdir()?;
        let program = Program::unpack(&product, &folder.path().join("root"))?;
        let company = Company::start(&parts, options.credentials)?;
        let repository = format!("{BASE_PATH}/image-swap");
        company.registry.push_product(&repository, TAG, &product)?;
        let public = Recorder::start(&PUBLIC)?;
        print_step("starting the control plane and the node");
        let mut servers = Options::complete();
        if options.audit {
            let policy = folder.path().join("audit-policy.yaml");
            fs::write(&policy, AUDIT_POLICY)?;
            let log = folder.path().join(AUDIT_LOG);
            servers.api_server_flags = vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", log.display()),
            ];
        }
        let control_plane = ControlPlane::start(&parts, &servers)?;
        let mut hosts = public.hosts();
        hosts.push((HARBOR.to_owned(), company.registry.listens().ip()));
        hosts.extend(options.hosts);
        let first = NodeOptions { hosts: hosts.clone(), ..NodeOptions::default() };
        let node = Node::start(&parts, &control_plane, &first)?;
        let mut others = Vec::new();
        for version in &options.others {
            let version = version.map(str::to_owned);
            print_step(&format!("starting a node with {version:?}"));
            let present: Vec<&Node> = [&node].into_iter().chain(&others).collect();
            let options = NodeOptions { containerd: version, ..first.clone() };
            let other = Node::start_in(&parts, &control_plane, &options, &present)?;
            others.push(other);
        }
        for node in [&node].into_iter().chain(&others) {
            if options.bare_nodes {
                node.import_product(&product, &image())?;
            } else {
                company.set_up(&program, node)?;
            }
        }
        let helm = Live::new(parts.helm()?, HelmMajor::Four, control_plane.kubeconfig())?;
        let chart = helm.helm().package(&root().join("charts/image-swap"), folder.path())?;
        let registry = company.registry;
        let cluster = Self {
            node,
            others,
            control_plane,
            registry,
            public,
            program,
            chart,
            parts,
            product,
            hosts,
            helm,
            folder,
            _turn: turn,
        };
        cluster.prepare_shell()?;
        print_step("the cluster is ready");
        Ok(cluster)
    }

    /// Starts one more node, with a containerd as in [`HelmClusterOptions::others`], and returns
    /// when it is `Ready`. Its containerd does not know the registry, and has no image of the
    /// program: see [`load_program`](Self::load_program).
    ///
    /// # Errors
    /// A part is missing, or a server does not start.
    pub fn add_node(&mut self, containerd: Option<&str>) -> Result<()> {
        let containerd = containerd.map(str::to_owned);
        let options = NodeOptions { hosts: self.hosts.clone(), containerd, name: None };
        let present: Vec<&Node> = self.nodes().collect();
        let node = Node::start_in(&self.parts, &self.control_plane, &options, &present)?;
        self.others.push(node);
        Ok(())
    }

    /// Loads the image of the program into the containerd of `node`.
    ///
    /// # Errors
    /// A file of the image cannot be read, or containerd refuses the image.
    pub fn load_program(&self, node: &Node) -> Result<()> {
        Ok(node.import_product(&self.product, &image())?)
    }

    /// Returns all nodes, the first one first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        [&self.node].into_iter().chain(&self.others)
    }

    /// Returns Helm 4 for this cluster.
    pub const fn helm(&self) -> &Live {
        &self.helm
    }

    /// Returns the working folder of the shell, which holds the packed chart.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the file with the audit log: one event in JSON a line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join(AUDIT_LOG)
    }

    /// Writes a file into [`Self::folder`] and returns its path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder().join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Prints the next step, past the test harness, which keeps output of passing tests.
    pub fn step(&self, name: &str) {
        print_step(name);
    }
}

/// Returns the reference of the program's image in the company's registry.
pub(crate) fn image() -> String {
    format!("{HARBOR}/{BASE_PATH}/image-swap:{TAG}")
}

/// Prints a step with the seconds since the first one.
pub(crate) fn print_step(step: &str) {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let seconds = FIRST.elapsed().as_secs();
    let _ = std::io::stderr().write_all(format!("  {seconds:>4} s  {step}\n").as_bytes());
}
