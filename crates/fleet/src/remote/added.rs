//! Values that another writer added to the Secret with the declaration. An apply leaves them, and
//! another declaration would be in force.

use hyper::Method;
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{BundleObject, FLEET_MANAGER},
        drift::{ContestedField, OTHER_MANAGER, RepairLog},
    },
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    apply::{ApplyReport, ContestedObject, RepairedObject, is_declaration},
    client::{JSON, MERGE, METADATA, RemoteCluster, RemoteRequest},
    error::RemoteError,
    objects::{LiveMetadata, LiveObject},
};

/// Number of values that are removed at a time.
const VALUES: usize = 64;

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
    /// allows it at `now`, and records the result in `report`. If another `Apply` manager has fields
    /// of the Secret, they are a conflict and stay.
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
        let keys = data.into_iter().map(|(key, _)| key);
        let added: Map<String, Value> = object.without_added(keys).take(VALUES).collect();
        if added.is_empty() || !live.is_created_by_fleet() {
            return Ok(());
        }
        let name = object.to_string();
        let field = ContestedField { field: ".data".to_owned(), manager: OTHER_MANAGER.to_owned() };
        let fields = vec![field];
        if live.has_other_apply() {
            report.conflicts.push(ContestedObject { object: name, fields, wait: None });
            return Ok(());
        }
        if let Err(wait) = log.begin(&name, now) {
            report.limited.push(ContestedObject { object: name, fields, wait: Some(wait) });
            return Ok(());
        }
        let removal = json!({
            "metadata": { "resourceVersion": live.metadata.resource_version },
            "data": added,
        });
        let path = format!("{}?fieldManager={FLEET_MANAGER}", object.path());
        let body = Some((MERGE, &removal));
        let request = RemoteRequest { method: Method::PATCH, path: &path, accept: METADATA, body };
        match self.send::<IgnoredAny>(request).await? {
            Ok(_) => report.repaired.push(RepairedObject { object: name, fields }),
            // Another writer was faster: the next comparison includes its change.
            Err(refused) if refused.code == 409 => {}
            Err(refused) => return Err(RemoteError::of_code(refused.code)),
        }
        Ok(())
    }
}
