//! Fields of a YAML document with their paths.

use std::collections::BTreeSet;

use image_swap_text::yaml::{NodeId, NodeKind, Style, Tree};

use super::error::{KubeconfigError, KubeconfigProblem};

/// Parses one document, in JSON or YAML.
pub(super) fn parse(text: &str) -> Result<(Tree<'_>, NodeId), KubeconfigError> {
    let tree = match Tree::parse_json(text) {
        Ok(tree) => tree,
        // The messages of parsers are dropped: a position is enough, and quotes nothing.
        Err(_) => {
            Tree::parse(text).map_err(|error| KubeconfigProblem::Syntax(error.place).at(""))?
        }
    };
    match *tree.documents {
        [root] => Ok((tree, root)),
        _ => Err(KubeconfigProblem::Documents(tree.documents.len()).at("")),
    }
}

/// Mapping at a path.
#[derive(Clone, Debug)]
pub(super) struct Fields<'t, 's> {
    tree: &'t Tree<'s>,
    id: NodeId,
    path: String,
}

impl<'t, 's> Fields<'t, 's> {
    /// Returns the mapping `id`, in which each key occurs once.
    pub(super) fn new(
        tree: &'t Tree<'s>,
        id: NodeId,
        path: String,
    ) -> Result<Self, KubeconfigError> {
        let node = tree.node(tree.resolve(id));
        if !matches!(node.kind, NodeKind::Mapping(_)) || node.tagged {
            return Err(KubeconfigProblem::Kind("a mapping").at(path));
        }
        let fields = Self { tree, id, path };
        let mut keys = BTreeSet::new();
        for (key, _) in tree.entries(id) {
            let line = tree.node(*key).place.line;
            let name = fields.tree.scalar(*key).filter(|name| *name != "<<");
            // Readers disagree on keys that are no scalars, and on merged mappings.
            let name = name.ok_or_else(|| KubeconfigProblem::Unknown(line).at(&*fields.path))?;
            if !keys.insert(name) {
                return Err(KubeconfigProblem::Twice(line).at(&*fields.path));
            }
        }
        Ok(fields)
    }

    /// Returns the path of the field `key`, which is a name in this program.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns the path of the mapping.
    pub(super) fn own_path(&self) -> &str {
        &self.path
    }

    /// Checks that every key is one of `known`.
    pub(super) fn only(&self, known: &[&[&str]]) -> Result<(), KubeconfigError> {
        for (key, _) in self.tree.entries(self.id) {
            let name = self.tree.scalar(*key).unwrap_or_default();
            if !known.iter().any(|some| some.contains(&name)) {
                let line = self.tree.node(*key).place.line;
                return Err(KubeconfigProblem::Unknown(line).at(&*self.path));
            }
        }
        Ok(())
    }

    /// Returns the value of `key`; `None` if it is absent, null or an empty text.
    fn value(&self, key: &str) -> Option<NodeId> {
        let id = self.tree.get(self.id, key)?;
        (!self.tree.is_null(id) && self.tree.scalar(id) != Some("")).then_some(id)
    }

    /// Returns true if `key` has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Returns the text of `key`; `None` if it is absent, null or empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, KubeconfigError> {
        let Some(id) = self.value(key) else { return Ok(None) };
        let text = self.tree.scalar(id).filter(|_| !self.tree.node(self.tree.resolve(id)).tagged);
        text.map(Some).ok_or_else(|| KubeconfigProblem::Kind("a text").at(self.path(key)))
    }

    /// Returns the text of `key`, which has to be there.
    pub(super) fn required(&self, key: &str) -> Result<&'t str, KubeconfigError> {
        self.text(key)?.ok_or_else(|| KubeconfigProblem::Missing.at(self.path(key)))
    }

    /// Returns true if `key` has another value than `false`.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.value(key).is_some_and(|id| match &self.tree.node(self.tree.resolve(id)).kind {
            NodeKind::Scalar(value, Style::Plain) => {
                !matches!(value.as_ref(), "false" | "False" | "FALSE")
            }
            _ => true,
        })
    }

    /// Returns the mapping `key`, which has to be there.
    pub(super) fn fields(&self, key: &str) -> Result<Self, KubeconfigError> {
        let path = self.path(key);
        let id = self.value(key).ok_or_else(|| KubeconfigProblem::Missing.at(&*path))?;
        Self::new(self.tree, id, path)
    }

    /// Returns the mapping `inner` of the only entry called `name` in the list `key`. `from` is the
    /// path of the reference.
    pub(super) fn entry(
        &self,
        key: &str,
        name: &str,
        inner: &str,
        from: String,
    ) -> Result<Self, KubeconfigError> {
        let path = self.path(key);
        let list = self.value(key).ok_or_else(|| KubeconfigProblem::Missing.at(&*path))?;
        if !matches!(self.tree.node(self.tree.resolve(list)).kind, NodeKind::Sequence(_)) {
            return Err(KubeconfigProblem::Kind("a list").at(path));
        }
        let mut found = None;
        for (index, item) in self.tree.items(list).iter().enumerate() {
            let of_item = self.tree.get(*item, "name").and_then(|id| self.tree.scalar(id));
            if of_item != Some(name) {
                continue;
            }
            if found.is_some() {
                let line = self.tree.node(*item).place.line;
                return Err(KubeconfigProblem::Twice(line).at(format!("{path}[{index}].name")));
            }
            found = Some((index, *item));
        }
        let (index, item) = found.ok_or_else(|| KubeconfigProblem::Dangling.at(from))?;
        let item = Self::new(self.tree, item, format!("{path}[{index}]"))?;
        item.only(&[&["name", inner]])?;
        item.fields(inner)
    }
}
