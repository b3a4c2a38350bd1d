//! Everything, started.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use chart_tests::{Helm, Live};
use image_swap_testbed::{
    ControlPlane, Node, NodeOptions, Options, Parts, Recorder, Registry, or_skip,
};
use tempfile::TempDir;

use crate::{
    program::Program,
    registry::{self, HARBOR, PUBLIC},
};

/// A cluster, a registry, Helm; nothing of ours runs yet.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order: who asks before who is asked.
    /// The one node.
    pub node: Node,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The company's registry, [`HARBOR`].
    pub registry: Registry,
    /// Who stands for the public registries, [`PUBLIC`].
    pub public: Recorder,
    /// The program that the chart's image holds.
    pub program: Program,
    /// The packed chart.
    pub chart: PathBuf,
    pub(crate) parts: Parts,
    pub(crate) live: Live,
    folder: TempDir,
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Stage {
    /// Sets everything up; nothing where a part is missing and that is no failure
    /// (see [`or_skip`]).
    ///
    /// # Errors
    /// What did not start, and what it said.
    pub fn start() -> Result<Option<Self>> {
        let parts = Parts::for_tests(&|step| say(step))?;
        let all = parts.servers().and(parts.controllers()).and(parts.registry()).and(parts.node());
        if or_skip(all)?.is_none() {
            return Ok(None);
        }
        let helm = match Helm::find() {
            Ok(helm) => helm,
            Err(missing) if env::var_os("CI").is_some_and(|ci| ci == "true") => bail!(missing),
            Err(missing) => {
                say(&format!("skipped, {missing}"));
                return Ok(None);
            }
        };
        let folder = tempfile::Builder::new().prefix("image-swap-e2e-").tempdir()?;
        say("starting the registry");
        let company = registry::Company::found(&parts)?;
        let public = Recorder::start(&PUBLIC)?;
        say("building the image");
        let program = Program::build(folder.path(), &company)?;
        say("starting the control plane and the node");
        let control_plane = ControlPlane::start(&parts, &Options::complete())?;
        let mut hosts = public.hosts();
        hosts.push((HARBOR.to_owned(), company.registry.listens().ip()));
        let node = Node::start(&parts, &control_plane, &NodeOptions { name: None, hosts })?;
        company.be_trusted(&program, &node)?;
        let chart = helm.package(&root().join("charts/image-swap"), folder.path())?;
        let live = Live::new(helm, control_plane.kubeconfig());
        let registry = company.registry;
        let stage =
            Self { node, control_plane, registry, public, program, chart, parts, live, folder };
        stage.prepare_shell()?;
        Ok(Some(stage))
    }

    /// Helm with this cluster's kubeconfig.
    pub const fn helm(&self) -> &Live {
        &self.live
    }

    /// The folder of whoever follows the page: the packed chart is in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into [`Self::folder`]; where it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder().join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Says which step comes next, past the test harness, which would keep it.
    pub fn step(&self, what: &str) {
        say(what);
    }
}

/// With the seconds since the first step, which say what each costs.
pub(crate) fn say(step: &str) {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let seconds = FIRST.elapsed().as_secs();
    let _ = std::io::stderr().write_all(format!("  {seconds:>4} s  {step}\n").as_bytes());
}
