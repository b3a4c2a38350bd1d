//! The host: one order, applied or refused.

use std::path::Path;

use image_swap_core::{
    control::effective::Origin, declaration::Declaration, rule::RuleKind, status::NodeRevision,
};
use image_swap_node::{
    ApplyOutcome, ConditionAction, ConfigForm, ContainerRuntime, DesiredConfig, DriftState, Host,
    HostObservation, HostPath, HostPlan, HostSession, PlanOutcome, PlanRefusal, RegistryProbe,
    RestartPolicy, Root, RuntimeStart, Version, check_mounts, drift, observe_mounted, plan,
    restore,
};
use tracing::info;

use crate::{
    settings::NodeAgentSettings,
    status::{HostOutcome, HostReport},
};

/// An order for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostOrder {
    /// Change nothing.
    Keep,
    /// Apply a declaration.
    Configure(NodeRevision),
    /// Remove the edits of image-swap.
    Restore,
}

impl HostOrder {
    /// Returns the number of the declaration; `None` if the order has none.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Configure(revision) => Some(revision.number),
            Self::Keep | Self::Restore => None,
        }
    }

    /// Applies the order to the host of `settings`, whose runtime has `version`. Waits for the
    /// lock of the host first.
    pub(crate) fn execute(
        &self,
        settings: &NodeAgentSettings,
        version: Option<Version>,
        probe: RegistryProbe,
    ) -> HostReport {
        let NodeAgentSettings { root, runtime, .. } = settings;
        let change =
            |desired: Option<&DesiredConfig<'_>>| change(root, *runtime, version, desired, probe);
        let NodeRevision { effective, fallback, .. } = match self {
            Self::Keep => return HostReport::of(HostOutcome::NoDeclaration),
            Self::Restore => return restored(change(None)),
            Self::Configure(revision) => revision,
        };
        if effective.origin == Origin::None {
            return change(None);
        }
        let Some(declaration) = effective.declaration() else {
            return HostReport::of(HostOutcome::InvalidDeclaration);
        };
        let desired = DesiredConfig {
            declaration: &declaration,
            form: ConfigForm::CertsD,
            fallback: *fallback,
            restart: RestartPolicy::Never,
            header_over_http: false,
        };
        change(Some(&desired))
    }
}

/// Restores the host below `root`, whose `runtime` image-swap had configured.
pub(crate) fn restore_host(root: &Path, runtime: ContainerRuntime) -> HostReport {
    restored(change(root, runtime, None, None, RegistryProbe::Skip))
}

/// Returns the report of a restoration.
fn restored(report: HostReport) -> HostReport {
    let outcome = match report.outcome {
        HostOutcome::InPlace | HostOutcome::ReloadRequired => HostOutcome::Restored,
        other => other,
    };
    HostReport { outcome, ..report }
}

/// Returns the host whose `/` is `root`.
///
/// # Errors
/// If `root` is not a directory, or cannot be read.
pub(crate) fn host(root: &Path) -> Result<Host, String> {
    let found = Root::new(root).map(Host::new);
    found.map_err(|error| format!("cannot use the root directory {}: {error}", root.display()))
}

/// Makes the host below `root` as `desired`; `None` restores it.
fn change(
    root: &Path,
    runtime: ContainerRuntime,
    version: Option<Version>,
    desired: Option<&DesiredConfig<'_>>,
    probe: RegistryProbe,
) -> HostReport {
    let host = match host(root) {
        Ok(host) => host,
        Err(reason) => return HostReport::of(HostOutcome::Failed(reason)),
    };
    let progress = |line: &str| info!("{line}");
    let session = match HostSession::take_live(&host, &progress) {
        Ok(session) => session,
        Err(failure) => return HostReport::of(HostOutcome::Failed(failure.to_string())),
    };
    let seen = observe_mounted(&host, runtime, version, desired, probe);
    let runtime = seen.observed.runtime;
    let planned = match desired {
        Some(desired) => plan(desired, &seen.observed),
        None => restore(&seen.observed, RestartPolicy::Never),
    };
    let plan = match planned {
        Ok(plan) => plan,
        Err(PlanRefusal { case, found, remedy }) => {
            let (case, found) = (case.to_owned(), format!("{found}; {remedy}"));
            return HostReport::of(HostOutcome::Refused { case, found });
        }
    };
    let report = HostReport {
        outcome: HostOutcome::InPlace,
        command: plan.remaining_command(runtime, desired),
        start: if desired.is_some() { seen.observed.start } else { RuntimeStart::AfterChange },
        inexpressible: desired.map(|it| inexpressible(&plan, it.declaration)).unwrap_or_default(),
        notes: seen.notes.iter().chain(notes(&plan)).chain(&plan.leftovers).cloned().collect(),
        repaired: None,
    };
    if plan.outcome() == PlanOutcome::NeedsRestart {
        let reason = plan.restart.unwrap_or_default();
        return HostReport { outcome: HostOutcome::RestartRequired(reason), ..report };
    }
    if let Err(unmounted) = check_mounts(&host, &plan) {
        let (case, found) = ("not-mounted".to_owned(), unmounted.to_string());
        return HostReport { outcome: HostOutcome::Refused { case, found }, ..report };
    }
    match session.apply(&plan, &seen) {
        // A reload is a step of the plan that wrote the file, and of no later one.
        Ok(ApplyOutcome::Nothing) if seen.reload == RuntimeStart::BeforeChange => HostReport {
            outcome: HostOutcome::ReloadRequired,
            command: Some(format!("systemctl reload {runtime}")),
            ..report
        },
        Ok(ApplyOutcome::Nothing) => report,
        Ok(ApplyOutcome::Changed | ApplyOutcome::Restarted(_)) => {
            HostReport { repaired: repaired(&plan, &seen), ..report }
        }
        Ok(ApplyOutcome::Changing(command)) => HostReport {
            outcome: HostOutcome::ReloadRequired,
            command: Some(command),
            repaired: repaired(&plan, &seen),
            ..report
        },
        Err(failure) => HostReport { outcome: HostOutcome::Failed(failure.to_string()), ..report },
    }
}

/// Returns the notes of `plan` without those of conditions that need no change of the host.
fn notes(plan: &HostPlan) -> impl Iterator<Item = &String> {
    let is_kept = |note: &str| {
        let mut kept = plan.cases.iter().filter(|case| case.action == ConditionAction::Keep);
        kept.any(|case| note.ends_with(case.advice))
    };
    plan.notes.iter().filter(move |note| !is_kept(note))
}

/// Returns a file that image-swap wrote, that another program changed or removed, and that `plan`
/// wrote again.
fn repaired(plan: &HostPlan, seen: &HostObservation) -> Option<String> {
    let drift = drift(&seen.observed).ok().flatten()?;
    let is_repaired = |(path, state): &(HostPath, DriftState)| {
        *state != DriftState::AsWritten && plan.written(path).is_some()
    };
    drift.files.into_iter().find(is_repaired).map(|(path, _)| path.into())
}

/// Returns the rules that the runtime cannot express, each with the reason.
fn inexpressible(plan: &HostPlan, declaration: &Declaration) -> Vec<String> {
    let rules = plan.inexpressible.iter().filter_map(|row| {
        let rule = declaration.rules().rules().get(row.rule)?;
        let shown = if rule.kind == RuleKind::Noswap { &rule.target } else { &rule.source };
        Some(format!("{shown}: {}", row.reason))
    });
    rules.collect()
}
