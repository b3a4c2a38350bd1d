//! Until the core has its own.
#![allow(missing_docs, clippy::pedantic, clippy::all)]
use image_swap_core::rule::RuleSet;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Audit,
}
#[derive(Clone, Debug)]
pub struct Settings {
    pub mode: Mode,
}
impl Default for Settings {
    fn default() -> Self {
        Self { mode: Mode::Enforce }
    }
}
#[derive(Debug)]
pub struct Reviewed {
    pub body: Vec<u8>,
    pub decisions: BTreeMap<&'static str, u64>,
    pub changed: bool,
    pub uid: String,
    pub namespace: String,
    pub name: String,
}
#[derive(Debug, thiserror::Error)]
#[error("expected an AdmissionReview, found {0}")]
pub struct ReviewError(String);

pub fn review(body: &[u8], rules: &RuleSet, settings: &Settings) -> Result<Reviewed, ReviewError> {
    let v: Value = serde_json::from_slice(body).map_err(|e| ReviewError(e.to_string()))?;
    if v["kind"] != "AdmissionReview" || v["apiVersion"] != "admission.k8s.io/v1" {
        return Err(ReviewError("another kind".into()));
    }
    let Some(request) = v.get("request") else { return Err(ReviewError("no request".into())) };
    let mut decisions = BTreeMap::new();
    let mut patch = vec![];
    for list in ["containers", "initContainers"] {
        for (i, c) in request["object"]["spec"][list].as_array().into_iter().flatten().enumerate() {
            let Some(image) = c["image"].as_str() else { continue };
            let Ok(d) = rules.swap(image) else { continue };
            *decisions.entry(d.reason.as_str()).or_default() += 1;
            if d.changed() && settings.mode == Mode::Enforce {
                patch.push(json!({"op":"replace","path":format!("/spec/{list}/{i}/image"),"value":d.image}));
            }
        }
    }
    use base64::Engine as _;
    let changed = !patch.is_empty();
    let uid = request["uid"].as_str().unwrap_or_default().to_owned();
    let mut response = json!({"uid":uid,"allowed":true});
    if changed {
        response["patchType"] = "JSONPatch".into();
        response["patch"] =
            base64::engine::general_purpose::STANDARD.encode(Value::from(patch).to_string()).into();
    }
    Ok(Reviewed {
        body:
            json!({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":response})
                .to_string()
                .into_bytes(),
        decisions,
        changed,
        uid,
        namespace: request["namespace"].as_str().unwrap_or_default().to_owned(),
        name: request["name"].as_str().unwrap_or_default().to_owned(),
    })
}
