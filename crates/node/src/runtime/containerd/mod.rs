//! containerd: files below `certs.d`, or tables in config.toml.

mod certs_d;
mod foreign_files;
mod imports;
mod main_file;
mod migrate;
mod mirrors;
mod registry;
mod settings;

use crate::{
    condition::Refusal,
    desired::{Desired, Form},
    files::HostPath,
    observed::Observed,
    plan::Plan,
};

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    match desired.form {
        Form::CertsD => certs_d::plan(desired, observed),
        Form::Mirrors | Form::Page => mirrors::plan(desired, observed),
    }
}

/// What has to be looked at.
pub(crate) fn unseen(_: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let mut unseen = imports::unseen(observed);
    if unseen.is_empty() {
        unseen.extend(certs_d::unseen(observed));
    }
    unseen
}
