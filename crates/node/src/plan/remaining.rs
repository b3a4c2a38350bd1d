//! Commands that an administrator has to run after a plan.

use std::fmt::Write as _;

use image_swap_core::mirror::Fallback;

use crate::{
    desired::{ConfigForm, DesiredConfig},
    plan::{HostPlan, PlanOutcome},
    runtime::kind::ContainerRuntime,
};

/// The name of a declaration's file in commands, if the real name is unknown.
const FILE: &str = "registry-secret.yaml";

impl HostPlan {
    /// Returns the command that an administrator runs on the host to complete the plan with a
    /// restart of `runtime`: for `desired`, or to restore the host if that is `None`. Returns
    /// `None` if the plan needs no restart and keeps no edit. The command contains no credential.
    pub fn remaining_command(
        &self,
        runtime: ContainerRuntime,
        desired: Option<&DesiredConfig<'_>>,
    ) -> Option<String> {
        let needs =
            matches!(self.outcome(), PlanOutcome::NeedsRestart | PlanOutcome::ChangeAndRestart);
        (needs || self.leftovers.is_some()).then(|| command(runtime, desired))
    }
}

/// Returns the command that applies `desired`, or restores a host, with a restart.
fn command(runtime: ContainerRuntime, desired: Option<&DesiredConfig<'_>>) -> String {
    let Some(desired) = desired else {
        return format!("image-swap node restore --runtime {runtime} --restart allow");
    };
    let mut command =
        format!("image-swap node apply --restart allow --runtime {runtime} -f {FILE}");
    if desired.form != ConfigForm::default() {
        let _ = write!(command, " --form {}", desired.form);
    }
    if desired.fallback != Fallback::default() {
        let _ = write!(command, " --fallback {}", desired.fallback.as_str());
    }
    if desired.header_over_http {
        command += " --header-over-http";
    }
    command
}
