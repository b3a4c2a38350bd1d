//! The `ConfigMap` with the controller's report.

use image_swap_core::status::ControllerReport;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch::Sender;

/// Key of the report.
pub(crate) const KEY: &str = "status.json";

/// Parses the report in `map`; `None` if it holds none.
pub(crate) fn read(map: &ConfigMap) -> Option<ControllerReport> {
    serde_json::from_str(map.data.as_ref()?.get(KEY)?).ok()
}

/// Sends `value` to the receivers of `state` if it is new. Returns true if it was.
pub(crate) fn send_new<T: PartialEq>(state: &Sender<T>, value: T) -> bool {
    state.send_if_modified(|before| {
        let is_new = *before != value;
        *before = value;
        is_new
    })
}
