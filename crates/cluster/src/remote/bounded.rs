//! Values in responses of other clusters, with limits. A value beyond its limit makes a response
//! invalid, so that no hostile cluster fills the memory with long texts or endless lists.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor},
};

/// Longest version of an object, in bytes. Kubernetes has numbers of at most 20 digits.
const VERSION_MAX: usize = 64;

/// Reads a text of at most `MAX` bytes.
///
/// # Errors
/// The value is no text, or a longer one.
pub fn text<'de, D, const MAX: usize>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.len() <= MAX { Ok(text) } else { Err(Error::custom("the text is too long")) }
}

/// Reads the version of an object. It consists of characters that a query may contain.
///
/// # Errors
/// The value is no version.
pub fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let version = text::<D, VERSION_MAX>(deserializer)?;
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if version.bytes().all(is_inner) {
        Ok(version)
    } else {
        Err(Error::custom("the version has other characters"))
    }
}

/// Reads the first value of a list, and skips the others; `None` for `null` and an empty list.
///
/// # Errors
/// The value is no list, or its first value is another one than a `T`.
pub(super) fn first<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(FirstOf(PhantomData))
}

struct FirstOf<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FirstOf<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let first = values.next_element()?;
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct BoundedValues {
        #[serde(default, deserialize_with = "text::<_, 3>")]
        text: String,
        #[serde(default, deserialize_with = "version")]
        version: String,
        #[serde(default, deserialize_with = "first")]
        list: Option<u32>,
    }

    fn read(text: &str) -> Option<BoundedValues> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn value_beyond_its_limit_is_invalid() {
        assert_eq!(read(r#"{"text":"abc"}"#).unwrap().text, "abc");
        assert!(read(r#"{"text":"abcd"}"#).is_none());
        let version = |text: &str| read(&format!(r#"{{"version":"{text}"}}"#));
        assert_eq!(version("18446744073709551615").unwrap().version.len(), 20);
        assert!(version(&"1".repeat(65)).is_none() && version("1&watch=false").is_none());
    }

    #[test]
    fn list_yields_its_first_value() {
        let list = |text: &str| read(text).map(|it| it.list);
        assert_eq!(list(r#"{"list":[1,{"other":2}]}"#), Some(Some(1)));
        for empty in ["{}", r#"{"list":null}"#, r#"{"list":[]}"#] {
            assert_eq!(list(empty), Some(None), "{empty}");
        }
        assert_eq!(list(r#"{"list":"1"}"#), None);
    }
}
