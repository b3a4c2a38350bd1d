//! What the mappings of a document say, merge keys included.

use std::collections::HashMap;

use image_swap_text::yaml::{NodeId, NodeKind, Style, Tree};

/// The fields of interest of every mapping. A field of its own beats a merged
/// one, an earlier merge source beats a later one (yaml.org/type/merge.html);
/// of a repeated field the last counts, as in Go.
///
/// Built bottom up, so that it takes linear time however often mappings are
/// merged into one another.
pub(super) struct FieldLookup<'t, 's> {
    tree: &'t Tree<'s>,
    names: &'t [&'t str],
    values: HashMap<(NodeId, &'t str), NodeId>,
}

impl<'t, 's> FieldLookup<'t, 's> {
    /// Reads the fields `names`, which are sorted, of every mapping of `tree`.
    pub(super) fn read(tree: &'t Tree<'s>, names: &'t [&'t str]) -> Self {
        let mut fields = Self { tree, names, values: HashMap::new() };
        for document in &tree.documents {
            fields.visit(*document);
        }
        fields
    }

    /// The value of the field `name`, which must be one of those read.
    pub(super) fn get(&self, mapping: NodeId, name: &str) -> Option<NodeId> {
        self.values.get(&(self.tree.resolve(mapping), name)).copied()
    }

    /// The same, if it is a scalar and not null.
    pub(super) fn text(&self, mapping: NodeId, name: &str) -> Option<&'t str> {
        let value = self.get(mapping, name)?;
        if self.tree.is_null(value) { None } else { self.tree.scalar(value) }
    }

    /// Everything below comes first; what an alias stands for has come already.
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

/// Is `key` the merge key? In quotes it is a field like any other.
pub(super) fn is_merge(tree: &Tree<'_>, key: NodeId) -> bool {
    matches!(&tree.node(key).kind, NodeKind::Scalar(value, Style::Plain) if value == "<<")
}

/// What is merged by the value of a merge key: one mapping, or a list of them.
pub(super) fn merge_sources(tree: &Tree<'_>, value: NodeId) -> Vec<NodeId> {
    match &tree.node(tree.resolve(value)).kind {
        NodeKind::Sequence(items) => items.clone(),
        _ => vec![value],
    }
}
