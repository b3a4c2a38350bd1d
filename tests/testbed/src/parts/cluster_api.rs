//! The controllers of Cluster API, with the infrastructure provider for tests.

use std::path::PathBuf;

use super::{build::Builder, find, machine::Machine, module};
use crate::error::Error;

/// The programs of Cluster API and their objects, in one folder: for each program `NAME` the file
/// `NAME.json` with its objects.
#[derive(Clone, Debug)]
pub struct ClusterApiParts {
    /// The folder of all files.
    pub folder: PathBuf,
}

impl ClusterApiParts {
    /// The controllers, in the order in which they start: Cluster API itself, the providers of kubeadm
    /// for machines and for control planes, and the infrastructure provider, whose machines exist
    /// in its memory alone.
    pub(crate) const CONTROLLERS: [&str; 4] =
        ["core", "bootstrap", "control-plane", "infrastructure"];

    /// Finds the folder, or builds its content.
    pub(super) fn find(
        machine: &Machine<'_>,
        builder: Option<&Builder<'_, '_>>,
    ) -> Result<Self, Error> {
        let folder = match find::named("cluster-api") {
            Some(folder) => folder,
            None => machine.built_folder(builder, &module::cluster_api())?,
        };
        Ok(Self { folder })
    }

    /// Returns the path of a program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the path of the objects of a program: JSON, one object after the other.
    pub(crate) fn objects(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("json")
    }
}
