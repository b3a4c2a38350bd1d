//! Field values of mappings, merge keys included.

use std::collections::HashMap;

use image_swap_text::yaml::{NodeId, NodeKind, Style, Tree};

/// The relevant fields of every mapping.
///
/// A mapping's own field overrides a merged one, and an earlier merge source overrides a later
/// one (yaml.org/type/merge.html). The last of repeated fields counts, as in Go.
///
/// The values are collected bottom up, in linear time however often mappings are merged into
/// one another.
pub(super) struct FieldLookup<'t, 's> {
    tree: &'t Tree<'s>,
    names: &'t [&'t str],
    values: HashMap<(NodeId, &'t str), NodeId>,
}

impl<'t, 's> FieldLookup<'t, 's> {
    /// Collects the fields `names`, which are sorted, of every mapping of `tree`.
    pub(super) fn read(tree: &'t Tree<'s>, names: &'t [&'t str]) -> Self {
        let mut fields = Self { tree, names, values: HashMap::new() };
        for document in &tree.documents {
            fields.visit(*document);
        }
        fields
    }

    /// Returns the value of the field `name`, one of those collected.
    pub(super) fn get(&self, mapping: NodeId, name: &str) -> Option<NodeId> {
        self.values.get(&(self.tree.resolve(mapping), name)).copied()
    }

    /// Returns the text of the field `name` if it is a scalar and not null.
    pub(super) fn text(&self, mapping: NodeId, name: &str) -> Option<&'t str> {
        let value = self.get(mapping, name)?;
        if self.tree.is_null(value) { None } else { self.tree.scalar(value) }
    }

    /// Collects the fields of `id`. Child nodes come first, and the target of an alias always
    /// precedes it.
    fn visit(&mut self, id: NodeId) {
        let tree = self.tree;
        match &tree.node(id).kind {
            NodeKind::Sequence(items) => items.iter().for_each(|item| self.visit(*item)),
            NodeKind::Mapping(entries) => {
                for (key, value) in entries {
                    self.visit(*key);
                    self.visit(*value);
                }
                self.collect(id, entries);
            }
            NodeKind::Scalar(..) | NodeKind::Alias(_) => {}
        }
    }

    fn collect(&mut self, id: NodeId, entries: &[(NodeId, NodeId)]) {
        for (_, value) in entries.iter().filter(|(key, _)| is_merge(self.tree, *key)) {
            for source in merge_sources(self.tree, *value) {
                for name in self.names {
                    if let Some(inherited) = self.get(source, name) {
                        self.values.entry((id, name)).or_insert(inherited);
                    }
                }
            }
        }
        for (key, value) in entries {
            let name = self.tree.scalar(*key).map(|name| self.names.binary_search(&name));
            if let Some(Ok(index)) = name {
                self.values.insert((id, self.names[index]), *value);
            }
        }
    }
}

/// Returns true if `key` is the merge key. In quotes it is an ordinary field.
pub(super) fn is_merge(tree: &Tree<'_>, key: NodeId) -> bool {
    matches!(&tree.node(key).kind, NodeKind::Scalar(value, Style::Plain) if value == "<<")
}

/// Returns the mappings that the value of a merge key merges: one mapping, or a list of them.
pub(super) fn merge_sources(tree: &Tree<'_>, value: NodeId) -> Vec<NodeId> {
    match &tree.node(tree.resolve(value)).kind {
        NodeKind::Sequence(items) => items.clone(),
        _ => vec![value],
    }
}
