//! Fields that contain images, described like kustomize's `fieldSpec`.

use std::{fmt, str::FromStr};

/// A field of objects of some kinds: kustomize's `fieldSpec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// The API group; `None` for any group.
    pub group: Option<String>,
    /// The version; `None` for any version.
    pub version: Option<String>,
    /// The kind; `None` for any kind.
    pub kind: Option<String>,
    /// Names of the fields from the object to the image. A list on the path has no name of its
    /// own: every item counts.
    pub path: Vec<String>,
}

/// An invalid description of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid field {text:?}: {reason}; write [GROUP/[VERSION/]]KIND:path/to/image, or \
     kind=KIND,path=path/to/image with optional group= and version="
)]
pub struct InvalidFieldSpec {
    text: String,
    reason: String,
}

impl FromStr for FieldSpec {
    type Err = InvalidFieldSpec;

    /// Parses `GROUP/VERSION/KIND:path`, or the keys of kustomize's `fieldSpec` with commas
    /// between them.
    fn from_str(text: &str) -> Result<Self, InvalidFieldSpec> {
        let invalid =
            |reason: &str| InvalidFieldSpec { text: text.to_owned(), reason: reason.to_owned() };
        let mut field = Self { group: None, version: None, kind: None, path: Vec::new() };
        if text.split(',').all(|part| part.contains('=')) {
            for part in text.split(',') {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                match key.trim() {
                    "group" => field.group = named(value),
                    "version" => field.version = named(value),
                    "kind" => field.kind = named(value),
                    "path" => field.path = segments(value.trim()),
                    "create" => {}
                    key => return Err(invalid(&format!("unknown key {key:?}"))),
                }
            }
        } else {
            let (kinds, path) =
                text.split_once(':').ok_or_else(|| invalid("the colon is missing"))?;
            field.path = segments(path.trim());
            let mut names = kinds.rsplit('/');
            field.kind = names.next().and_then(named);
            let (second, third) = (names.next(), names.next());
            if names.next().is_some() {
                return Err(invalid("more than three names before the colon"));
            }
            // The first of two names is the group: it distinguishes kinds, unlike a version.
            field.group = third.or(second).and_then(named);
            field.version = third.and(second).and_then(named);
        }
        if field.path.is_empty() {
            return Err(invalid("the path is missing"));
        }
        Ok(field)
    }
}

fn named(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text != "*").then(|| text.to_owned())
}

/// Splits `path` into its names. A slash in a name is escaped by a backslash, and `[]` after
/// the name of a list is optional.
pub(super) fn segments(path: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match (character, names.last_mut()) {
            ('/', _) => names.push(String::new()),
            ('\\', Some(name)) => name.extend(characters.next()),
            (other, Some(name)) => name.push(other),
            (_, None) => {}
        }
    }
    let name = |name: &String| name.trim_end_matches("[]").to_owned();
    names.iter().map(name).filter(|name| !name.is_empty()).collect()
}

impl FieldSpec {
    /// Returns true if an object of this `apiVersion` and `kind` has the field.
    pub(super) fn is_of(&self, api_version: &str, kind: &str) -> bool {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let matches =
            |wanted: &Option<String>, found| wanted.as_deref().is_none_or(|wanted| wanted == found);
        matches(&self.group, group) && matches(&self.version, version) && matches(&self.kind, kind)
    }
}

/// Prints the form of `--image-field`: `kafka.strimzi.io/Kafka:spec/kafka/image`.
impl fmt::Display for FieldSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.group, &self.version].into_iter().flatten() {
            write!(f, "{part}/")?;
        }
        let path: Vec<String> = self.path.iter().map(|name| name.replace('/', "\\/")).collect();
        write!(f, "{}:{}", self.kind.as_deref().unwrap_or("*"), path.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_both_forms() {
        for (text, shown) in [
            ("Kafka:spec/kafka/image", "Kafka:spec/kafka/image"),
            ("tekton.dev/Task:/spec/steps[]/image", "tekton.dev/Task:spec/steps/image"),
            ("example.org/v1/My:a", "example.org/v1/My:a"),
            ("*:spec/image", "*:spec/image"),
            (":spec/image", "*:spec/image"),
            ("kind=My,path=spec/image", "My:spec/image"),
            ("path=spec/image, group=example.org", "example.org/*:spec/image"),
            (r"ConfigMap:data/example.org\/image", r"ConfigMap:data/example.org\/image"),
        ] {
            let field: FieldSpec = text.parse().unwrap();
            assert_eq!(field.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(field), "{text}");
        }
        for text in ["", "spec/image", "Kafka:", "a/b/c/d:e", "kind=My", "kind=My,name=x,path=y"] {
            assert!(text.parse::<FieldSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_belong_to_kinds() {
        let is_of = |field: &str, api_version, kind| {
            field.parse::<FieldSpec>().unwrap().is_of(api_version, kind)
        };
        assert!(is_of("My:a", "example.org/v1", "My") && is_of("*:a", "v1", "Pod"));
        assert!(is_of("example.org/v1/My:a", "example.org/v1", "My"));
        assert!(!is_of("example.org/v1/My:a", "example.org/v2", "My"));
        assert!(!is_of("example.org/My:a", "example.com/v1", "My"));
        assert!(!is_of("My:a", "example.org/v1", "Other"));
    }
}
