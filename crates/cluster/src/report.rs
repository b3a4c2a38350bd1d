//! The `ConfigMap` with the controller's report.

use image_swap_core::status::ControllerReport;
use k8s_openapi::api::core::v1::ConfigMap;

/// Key of the report.
pub(crate) const KEY: &str = "status.json";

/// Parses the report in `map`; `None` if it holds none.
pub(crate) fn read(map: &ConfigMap) -> Option<ControllerReport> {
    serde_json::from_str(map.data.as_ref()?.get(KEY)?).ok()
}
