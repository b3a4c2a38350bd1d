//! Label selectors, in the syntax of `kubectl --selector`.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Conjunction of requirements on labels. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<LabelRequirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelRequirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

/// Reason why a text is not a label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid label selector: {0}; expected requirements such as env=prod, tier!=test, \
     region in (eu,us), canary or !canary, separated by commas"
)]
pub struct LabelSelectorError(String);

impl LabelSelector {
    /// Returns true if `labels` satisfy all requirements. `!=` and `notin` also match objects
    /// without the label.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            LabelRequirement::Exists(key) => labels.contains_key(key),
            LabelRequirement::Absent(key) => !labels.contains_key(key),
            LabelRequirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            LabelRequirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
        })
    }

    /// Returns true if the selector matches everything.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut requirements = Vec::new();
        let mut start = 0;
        let mut depth = 0_u32;
        for (at, character) in text.char_indices().chain([(text.len(), ',')]) {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 || at == text.len() => {
                    requirements.push(requirement(text[start..at].trim())?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        Ok(Self(requirements))
    }
}

fn requirement(text: &str) -> Result<LabelRequirement, LabelSelectorError> {
    let error = || LabelSelectorError(format!("`{text}`"));
    let key = |key: &str| {
        let key = key.trim();
        if is_label_key(key) { Ok(key.to_owned()) } else { Err(error()) }
    };
    let value = |value: &str| {
        let value = value.trim();
        if is_label_value(value) { Ok(value.to_owned()) } else { Err(error()) }
    };
    if let Some(list) = text.strip_suffix(')') {
        let (head, list) = list.split_once('(').ok_or_else(error)?;
        let values = list.split(',').map(value).collect::<Result<_, _>>()?;
        let (name, operator) = head.trim().rsplit_once(char::is_whitespace).ok_or_else(error)?;
        return match operator {
            "in" => Ok(LabelRequirement::In(key(name)?, values)),
            "notin" => Ok(LabelRequirement::NotIn(key(name)?, values)),
            _ => Err(error()),
        };
    }
    if let Some((name, found)) = text.split_once("!=") {
        return Ok(LabelRequirement::NotIn(key(name)?, vec![value(found)?]));
    }
    if let Some((name, found)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(LabelRequirement::In(key(name)?, vec![value(found)?]));
    }
    match text.strip_prefix('!') {
        Some(name) => Ok(LabelRequirement::Absent(key(name)?)),
        None => Ok(LabelRequirement::Exists(key(text)?)),
    }
}

/// Returns true if `text` is the key of a label: a name with an optional domain before it.
fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(it, name)| (Some(it), name));
    prefix.is_none_or(super::metadata::is_name) && !name.is_empty() && is_label_value(name)
}

/// Returns true if `text` is the value of a label.
fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_plain = bytes.iter().all(|byte| is_allowed(*byte));
    text.len() <= 63 && is_end(bytes.first()) && is_end(bytes.last()) && is_plain
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            match requirement {
                LabelRequirement::Exists(key) => write!(formatter, "{key}"),
                LabelRequirement::Absent(key) => write!(formatter, "!{key}"),
                LabelRequirement::In(key, values) => {
                    write!(formatter, "{key} in ({})", values.join(","))
                }
                LabelRequirement::NotIn(key, values) => {
                    write!(formatter, "{key} notin ({})", values.join(","))
                }
            }?;
        }
        Ok(())
    }
}
