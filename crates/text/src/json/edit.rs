//! Edits of string lists in a JSON object: entries are added and removed, and all other bytes are
//! kept.

use jsonc_parser::{
    ParseOptions,
    cst::{CstArray, CstInputValue, CstObject, CstObjectProp, CstRootNode},
};
use serde_json::{Map, Value};

use crate::encoding::Encoding;

/// Lists of strings, each with its key in the object.
pub type Lists = Vec<(String, Vec<String>)>;

/// Options that accept only objects of RFC 8259, like Go.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The reason for which a text cannot be edited.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotEdit(String);

/// Returns the lists of strings in an object; empty if `text` is not an object.
pub fn lists(text: &str) -> Lists {
    let texts = |value: Value| match value {
        Value::Array(items) => {
            Some(items.iter().filter_map(|item| Some(item.as_str()?.to_owned())).collect())
        }
        _ => None,
    };
    let object: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    object.into_iter().filter_map(|(key, value)| Some((key, texts(value)?))).collect()
}

/// Returns `text` with the missing entries of `entries` in front of each list.
///
/// A list that is `null`, and a blank text, count as empty, like in dockerd.
///
/// ```
/// use image_swap_text::json::edit::{with, without};
///
/// let before = r#"{"debug": true, "registry-mirrors": ["https://m.io"]}"#;
/// let entries = vec![("registry-mirrors".to_owned(), vec!["https://h.io".to_owned()])];
/// let edited = with(before, &entries).unwrap();
/// assert_eq!(edited, r#"{"debug": true, "registry-mirrors": ["https://h.io", "https://m.io"]}"#);
///
/// let (reverted, _) = without(before, &edited, &edited).unwrap();
/// assert_eq!(reverted, before);
/// ```
///
/// # Errors
/// Returns an error if `text` is not a JSON object or one of the lists has other values.
pub fn with(text: &str, entries: &Lists) -> Result<String, CannotEdit> {
    let text = if text.trim().is_empty() { "{\n}\n" } else { text };
    let (root, object) = parse(text)?;
    for (key, values) in entries {
        if let Some(null) = null(&object, key) {
            null.set_value(CstInputValue::Array(Vec::new()));
        }
        let Some(list) = list(&object, key)? else {
            let values = values.iter().map(|value| CstInputValue::String(value.clone()));
            object.append(key, CstInputValue::Array(values.collect()));
            continue;
        };
        let there = texts(&list);
        let missing = values.iter().filter(|value| !there.contains(&Some((*value).clone())));
        for (at, value) in missing.enumerate() {
            list.insert(at, CstInputValue::String(value.clone()));
        }
    }
    let edited = root.to_string();
    // The result is parsed before it is accepted.
    parse(&edited)?;
    Ok(edited)
}

/// Returns `now` without the entries that `edited` added to `before`, and the keys whose values are
/// not lists of strings any more. The layout of a list on one line may change to several lines.
///
/// # Errors
/// Returns an error if `now` is not a JSON object.
pub fn without(before: &str, edited: &str, now: &str) -> Result<(String, Vec<String>), CannotEdit> {
    let (root, object) = parse(now)?;
    let was: Map<String, Value> = serde_json::from_str(before).unwrap_or_default();
    let before = lists(before);
    let mut left = Vec::new();
    for (key, values) in lists(edited) {
        let had = before.iter().find(|(found, _)| *found == key).map(|(_, values)| values);
        let added = |value: &String| had.is_none_or(|had| !had.contains(value));
        let added: Vec<Option<String>> = values.into_iter().filter(added).map(Some).collect();
        if added.is_empty() && had.is_some() {
            continue;
        }
        let Ok(found) = list(&object, &key) else {
            left.push(key);
            continue;
        };
        let Some(list) = found else { continue };
        let first = |list: &CstArray| list.child_at_index(1).and_then(|it| it.as_whitespace());
        let begins_at_once = first(&list).is_none();
        for (element, text) in list.elements().into_iter().zip(texts(&list)) {
            if added.contains(&text) {
                element.remove();
            }
        }
        // Removes the blank after the comma of the removed first entry.
        if let Some(blank) = first(&list).filter(|_| begins_at_once) {
            blank.remove();
        }
        if list.elements().is_empty() && had.is_none() {
            match object.get(&key) {
                Some(found) if was.get(&key) == Some(&Value::Null) => {
                    found.set_value(CstInputValue::Null);
                }
                found => found.into_iter().for_each(CstObjectProp::remove),
            }
        }
    }
    Ok((root.to_string(), left))
}

/// Returns true if both texts are JSON with the same value, in any encoding.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let read = |bytes| serde_json::from_str::<Value>(&Encoding::decode(bytes)?.1).ok();
    read(a).is_some_and(|a| Some(a) == read(b))
}

/// Returns true if `text` is an object without keys.
pub fn is_empty(text: &str) -> bool {
    parse(text).is_ok_and(|(_, object)| object.properties().is_empty())
}

/// Parses an object with all its bytes. Errors contain positions, but no text.
fn parse(text: &str) -> Result<(CstRootNode, CstObject), CannotEdit> {
    // The message of serde_json quotes the text, which may hold a credential.
    serde_json::from_str::<Map<String, Value>>(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CannotEdit(format!("not a JSON object: line {line}, column {column}"))
    })?;
    let root = CstRootNode::parse(text, &STRICT)
        .map_err(|_| CannotEdit("not a JSON object".to_owned()))?;
    let object = root.object_value();
    object.map(|object| (root, object)).ok_or_else(|| CannotEdit("not a JSON object".to_owned()))
}

/// Returns the property `key` if its value is `null`.
fn null(object: &CstObject, key: &str) -> Option<CstObjectProp> {
    let mut found = object.properties().into_iter();
    let found = found.find(|it| it.decoded_name().as_deref() == Some(key))?;
    found.value()?.as_null_keyword().map(|_| found)
}

/// Returns the list `key`, if there is one.
fn list(object: &CstObject, key: &str) -> Result<Option<CstArray>, CannotEdit> {
    let properties = object.properties().into_iter();
    let mut found = properties.filter(|it| it.decoded_name().as_deref() == Some(key));
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CannotEdit(format!("the key {key} occurs twice")));
    }
    let list = first.array_value().filter(|list| texts(list).iter().all(Option::is_some));
    list.map(Some).ok_or_else(|| CannotEdit(format!("{key} is not a list of strings")))
}

/// Returns the elements of a list; `None` for other values than strings.
fn texts(list: &CstArray) -> Vec<Option<String>> {
    let elements = list.elements().into_iter();
    elements.map(|element| element.as_string_lit()?.decoded_value().ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn entries() -> Lists {
        lists(r#"{"registry-mirrors": ["https://h.io"], "insecure-registries": ["h.io"]}"#)
    }

    // guarantee: 5b
    #[test]
    fn added_entries_are_removed_again() {
        for before in [
            "{}",
            "{\n}\n",
            "{\"log-driver\":\"json-file\"}",
            "{\n  \"log-driver\": \"json-file\",\n  \"log-opts\": {\n    \"max-size\" : \"10m\"\n  }\n}\n",
            "{\r\n\t\"registry-mirrors\": [\"https://m.io\"],\r\n\t\"debug\": true\r\n}",
            "{ \"registry-mirrors\": [], \"x\": [1, 2.50, {\"a\": null}] }",
            "{\n    \"insecure-registries\": [\n        \"k.io\",\n        \"l.io\"\n    ],\n    \"bip\": \"10.0.0.1/24\"\n}\n",
            "{\"registry-mirrors\":[\"https://h.io\"],\"insecure-registries\":[\"h.io\"]}",
        ] {
            let edited = with(before, &entries()).unwrap();
            let of = |text: &str| lists(text);
            for (key, values) in entries() {
                let found = of(&edited).into_iter().find(|(found, _)| *found == key).unwrap().1;
                assert!(found.starts_with(&values), "{edited}");
            }
            // Every character of the original is kept, in its order.
            let mut rest = edited.chars();
            assert!(before.chars().all(|c| rest.any(|found| found == c)), "{before:?} {edited:?}");
            assert_eq!(with(&edited, &entries()).unwrap(), edited, "twice");
            let (reverted, _) = without(before, &edited, &edited).unwrap();
            let blanks: &[char] = if before.contains(",\n ") { &[] } else { &[' ', '\n'] };
            let same = |text: &str| text.replace(blanks, "");
            assert_eq!(same(&reverted), same(before), "{edited}");
            // Another program edits the result.
            let now = with(&edited, &lists("{\"dns\": [\"10.0.0.1\"]}")).unwrap();
            let (reverted, left) = without(before, &edited, &now).unwrap();
            assert_eq!(left, [""; 0]);
            let meaning = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let expected = with(before, &lists("{\"dns\": [\"10.0.0.1\"]}")).unwrap();
            assert_eq!(meaning(&reverted), meaning(&expected), "{now}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~ü\n\t]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec(("[a-c\"\\\\/{}\\[\\],: ]{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn other_members_keep_their_values(
            members in vec(("[a-z\"-]{1,9}|registry-mirrors", any_value()), 0..5),
            mirrors in option::of(vec("[a-d]", 0..4)),
            pretty: bool,
        ) {
            let mut object: Map<String, Value> = members.into_iter().collect();
            if let Some(mirrors) = mirrors {
                object.insert("registry-mirrors".to_owned(), mirrors.into());
            }
            let before = Value::Object(object.clone());
            let text = if pretty { format!("{before:#}\n") } else { before.to_string() };
            let entries: Lists = vec![("registry-mirrors".to_owned(), vec!["a".to_owned(), "z".to_owned()])];
            let Ok(edited) = with(&text, &entries) else {
                let list = object["registry-mirrors"].as_array();
                prop_assert!(list.is_none_or(|list| !list.iter().all(Value::is_string)));
                return Ok(());
            };
            let mut expected = object;
            // `null` is an empty list.
            expected.retain(|key, value| key != "registry-mirrors" || !value.is_null());
            let list = expected.entry("registry-mirrors").or_insert_with(|| Vec::<Value>::new().into());
            let list = list.as_array_mut().unwrap();
            for value in ["z", "a"].map(Value::from) {
                if !list.contains(&value) {
                    list.insert(0, value);
                }
            }
            let read: Value = serde_json::from_str(&edited).unwrap();
            prop_assert_eq!(read, Value::Object(expected));
            let (reverted, left) = without(&text, &edited, &edited).unwrap();
            prop_assert!(left.is_empty());
            prop_assert!(same(reverted.as_bytes(), text.as_bytes()), "{} {}", text, reverted);
        }
    }

    #[test]
    fn other_values_than_lists_are_rejected() {
        for text in [
            "[]",
            "{\"registry-mirrors\": \"https://m.io\"}",
            "{\"registry-mirrors\": [1]}",
            "{\"registry-mirrors\": [], \"registry-mirrors\": []}",
            "{// comment\n}",
        ] {
            assert!(with(text, &entries()).is_err(), "{text}");
        }
        for (text, spelt) in [
            ("", "{}"),
            (" \n", "{}"),
            ("{\"registry-mirrors\": null}", "{\"registry-mirrors\": []}"),
        ] {
            let meaning = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let edited = with(text, &entries()).unwrap();
            assert_eq!(meaning(&edited), meaning(&with(spelt, &entries()).unwrap()), "{text}");
        }
        let edited = with("{}", &entries()).unwrap();
        let (reverted, left) = without("{}", &edited, "{\"registry-mirrors\": 1}").unwrap();
        assert_eq!(
            (reverted.as_str(), &left[..]),
            ("{\"registry-mirrors\": 1}", &["registry-mirrors".to_owned()][..])
        );
    }
}
