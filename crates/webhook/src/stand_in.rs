//! Until the core has its own.
#![allow(missing_docs, clippy::pedantic, clippy::all)]
use std::borrow::Cow;

use image_swap_core::rule::{Reason, RuleSet};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    Audit,
}
impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "enforce" => Ok(Self::Enforce),
            "audit" => Ok(Self::Audit),
            _ => Err("expected enforce or audit".into()),
        }
    }
}
impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Enforce { "enforce" } else { "audit" })
    }
}
#[derive(Clone, Debug)]
pub struct Settings {
    pub mode: Mode,
    pub disable_label: String,
}
impl Default for Settings {
    fn default() -> Self {
        Self { mode: Mode::Enforce, disable_label: "k8s.twr.io/imageswap".into() }
    }
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Decided(Reason),
    Kept,
    InvalidImage,
}
impl Outcome {
    pub fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.into_iter().map(Self::Decided).chain([Self::Kept, Self::InvalidImage])
    }
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided(reason) => reason.as_str(),
            Self::Kept => "kept",
            Self::InvalidImage => "invalid-image",
        }
    }
}
#[derive(Debug, Default)]
pub struct Tally(Vec<Outcome>);
impl Tally {
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        self.0.iter().map(|o| (*o, 1))
    }
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0.iter().filter(|o| **o == outcome).count() as u64
    }
}
#[derive(Debug, Default)]
pub struct Subject<'b> {
    pub uid: Cow<'b, str>,
    pub namespace: Cow<'b, str>,
    pub name: Cow<'b, str>,
    pub generate_name: Cow<'b, str>,
    pub kind: Cow<'b, str>,
    pub operation: Cow<'b, str>,
}
#[derive(Debug)]
pub struct Reviewed<'b> {
    pub body: Vec<u8>,
    pub subject: Subject<'b>,
    pub decisions: Tally,
    pub changed: usize,
    pub patched: bool,
}
#[derive(Debug, thiserror::Error)]
#[error("expected an AdmissionReview, found {0}")]
pub struct ReviewError(String);

pub fn review<'b>(
    body: &'b [u8],
    rules: &RuleSet,
    settings: &Settings,
) -> Result<Reviewed<'b>, ReviewError> {
    let v: Value = serde_json::from_slice(body).map_err(|e| ReviewError(e.to_string()))?;
    if v["kind"] != "AdmissionReview" || v["apiVersion"] != "admission.k8s.io/v1" {
        return Err(ReviewError("another kind".into()));
    }
    let Some(request) = v.get("request") else { return Err(ReviewError("no request".into())) };
    let mut decisions = Tally::default();
    let mut patch = vec![];
    for list in ["containers", "initContainers"] {
        for (i, c) in request["object"]["spec"][list].as_array().into_iter().flatten().enumerate() {
            let Some(image) = c["image"].as_str() else { continue };
            let Ok(d) = rules.swap(image) else {
                decisions.0.push(Outcome::InvalidImage);
                continue;
            };
            decisions.0.push(Outcome::Decided(d.reason));
            if d.changed() && settings.mode == Mode::Enforce {
                patch.push(json!({"op":"replace","path":format!("/spec/{list}/{i}/image"),"value":d.image}));
            }
        }
    }
    use base64::Engine as _;
    let uid = request["uid"].as_str().unwrap_or_default().to_owned();
    let mut response = json!({"uid":uid,"allowed":true});
    if !patch.is_empty() {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = base64::engine::general_purpose::STANDARD
            .encode(Value::from(patch.clone()).to_string())
            .into();
    }
    Ok(Reviewed {
        body:
            json!({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":response})
                .to_string()
                .into_bytes(),
        decisions,
        changed: patch.len(),
        patched: !patch.is_empty(),
        subject: Subject::default(),
    })
}
