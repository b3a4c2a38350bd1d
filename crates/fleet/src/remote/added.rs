//! Values that another writer added to the Secret with the declaration. An apply leaves them, and
//! another declaration would be in force.

use hyper::Method;
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{BundleObject, FLEET_MANAGER},
        drift::{OTHER_MANAGER, RepairLog},
        repair::{AddedValues, DeclarationWriters},
    },
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    apply::{ApplyReport, RepairedObject, is_declaration},
    client::{JSON, MERGE, METADATA, RemoteCluster, RemoteRequest, json_body},
    error::RemoteError,
    objects::{LiveMetadata, LiveObject},
};

/// Secret of which the keys are read.
#[derive(Deserialize)]
struct LiveKeys {
    #[serde(default)]
    metadata: LiveMetadata,
    #[serde(default)]
    data: Map<String, Value>,
}

impl RemoteCluster {
    /// Removes the values of the Secret with the declaration that `objects` lack, as far as `log`
    /// allows it at `now`, and records the result in `report`: see [`AddedValues`].
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    pub(super) async fn remove_added_values(
        &self,
        objects: &[BundleObject],
        report: &mut ApplyReport,
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Result<(), RemoteError> {
        let Some(object) = objects.iter().find(|it| is_declaration(it)) else { return Ok(()) };
        let Some(LiveKeys { metadata, data }) = self.read(&object.path(), JSON).await? else {
            return Ok(());
        };
        let live = LiveObject { metadata };
        let writers = DeclarationWriters {
            is_of_helm: live.is_of_helm(),
            is_created_by_fleet: live.is_created_by_fleet(),
            other_apply: live.has_other_apply().then_some(OTHER_MANAGER),
            version: &live.metadata.resource_version,
        };
        let keys = data.keys().map(String::as_str);
        let added = AddedValues::of(object, keys, &writers, log, now);
        let Some(AddedValues { decision, removal }) = added else { return Ok(()) };
        let Some(fields) = report.permits(object, decision) else { return Ok(()) };
        let path = format!("{}?fieldManager={FLEET_MANAGER}", object.path());
        let body = Some((MERGE, json_body(&removal)));
        let request = RemoteRequest { method: Method::PATCH, path: &path, accept: METADATA, body };
        match self.send::<IgnoredAny>(request).await? {
            Ok(_) => report.repaired.push(RepairedObject { object: object.to_string(), fields }),
            // Another writer was faster: the next comparison includes its change.
            Err(refused) if refused.code == 409 => {}
            Err(refused) => return Err(RemoteError::of_code(refused.code)),
        }
        Ok(())
    }
}
