//! Application of a whole bundle: objects that a former bundle had, and this one has not, are
//! deleted.

use image_swap_cluster::Release;
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{AppliedObjects, BundleObject},
        drift::RepairLog,
    },
    labels::IMAGE_SWAP,
};

use super::{
    apply::ApplyReport,
    client::RemoteCluster,
    error::RemoteError,
    objects::nodes_secret,
    removal_report::{Removal, RemovalReport},
};

impl RemoteCluster {
    /// Writes `objects`, the whole bundle of a release, as [`Self::apply`] does. Once all of them
    /// are in force, deletes the objects of former bundles. Namespaces, custom resources and objects
    /// of other writers stay.
    ///
    /// If the former bundle had agents and this one has none, their nodes are restored first, by
    /// `removal`.
    ///
    /// # Errors
    /// The cluster does not respond, refuses the credential, or requests a pause (429, 503). Objects
    /// may have been written before.
    pub async fn apply_bundle(
        &self,
        objects: &[BundleObject],
        removal: &Removal,
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Result<ApplyReport, RemoteError> {
        let namespace = &removal.namespace;
        let wanted = AppliedObjects::of(objects);
        let mut record = self.recorded(namespace).await?;
        if !record.includes(&wanted) {
            record.extend(&wanted);
            if !self.record(namespace, &record).await? {
                let is_namespace = |it: &&BundleObject| it.kind == "Namespace";
                let namespaces: Vec<_> = objects.iter().filter(is_namespace).cloned().collect();
                let report = self.apply(&namespaces, log, now).await?;
                if !report.is_complete() || !self.record(namespace, &record).await? {
                    return Ok(report);
                }
            }
        }
        let mut report = self.apply(objects, log, now).await?;
        if report.is_complete() {
            self.remove_added_values(objects, &mut report, log, now).await?;
        }
        if report.is_complete() && record != wanted {
            self.prune((&record, &wanted), removal, &mut report, log).await?;
        }
        Ok(report)
    }

    /// Writes the `objects` of a declaration alone, as [`Self::apply`] does. A namespace that exists
    /// stays as the former bundle has it. Nothing is pruned.
    ///
    /// # Errors
    /// The cluster does not respond, refuses the credential, or requests a pause (429, 503).
    pub async fn apply_declaration(
        &self,
        objects: &[BundleObject],
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Result<ApplyReport, RemoteError> {
        let mut missing = Vec::new();
        for object in objects {
            if object.kind != "Namespace" || self.live(object).await?.is_none() {
                missing.push(object.clone());
            }
        }
        let mut report = self.apply(&missing, log, now).await?;
        if report.is_complete() {
            self.remove_added_values(&missing, &mut report, log, now).await?;
        }
        Ok(report)
    }

    /// Deletes the objects of `record` that are not among `wanted`, and records the rest. `log`
    /// forgets them.
    async fn prune(
        &self,
        (record, wanted): (&AppliedObjects, &AppliedObjects),
        removal: &Removal,
        report: &mut ApplyReport,
        log: &mut RepairLog,
    ) -> Result<(), RemoteError> {
        let gone = record.without(wanted);
        let mut removed = RemovalReport::default();
        let are_agents = |it: &BundleObject| it.kind == "DaemonSet";
        let has_agents = wanted.without(&AppliedObjects::default()).iter().any(are_agents);
        let agents_end = gone.iter().any(are_agents) && !has_agents;
        if agents_end {
            let namespace = removal.namespace.clone();
            let release = Release { namespace, name: IMAGE_SWAP.to_owned() };
            self.restore_nodes(release, removal, &mut removed).await?;
        }
        report.restoring = removed.pending;
        if removed.failures.is_empty() && removed.pending == 0 {
            for object in &gone {
                log.in_force.forget(object);
                if self.remove_object(object, &mut removed).await? {
                    report.pruned.push(object.to_string());
                }
            }
            if agents_end {
                self.remove_object(&nodes_secret(&removal.namespace), &mut removed).await?;
            }
        }
        report.failures.append(&mut removed.failures);
        if report.failures.is_empty() && report.restoring == 0 {
            self.record(&removal.namespace, wanted).await?;
        }
        Ok(())
    }
}
