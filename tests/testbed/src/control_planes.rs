//! A management cluster and its workload clusters.

use std::fmt;

use crate::{
    control_plane::{ControlPlane, Options},
    error::Error,
    parts::Parts,
};

/// Several control planes on one etcd: that of a management cluster, and those of its workload
/// clusters. Each has its own authority, users, port and data.
pub struct ControlPlanes {
    // Dropped in this order: clients of etcd before etcd.
    /// The control planes of the workload clusters.
    pub workloads: Vec<ControlPlane>,
    /// The control plane of the management cluster, which owns etcd.
    pub hub: ControlPlane,
}

impl ControlPlanes {
    /// Starts `number` workload clusters without controllers beside a management cluster, and
    /// returns when all answer.
    ///
    /// # Errors
    /// A part is missing; the output of a server that does not start.
    pub fn start(parts: &Parts, hub: &Options, number: usize) -> Result<Self, Error> {
        let mut all =
            Self { workloads: Vec::new(), hub: ControlPlane::start_etcd_first(parts, hub)? };
        let options = Options::default();
        for _ in 0..number {
            all.launch(parts, &options)?;
        }
        all.hub.wait_ready()?;
        all.workloads.iter_mut().try_for_each(ControlPlane::wait_ready)?;
        Ok(all)
    }

    /// Starts one more workload cluster, and returns its position in
    /// [`workloads`](Self::workloads) when it answers.
    ///
    /// # Errors
    /// A part is missing; the output of a server that does not start.
    pub fn add(&mut self, parts: &Parts, options: &Options) -> Result<usize, Error> {
        let position = self.launch(parts, options)?;
        self.workloads[position].wait_ready()?;
        Ok(position)
    }

    fn launch(&mut self, parts: &Parts, options: &Options) -> Result<usize, Error> {
        let position = self.workloads.len();
        let name = format!("workload-{position}");
        self.workloads.push(self.hub.start_beside(parts, &name, options)?);
        Ok(position)
    }
}

impl fmt::Debug for ControlPlanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.workloads.iter().map(ControlPlane::url);
        formatter
            .debug_struct("ControlPlanes")
            .field("hub", &self.hub.url())
            .field("workloads", &urls.collect::<Vec<_>>())
            .finish()
    }
}
