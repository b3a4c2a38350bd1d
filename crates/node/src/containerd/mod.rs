//! containerd: files below `certs.d`, or tables in config.toml.

mod certs_d;
mod config_path;
mod directory;
mod main_file;
mod migrate;
mod mirrors;
mod neighbours;
mod others;
mod registry;
mod settings;
mod sources;
mod support;

use crate::{Desired, Form, HostPath, Observed, Plan, Refusal};

/// Where files go unless config.toml says otherwise.
const CERTS_D: &str = "/etc/containerd/certs.d";

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    match desired.form {
        Form::CertsD => certs_d::plan(desired, observed),
        Form::Mirrors | Form::Page => mirrors::plan(desired, observed),
    }
}

/// What has to be looked at.
pub(crate) fn unseen(observed: &Observed) -> Vec<HostPath> {
    let mut unseen = sources::unseen(observed);
    if unseen.is_empty() {
        unseen.extend(certs_d::unseen(observed));
    }
    unseen
}
