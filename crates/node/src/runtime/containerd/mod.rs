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
    condition::PlanRefusal,
    desired::{ConfigForm, DesiredConfig},
    files::HostPath,
    observed::ObservedHost,
    plan::HostPlan,
};

pub(crate) fn plan(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
) -> Result<HostPlan, PlanRefusal> {
    match desired.form {
        ConfigForm::CertsD => certs_d::plan(desired, observed),
        ConfigForm::Mirrors | ConfigForm::Page => mirrors::plan(desired, observed),
    }
}

/// What has to be looked at.
pub(crate) fn unread_paths(
    _: Option<&DesiredConfig<'_>>,
    observed: &ObservedHost,
) -> Vec<HostPath> {
    let mut unseen = imports::unread_paths(observed);
    if unseen.is_empty() {
        unseen.extend(certs_d::unread_paths(observed));
    }
    unseen
}
