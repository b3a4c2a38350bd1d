//! etcd and an API server; on request the controllers too.

mod access;
mod api;
mod endpoints;
mod expiring;
mod network;
mod plan;
mod server;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use self::plan::{CONTROLLER_MANAGER, Plan, Storage};
pub(crate) use self::{network::ServiceNetwork, server::Server};
use crate::{
    error::Error, http::Client, janitor::RunDir, parts::Parts, pki::Authority, port::Port,
    process::Process, run::LESS_COLLECTION,
};

/// The deadline for a server to do its work. Normally it takes seconds; a machine that compiles
/// meanwhile takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(3);

/// The parts of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Run kube-controller-manager: service accounts and their tokens,
    /// `ReplicaSets`, Endpoints, garbage collection.
    pub controller_manager: bool,
    /// Run kube-scheduler. Without it a pod needs its `nodeName` set.
    pub scheduler: bool,
    /// More flags for kube-apiserver; of a flag that is given twice the last one counts.
    pub api_server_flags: Vec<String>,
    /// Flags of a second kube-apiserver on the same etcd, beside the others; `None` if
    /// there is one alone.
    pub second_api_server: Option<Vec<String>>,
}

impl Options {
    /// Returns the options of a control plane with all parts.
    pub fn complete() -> Self {
        Self { controller_manager: true, scheduler: true, ..Self::default() }
    }
}

/// A running control plane. It listens only on 127.0.0.1, on random ports.
///
/// The API server finds the endpoints of a Service by itself
/// (`--enable-aggregator-routing`), so it reaches webhooks by
/// `clientConfig.service` without kube-proxy. Endpoints are never loopback
/// addresses (the API forbids it): a webhook in the test's own process is
/// reached by `clientConfig.url`, or by a Service at
/// [`Node::address`](crate::Node::address).
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: servers before the parts that they use.
    controllers: Vec<Server>,
    api_server: Server,
    second: Option<(Server, u16)>,
    etcd: Option<Server>,
    storage: Storage,
    client: Client,
    url: String,
    port: u16,
    kubectl: PathBuf,
    authority: Authority,
    network: ServiceNetwork,
    kubeconfig: PathBuf,
    _ports: Vec<Port>,
    dir: RunDir,
}

impl ControlPlane {
    /// Starts it, and returns when it answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a part is missing; the output of the servers if they do not start.
    pub fn start(parts: &Parts, options: &Options) -> Result<Self, Error> {
        let mut control_plane = Self::prepare(parts, options, None)?;
        control_plane.wait_ready()?;
        Ok(control_plane)
    }

    /// Starts its processes, and returns when etcd answers;
    /// [`wait_ready`](Self::wait_ready) waits for the others.
    ///
    /// # Errors
    /// A part is missing, or etcd does not start.
    pub(crate) fn start_etcd_first(parts: &Parts, options: &Options) -> Result<Self, Error> {
        let mut control_plane = Self::prepare(parts, options, None)?;
        control_plane.etcd.iter_mut().try_for_each(Server::start)?;
        control_plane.api_server.process.start()?;
        Ok(control_plane)
    }

    /// Starts another control plane on the etcd of this one, and returns before it is ready;
    /// [`wait_ready`](Self::wait_ready) waits. Its data, authority and users are its own: `name`
    /// is the prefix of its keys, and no other control plane on that etcd may have it.
    ///
    /// # Errors
    /// A part is missing, or a process cannot be started.
    pub fn start_beside(
        &self,
        parts: &Parts,
        name: &str,
        options: &Options,
    ) -> Result<Self, Error> {
        let storage = Storage { port: self.storage.port, prefix: format!("/{name}") };
        let mut control_plane = Self::prepare(parts, options, Some(storage))?;
        control_plane.api_server.process.start()?;
        Ok(control_plane)
    }

    /// Makes a control plane whose processes do not run. Without `storage` it has its own etcd.
    fn prepare(parts: &Parts, options: &Options, storage: Option<Storage>) -> Result<Self, Error> {
        let servers = parts.servers()?;
        let is_shared = storage.is_some();
        let mut plan = Plan::new(servers, storage)?;
        let etcd = if is_shared { None } else { Some(plan.etcd()?) };
        plan.identify_api_servers()?;
        let flags = &options.api_server_flags;
        let api_server = plan.api_server("kube-apiserver", plan.port(), &[flags])?;
        let second = match &options.second_api_server {
            Some(more) => {
                let port = plan.reserve()?;
                Some((plan.api_server("kube-apiserver-2", port, &[flags, more])?, port))
            }
            None => None,
        };
        let mut controllers = Vec::new();
        if options.controller_manager {
            controllers.push(plan.controller_manager(parts.controllers()?)?);
        }
        if options.scheduler {
            controllers.push(plan.scheduler(parts.controllers()?)?);
        }
        Ok(Self {
            controllers,
            api_server,
            second,
            etcd,
            storage: plan.storage.clone(),
            kubeconfig: plan.administrator()?,
            client: plan.client()?,
            url: plan.url(),
            port: plan.port(),
            kubectl: servers.kubectl.clone(),
            authority: plan.authority,
            network: plan.network,
            _ports: plan.ports,
            dir: plan.dir,
        })
    }

    /// Starts the servers that do not run, and returns when all answer. A test calls it after it
    /// has stopped servers.
    ///
    /// # Errors
    /// A server ended unexpectedly, or does not answer in time.
    pub fn wait_ready(&mut self) -> Result<(), Error> {
        self.etcd.iter_mut().try_for_each(Server::start)?;
        self.api_server.start()?;
        self.wait_for_namespace("default")?;
        self.second.iter_mut().try_for_each(|(server, _)| server.start())?;
        self.controllers.iter_mut().try_for_each(Server::start)?;
        if self.manages_accounts() { self.wait_for_account("default") } else { Ok(()) }
    }

    /// Simulates a power loss: kills every server, and keeps the stored data.
    /// [`wait_ready`](Self::wait_ready) starts the servers again.
    ///
    /// # Errors
    /// A server still runs.
    pub fn power_off(&mut self) -> Result<(), Error> {
        let second = self.second.iter_mut().map(|(server, _)| server);
        self.etcd
            .iter_mut()
            .chain([&mut self.api_server])
            .chain(second)
            .chain(&mut self.controllers)
            .try_for_each(|server| server.process.kill())
    }

    /// Returns the administrator's kubeconfig. It refers to no other file, and can be copied.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the API server's port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the second API server's port, if there is one.
    pub fn second_port(&self) -> Option<u16> {
        self.second.as_ref().map(|(_, port)| *port)
    }

    /// Returns the second API server, if there is one.
    pub fn second_api_server(&mut self) -> Option<&mut Process> {
        self.second.as_mut().map(|(server, _)| &mut server.process)
    }

    /// Returns the authority that signed the API server's certificate. The API server accepts its
    /// client certificates, so a test can become any user.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the command `kubectl` of the administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        // kubectl caches discovered APIs under the home directory.
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.dir.path());
        command.envs([LESS_COLLECTION]);
        command
    }

    /// Returns the process of etcd, for tests that stop or kill it; `None` if another control
    /// plane owns it.
    pub fn etcd(&mut self) -> Option<&mut Process> {
        self.etcd.as_mut().map(|server| &mut server.process)
    }

    /// Returns the process of the API server, for tests that stop or kill it.
    pub const fn api_server(&mut self) -> &mut Process {
        &mut self.api_server.process
    }

    /// Returns all processes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let second = self.second.iter().map(|(server, _)| server);
        let servers = self.etcd.iter().chain([&self.api_server]).chain(second);
        servers.chain(&self.controllers).map(|server| &server.process)
    }

    pub(crate) const fn network(&self) -> ServiceNetwork {
        self.network
    }

    fn manages_accounts(&self) -> bool {
        self.controllers.iter().any(|server| server.process.name() == CONTROLLER_MANAGER)
    }
}
