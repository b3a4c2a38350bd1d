//! Slots: texts in strings of a bundle that stand for values of a workload cluster.

use serde_json::Value;

use crate::{admission::Mode, reference::is_domain};

/// Values of the chart's value `policy`.
const POLICIES: [&str; 3] = ["fail", "ignore", AUDIT];
/// Policy under which no pod is changed.
const AUDIT: &str = "audit";
/// Port of an API server whose address has none.
const HTTPS: &str = "443";

/// Name of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotName {
    /// Host of the API server.
    ApiHost,
    /// Port of the API server.
    ApiPort,
    /// Value `policy` of the chart.
    Policy,
    /// Mode of the webhook, which follows from the policy.
    Mode,
    /// Content of the pull Secret, in base64.
    PullSecret,
    /// Secret with the access to the management cluster.
    HubSecret,
    /// Hash of the bundle.
    BundleHash,
}

impl SlotName {
    /// All slots.
    pub(super) const ALL: [Self; 7] = [
        Self::ApiHost,
        Self::ApiPort,
        Self::Policy,
        Self::Mode,
        Self::PullSecret,
        Self::HubSecret,
        Self::BundleHash,
    ];

    /// Returns the text in a bundle.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ApiHost => "@api-host@",
            Self::ApiPort => "@api-port@",
            Self::Policy => "@policy@",
            Self::Mode => "@mode@",
            Self::PullSecret => "@pull-secret@",
            Self::HubSecret => "@hub-secret@",
            Self::BundleHash => "@bundle-hash@",
        }
    }
}

/// Address of an API server that is neither `HOST` nor `HOST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST or HOST:PORT as the address of the API server, as in 10.0.0.1:6443")]
pub struct InvalidApiServer;

/// Returns true if `text` is a value of the chart's value `policy`.
pub fn is_policy(text: &str) -> bool {
    POLICIES.contains(&text)
}

/// Returns true if `text` is the address of an API server for agents, `HOST` or `HOST:PORT`.
pub fn is_api_server(text: &str) -> bool {
    split(text).is_some()
}

/// Values of slots.
pub(super) struct SlotValues {
    host: Option<String>,
    port: Option<String>,
    policy: Option<String>,
    mode: Option<String>,
    pull_secret: Option<String>,
    hub_secret: Option<String>,
    bundle_hash: Option<String>,
}

impl SlotValues {
    /// Returns the values for these settings.
    ///
    /// # Errors
    /// Returns the reason why a setting is invalid.
    pub(super) fn new(
        api_server: Option<&str>,
        policy: Option<&str>,
        (hub_secret, bundle_hash): (Option<&str>, Option<&str>),
        pull_secret: impl FnOnce() -> Option<String>,
    ) -> Result<Self, String> {
        let address = api_server.map(|it| split(it).ok_or_else(|| InvalidApiServer.to_string()));
        let (host, port) = address.transpose()?.unzip();
        if let Some(policy) = policy.filter(|it| !is_policy(it)) {
            let shown: String =
                policy.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            return Err(format!("expected the policy {}, found {shown}", POLICIES.join(" or ")));
        }
        let mode = policy.map(|it| if it == AUDIT { Mode::Audit } else { Mode::Enforce });
        let mode = mode.map(|it| it.to_string());
        let policy = policy.map(str::to_owned);
        let hub_secret = hub_secret.map(str::to_owned);
        let bundle_hash = bundle_hash.map(str::to_owned);
        Ok(Self { host, port, policy, mode, pull_secret: pull_secret(), hub_secret, bundle_hash })
    }

    fn get(&self, slot: SlotName) -> Option<&str> {
        match slot {
            SlotName::ApiHost => self.host.as_deref(),
            SlotName::ApiPort => self.port.as_deref(),
            SlotName::Policy => self.policy.as_deref(),
            SlotName::Mode => self.mode.as_deref(),
            SlotName::PullSecret => self.pull_secret.as_deref(),
            SlotName::HubSecret => self.hub_secret.as_deref(),
            SlotName::BundleHash => self.bundle_hash.as_deref(),
        }
    }

    /// Returns true if `value` is a Secret whose data has `slot`, and the slot has no value.
    pub(super) fn lacks(&self, value: &Value, slot: SlotName) -> bool {
        let data = || value["data"].as_object().into_iter().flat_map(|it| it.values());
        value["kind"] == "Secret"
            && self.get(slot).is_none()
            && data().any(|it| it.as_str().is_some_and(|it| it.contains(slot.as_str())))
    }

    /// Replaces the slots in all strings of `value`. Removes items of `env` and `args` that have a
    /// slot without a value.
    ///
    /// # Errors
    /// Returns the reason if another string has a slot without a value.
    pub(super) fn fill(&self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.filled(text)? {
                    *text = filled;
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill(item)),
            Value::Object(fields) => {
                for key in ["env", "args"] {
                    if let Some(Value::Array(items)) = fields.get_mut(key) {
                        items.retain(|item| !self.has_empty(item));
                        if items.is_empty() {
                            fields.remove(key);
                        }
                    }
                }
                fields.values_mut().try_for_each(|field| self.fill(field))
            }
            _ => Ok(()),
        }
    }

    /// Returns true if a string of `value` has a slot without a value.
    fn has_empty(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.filled(text).is_err(),
            Value::Array(items) => items.iter().any(|item| self.has_empty(item)),
            Value::Object(fields) => fields.values().any(|field| self.has_empty(field)),
            _ => false,
        }
    }

    /// Returns `text` with its slots filled; `None` without a slot.
    ///
    /// # Errors
    /// Returns the reason if a slot has no value.
    fn filled(&self, text: &str) -> Result<Option<String>, String> {
        let mut filled = String::new();
        let mut rest = text;
        loop {
            let found = SlotName::ALL.into_iter().filter_map(|slot| {
                let at = rest.find(slot.as_str())?;
                Some((at, slot))
            });
            let Some((at, slot)) = found.min_by_key(|(at, _)| *at) else { break };
            let value = self.get(slot).ok_or_else(|| {
                format!("expected a value for the slot {}, found none", slot.as_str())
            })?;
            filled.push_str(&rest[..at]);
            filled.push_str(value);
            rest = &rest[at + slot.as_str().len()..];
        }
        if rest.len() == text.len() {
            return Ok(None);
        }
        filled.push_str(rest);
        Ok(Some(filled))
    }
}

/// Splits the address of an API server into host and port; `None` if it is invalid.
fn split(address: &str) -> Option<(String, String)> {
    let (host, port, is_six) = if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = if port.is_empty() { HTTPS } else { port.strip_prefix(':')? };
        (host, port, true)
    } else {
        match address.split_once(':') {
            Some((_, port)) if port.contains(':') => (address, HTTPS, true),
            Some((host, port)) => (host, port, false),
            None => (address, HTTPS, false),
        }
    };
    let is_host = if is_six {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        (1..=253).contains(&host.len()) && is_domain(host)
    };
    let is_port =
        port.parse::<u16>().is_ok_and(|it| it > 0) && port.bytes().all(|it| it.is_ascii_digit());
    (is_host && is_port).then(|| (host.to_owned(), port.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_host_and_port() {
        let split = |text| split(text).map(|(host, port)| format!("{host} {port}"));
        let all = [
            ("10.0.0.1:6443", "10.0.0.1 6443"),
            ("api.example.org", "api.example.org 443"),
            ("[fd00::1]:6443", "fd00::1 6443"),
            ("[fd00::1]", "fd00::1 443"),
            ("fd00::1", "fd00::1 443"),
        ];
        for (text, expected) in all {
            assert_eq!(split(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "", ":1", "h:", "h:x", "h:0", "h:65536", "h:+1", "[x]:1", "[::1]1", "a b", "a..b", "-a",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
