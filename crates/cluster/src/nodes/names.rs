//! Names of objects that belong to one node.

use crate::secret::hash;

/// Longest name of an object, in bytes.
const NAME: usize = 253;
/// Bytes of a node's name that are kept if the whole name is too long.
const KEPT: usize = 200;

/// Returns the name of the object `PREFIX-NODE`. A hash replaces the end of a long name.
pub(super) fn named_for(prefix: &str, node: &str) -> String {
    let name = format!("{prefix}-{node}");
    if name.len() <= NAME {
        return name;
    }
    let kept = node[..node.floor_char_boundary(KEPT)].trim_end_matches(['.', '-']);
    format!("{prefix}-{kept}-{}", hash(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_an_object_is_valid() {
        assert_eq!(named_for("trial-7", "node-1.example.org"), "trial-7-node-1.example.org");
        let long = ["a".repeat(KEPT - 1), ".".to_owned(), "b".repeat(52)].concat();
        let prefix = format!("restart-{}", u64::MAX);
        let name = named_for(&prefix, &long);
        assert!(name.len() <= NAME && !name.contains(".-"), "{name}");
        assert_ne!(name, named_for(&prefix, &[&long[..252], "c"].concat()));
    }
}
