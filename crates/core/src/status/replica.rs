//! The status of an admission replica.

use serde::{Deserialize, Serialize};

use crate::{admission::Mode, declaration::UnixTime};

/// The answer of a replica at `/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaStatus {
    /// Version of the program.
    #[serde(rename = "version")]
    pub version: String,
    /// True while it takes reviews; false while it drains.
    #[serde(rename = "serving")]
    pub serving: bool,
    /// Source of the declaration: `registry-info`, `chart`, `none` or a file.
    #[serde(rename = "source")]
    pub source: String,
    /// Hash of the declaration's text.
    #[serde(rename = "hash")]
    pub hash: String,
    /// Number of rules; `None` before it has read a declaration.
    #[serde(rename = "rules")]
    pub rules: Option<usize>,
    /// Mode of admission; `None` from a replica that does not report it.
    #[serde(rename = "mode")]
    pub mode: Option<Mode>,
    /// True if it adds the pull Secret to swapped pods.
    #[serde(rename = "pullSecret")]
    pub pull_secret: bool,
    /// Expiry of its certificate, seconds since 1970; `None` without a certificate.
    #[serde(rename = "certificateExpires")]
    pub certificate_expires: Option<UnixTime>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_is_kept() {
        let status = ReplicaStatus {
            version: "0.1.0".into(),
            serving: true,
            source: "chart".into(),
            hash: "0123".into(),
            rules: Some(2),
            mode: Some(Mode::Audit),
            pull_secret: true,
            certificate_expires: Some(7),
        };
        let written = json!({
            "version": "0.1.0", "serving": true, "source": "chart", "hash": "0123", "rules": 2,
            "mode": "audit", "pullSecret": true, "certificateExpires": 7,
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), written);
        assert_eq!(serde_json::from_value::<ReplicaStatus>(written).unwrap(), status);
        let enforcing: ReplicaStatus = serde_json::from_str(r#"{"mode":"enforce"}"#).unwrap();
        assert_eq!(enforcing.mode, Some(Mode::Enforce));
    }
}
