//! Cluster API on a control plane, with machines that exist in memory alone.

mod definitions;
mod machines;
mod manager;

use std::{net::Ipv4Addr, process::Command};

use self::definitions::ObjectSets;
use crate::{
    control_plane::{ControlPlane, Server},
    error::Error,
    janitor::RunDir,
    parts::{ClusterApiParts, Parts},
    pki::Authority,
    port::{Port, loopback},
    process::Process,
    run,
    turn::Turn,
};

/// The controllers of Cluster API, the providers of kubeadm, and an infrastructure provider.
///
/// The infrastructure provider keeps its machines in memory. For each `Cluster` it serves a
/// simulated API server, which knows a few kinds of objects. One process at a time can have this
/// value; others wait.
#[derive(Debug)]
pub struct ClusterApi {
    managers: Vec<Server>,
    ports: Vec<Port>,
    parts: ClusterApiParts,
    address: Ipv4Addr,
    dir: RunDir,
    turn: Turn,
}

impl ClusterApi {
    /// Starts all controllers on `plane` as its administrator, and returns when their webhooks are
    /// registered.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a part is missing; the end of the log of a controller that does
    /// not start.
    pub fn start(parts: &Parts, plane: &ControlPlane) -> Result<Self, Error> {
        let parts = parts.cluster_api()?.clone();
        Self::start_at(parts, plane, loopback(), Turn::of_cluster_api()?)
    }

    /// Stops the controllers, and starts others on `plane`. The simulated API servers get the same
    /// addresses, and forget their objects.
    ///
    /// # Errors
    /// Fails as [`start`](Self::start) does.
    pub fn restart_on(mut self, plane: &ControlPlane) -> Result<Self, Error> {
        self.stop()?;
        Self::start_at(self.parts, plane, self.address, self.turn)
    }

    fn start_at(
        parts: ClusterApiParts,
        plane: &ControlPlane,
        address: Ipv4Addr,
        turn: Turn,
    ) -> Result<Self, Error> {
        let dir = RunDir::new("cluster-api")?;
        let mut this = Self { managers: Vec::new(), ports: Vec::new(), parts, address, dir, turn };
        let authority = Authority::new("cluster-api")?;
        authority.server(&["127.0.0.1"])?.write(&this.dir, "webhook/tls")?;
        let mut webhooks = Vec::new();
        for name in ClusterApiParts::CONTROLLERS {
            let listeners = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
            let numbers = listeners.each_ref().map(Port::number);
            this.ports.extend(listeners);
            let sets = ObjectSets::read(&this.parts.objects(name), numbers[0], &authority)?;
            this.create(plane, &format!("{name}-definitions.json"), &sets.definitions)?;
            webhooks.push((format!("{name}-webhooks.json"), sets.webhooks));
            this.managers.push(this.manager(plane, name, numbers));
        }
        definitions::wait_established(plane)?;
        this.wait_ready()?;
        for (file, objects) in webhooks {
            this.create(plane, &file, &objects)?;
        }
        Ok(this)
    }

    /// Starts the controllers that do not run, and returns when all answer.
    ///
    /// # Errors
    /// A controller ended unexpectedly, or does not answer in time.
    pub fn wait_ready(&mut self) -> Result<(), Error> {
        self.managers.iter_mut().try_for_each(|server| server.process.start())?;
        self.managers.iter_mut().try_for_each(Server::start)
    }

    /// Stops all controllers. API servers refuse writes of their objects until
    /// [`wait_ready`](Self::wait_ready), because the webhooks do not answer.
    ///
    /// # Errors
    /// A controller does not end.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.managers.iter_mut().try_for_each(|server| server.process.stop())
    }

    /// Returns the processes of the controllers.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.managers.iter().map(|server| &server.process)
    }

    /// Returns the command `clusterctl` of the administrator of `plane`.
    pub fn clusterctl(&self, plane: &ControlPlane) -> Command {
        let mut command = Command::new(self.parts.program("clusterctl"));
        command
            .env("KUBECONFIG", plane.kubeconfig())
            .env("HOME", self.dir.path())
            .env("XDG_CONFIG_HOME", self.dir.path())
            // No request for a newer version.
            .env("CLUSTERCTL_DISABLE_VERSIONCHECK", "true");
        command
    }

    /// Returns the ends of all logs.
    fn logs(&self) -> String {
        let log = |it: &Process| format!("--- {}\n{}\n", it.name(), run::tail_of(it.log()));
        self.processes().map(log).collect()
    }

    fn create(&self, plane: &ControlPlane, file: &str, objects: &str) -> Result<(), Error> {
        let path = self.dir.write(file, objects)?;
        let mut command = plane.kubectl();
        run::output(command.args(["create", "--filename"]).arg(path)).map(drop)
    }
}
