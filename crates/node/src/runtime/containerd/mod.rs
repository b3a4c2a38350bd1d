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
    plan::{HostPlan, builder::PlanBuilder},
    runtime::containerd::imports::PlanInput,
};

pub(crate) fn plan(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
) -> Result<HostPlan, PlanRefusal> {
    let mut changes = PlanBuilder::new(observed, Some(desired.form), desired.restart)?;
    let base = changes.base(&observed.config);
    let without_edits = imports::without_us(observed, base.as_ref());
    let sources = imports::read(&without_edits)?;
    imports::version_check(observed, &sources, &mut changes)?;
    let plan = match desired.form {
        ConfigForm::CertsD => certs_d::plan,
        ConfigForm::Mirrors | ConfigForm::Palette => mirrors::plan,
    };
    plan(PlanInput { desired, observed, sources: &sources, base, changes })
}

/// Returns the files that containerd reads when it starts.
pub(crate) fn paths_at_start(observed: &ObservedHost) -> Vec<HostPath> {
    imports::paths(observed, &mut Vec::new())
}

/// Returns the paths that have to be read.
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
