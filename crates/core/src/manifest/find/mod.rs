//! Finds the scalars that are images, along every path that leads to them.
//!
//! A document with anchors is a graph. The meaning of a node depends on the path, but there are
//! few meanings ([`Role`]). The search visits each pair of node and role once, so that a
//! document which multiplies itself costs no more than its length.
//!
//! A scalar may be edited if every pair with it is an image in scope.

mod exempt;
mod names;
mod uses;

use std::collections::{HashMap, HashSet};

use image_swap_text::yaml::{NodeId, NodeKind, Tree};

pub(super) use self::names::image_in_argument;
use self::names::{is_name_of_argument, is_name_of_image};
use super::{
    FieldSpec, ImageOwner, Settings,
    fields::{FieldLookup, is_merge, merge_sources},
    known,
    role::{Exemption, Family, Role},
};
use crate::{
    labels,
    workload::{CONTAINER_LISTS, Workload},
};

/// Fields with a meaning. The lists of containers, the label of the settings, the keys of
/// exemptions, and the names in the paths of fields are added.
const FIELDS: &str = "apiVersion kind metadata name namespace generateName labels annotations \
                      ownerReferences items spec template jobTemplate volumes image \
                      imagePullPolicy reference pullPolicy env value command args";

/// A use of a node as an image in scope.
pub(super) struct Use {
    /// The node: a scalar, if the manifest has the shape of the API.
    pub(super) node: NodeId,
    /// The number of bytes of its value before the image: those of `--image=`.
    pub(super) prefix: usize,
    /// Owner of the image; of several owners, one of them.
    pub(super) owner: ImageOwner,
    /// True if it is also the image of something exempt.
    pub(super) exempt: bool,
    /// Node of another use than as an image; `None` if there is none.
    pub(super) elsewhere: Option<NodeId>,
}

/// The result of a search.
#[derive(Default)]
pub(super) struct FoundImages<'t> {
    /// Every use as an image, in the order of the text.
    pub(super) uses: Vec<Use>,
    /// Roots of the parts in which no image counts: exempt pods and containers, images of
    /// exempt parts, and `status`, the report about an object.
    pub(super) skipped: HashSet<NodeId>,
    /// Values of environment variables and arguments, which are images with other settings.
    pub(super) on_request: HashMap<NodeId, OnRequest>,
    /// Pods and containers that are exempt by an owner, a label or an image, and the reason
    /// of each.
    pub(super) exempt: HashMap<NodeId, &'t str>,
    /// True if a document is an object of the API.
    pub(super) is_manifest: bool,
}

/// An option that makes a value an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnRequest {
    /// [`Settings::env`].
    Env,
    /// [`Settings::args`].
    Args,
}

/// Finds every use of an image in `tree`.
pub(super) fn find<'e>(tree: &Tree<'_>, settings: &'e Settings) -> FoundImages<'e> {
    let exemptions = &settings.exemptions;
    let known = known::fields();
    let specs: Vec<&FieldSpec> = known.iter().chain(&settings.image_fields).collect();
    let in_paths = specs.iter().flat_map(|spec| &spec.path).map(String::as_str);
    let mut names: Vec<&str> = FIELDS
        .split(' ')
        .chain(CONTAINER_LISTS)
        .chain([labels::MIRROR_POD, &settings.disable_label])
        .chain(exemptions.label_keys())
        .chain(exemptions.marks())
        .chain(in_paths)
        .collect();
    names.sort_unstable();
    names.dedup();
    let paths = specs.iter().map(|spec| spec.path.iter().map(String::as_str).collect()).collect();
    let fields = FieldLookup::read(tree, &names);
    let mut search = Search {
        tree,
        fields: &fields,
        settings,
        specs,
        paths,
        origins: HashMap::new(),
        direct: HashSet::new(),
        elsewhere: vec![None; tree.len()],
        queue: Vec::new(),
        found: FoundImages::default(),
    };
    for document in &tree.documents {
        search.visit(*document, Role::Object(None), None);
    }
    search.run();
    search.found()
}

/// A node in a role.
type NodeInRole = (NodeId, Role);

/// A pending step of the search.
enum Task {
    /// A node in a role.
    Part(NodeInRole),
    /// A mapping that is merged into one in this role. The target of the merge visits its
    /// fields, since it knows which of them are overridden.
    Merged(NodeInRole),
    /// A node where nothing is an image.
    Elsewhere(NodeId),
}

struct Search<'t, 's, 'e> {
    tree: &'t Tree<'s>,
    fields: &'t FieldLookup<'t, 's>,
    settings: &'e Settings,
    /// The fields that contain images, and their paths.
    specs: Vec<&'t FieldSpec>,
    paths: Vec<Vec<&'t str>>,
    /// Each visited part, with the part that led to it.
    origins: HashMap<NodeInRole, Option<NodeInRole>>,
    /// Parts that are reachable without an alias or a merge.
    ///
    /// An object may be searched in several roles at once, each of which sees no images in the
    /// fields of the others. An image that one of them finds in place is an image nevertheless.
    direct: HashSet<NodeInRole>,
    /// The position of another use than as an image, by node. The flag is true for the node's
    /// own place, without an alias or a merge on the way.
    elsewhere: Vec<Option<(NodeId, bool)>>,
    /// First in, first out, so that the first use in the text is reported.
    queue: Vec<Task>,
    found: FoundImages<'e>,
}

impl<'t> Search<'t, '_, '_> {
    fn run(&mut self) {
        // Merge sources need no origin, but each pair must be visited once.
        let mut merged = HashSet::new();
        let mut next = 0;
        while next < self.queue.len() {
            match self.queue[next] {
                Task::Part(part) => self.look_into(part),
                Task::Merged(part) if merged.insert(part) => self.look_into_merged(part),
                Task::Merged(_) => {}
                Task::Elsewhere(node) => self.look_elsewhere(node),
            }
            next += 1;
        }
    }

    /// Visits `id` (or the target of the alias) in the role `role`.
    fn visit(&mut self, id: NodeId, role: Role, origin: Option<NodeInRole>) {
        match role {
            Role::Object(default) => self.visit_object(id, default, origin),
            // An object within an object: of a template, of a bundle, of a trigger.
            Role::Anything(..) if self.is_object(id) => self.visit_object(id, None, origin),
            Role::Field(spec, depth, standing) if depth == self.paths[spec].len() => {
                let is_list = !self.tree.items(id).is_empty();
                let role = if is_list { role } else { Role::Image(standing) };
                self.reach(id, role, origin, true);
            }
            _ => self.reach(id, role, origin, true),
        }
    }

    /// Adds the part of `id` in `role`. `in_place` is true if the value is part of `origin`,
    /// and false if it is merged into it.
    fn reach(&mut self, id: NodeId, role: Role, origin: Option<NodeInRole>, in_place: bool) {
        let part = (self.tree.resolve(id), role);
        let is_direct =
            in_place && part.0 == id && origin.is_none_or(|origin| self.direct.contains(&origin));
        let is_new = !self.origins.contains_key(&part);
        self.origins.entry(part).or_insert(origin);
        // A part that was first reached by an alias is visited again: all parts below it are
        // direct, too.
        if is_direct && self.direct.insert(part) || is_new {
            self.queue.push(Task::Part(part));
        }
    }

    /// Visits `id` (or the target of the alias), which is not an image in the part `from`.
    fn visit_elsewhere(&mut self, id: NodeId, from: Option<NodeInRole>) {
        let is_direct = from.is_none_or(|from| self.direct.contains(&from));
        self.mark_elsewhere(id, None, is_direct);
    }

    /// Records another use of `id` (or of the target of the alias) than as an image. `alias`,
    /// if any, led into the part with that use.
    fn mark_elsewhere(&mut self, id: NodeId, alias: Option<NodeId>, is_direct: bool) {
        let node = self.tree.resolve(id);
        let at = if node == id { alias.unwrap_or(id) } else { id };
        let found = (at, is_direct && at == node);
        // The position of an alias is more helpful than that of the node itself.
        if self.elsewhere[node.index()].is_none_or(|(_, was_direct)| was_direct && !found.1) {
            self.elsewhere[node.index()] = Some(found);
            self.queue.push(Task::Elsewhere(node));
        }
    }

    fn is_object(&self, id: NodeId) -> bool {
        self.fields.text(id, "kind").is_some() && self.fields.text(id, "apiVersion").is_some()
    }

    /// Visits the API object `id`, of the kind `default` if it has none of its own.
    fn visit_object(&mut self, id: NodeId, default: Option<Workload>, origin: Option<NodeInRole>) {
        let toward = |workload: Workload| Role::Toward(workload.template_path());
        let Some(kind) = self.fields.text(id, "kind") else {
            return match default {
                Some(workload) => self.reach(id, toward(workload), origin, true),
                None => self.visit_elsewhere(id, origin),
            };
        };
        let api_version = self.fields.text(id, "apiVersion").unwrap_or_default();
        let has_items = kind == "ResourceList" || self.fields.get(id, "items").is_some();
        let of_list = kind.strip_suffix("List").filter(|_| has_items);
        let workload = Workload::of(api_version, kind);
        if api_version.is_empty() && workload.is_none() && of_list.is_none() {
            return self.visit_elsewhere(id, origin);
        }
        // Files of kustomize are read only by kustomize, and never by a cluster.
        self.found.is_manifest |= !api_version.starts_with("kustomize.config.k8s.io/");
        if let Some(item) = of_list {
            return self.reach(id, Role::List(Workload::of(api_version, item)), origin, true);
        }
        // A schema may have fields with these names, and contains no container.
        if kind == "CustomResourceDefinition" {
            return self.visit_elsewhere(id, origin);
        }
        let anything = || Role::Anything(Family::of(api_version), Exemption::Swapped);
        let role = workload.map_or_else(anything, toward);
        self.reach(id, role, origin, true);
        for (index, spec) in self.specs.clone().into_iter().enumerate() {
            if spec.is_of(api_version, kind) {
                self.reach(id, Role::Field(index, 0, Exemption::Swapped), origin, true);
            }
        }
    }

    fn look_into(&mut self, part: NodeInRole) {
        let (id, role) = part;
        let tree = self.tree;
        match (&tree.node(id).kind, role) {
            (NodeKind::Sequence(items), Role::Arguments(standing)) => {
                self.look_into_arguments(part, items, standing);
            }
            (NodeKind::Sequence(items), _) => match role.item() {
                Some(role) => items.iter().for_each(|item| self.visit_item(*item, role, part)),
                None => self.visit_elsewhere(id, Some(part)),
            },
            (NodeKind::Mapping(entries), Role::Anything(family, _)) => {
                let standing = self.standing(part);
                self.look_into_anything(part, entries, family, standing);
            }
            (NodeKind::Mapping(entries), _) if !self.names_in(role).is_empty() => {
                self.look_into_mapping(part, entries);
            }
            (NodeKind::Scalar(..), Role::Image(_) | Role::Argument(_)) => {}
            // The value differs from the API's type.
            _ => self.visit_elsewhere(id, Some(part)),
        }
    }

    fn visit_item(&mut self, item: NodeId, role: Role, part: NodeInRole) {
        if let Role::Variable(_) = role {
            let name = self.fields.text(item, "name");
            let is_image = name.is_some_and(is_name_of_image);
            if !is_image || !self.settings.env {
                if let Some(value) = self.fields.get(item, "value").filter(|_| is_image) {
                    self.found.on_request.insert(self.tree.resolve(value), OnRequest::Env);
                }
                return self.visit_elsewhere(item, Some(part));
            }
        }
        self.visit(item, role, Some(part));
    }

    /// Visits arguments: images follow `--image=`, or an argument `--image`.
    fn look_into_arguments(&mut self, part: NodeInRole, items: &[NodeId], standing: Exemption) {
        let mut follows_name = false;
        for item in items {
            let text = self.tree.scalar(*item).unwrap_or_default();
            let role = match image_in_argument(text) {
                Some(_) => Some(Role::Argument(standing)),
                None if follows_name && !text.starts_with('-') => Some(Role::Image(standing)),
                None => None,
            };
            follows_name = text.starts_with('-') && is_name_of_argument(text);
            match role {
                Some(role) if self.settings.args => self.visit(*item, role, Some(part)),
                Some(_) => {
                    self.found.on_request.insert(self.tree.resolve(*item), OnRequest::Args);
                    self.visit_elsewhere(*item, Some(part));
                }
                None => self.visit_elsewhere(*item, Some(part)),
            }
        }
    }

    /// Returns the names of fields with a meaning for a mapping in `role`.
    fn names_in(&self, role: Role) -> &[&'t str] {
        match role {
            Role::Field(spec, depth, _) => self.paths[spec].get(depth..=depth).unwrap_or_default(),
            _ => role.fields(),
        }
    }

    fn look_into_anything(
        &mut self,
        part: NodeInRole,
        entries: &[(NodeId, NodeId)],
        family: Family,
        standing: Exemption,
    ) {
        let tree = self.tree;
        for (key, value) in entries {
            self.visit_elsewhere(*key, Some(part));
            let name = tree.scalar(*key).unwrap_or_default();
            let (is_list, is_mapping) =
                (!tree.items(*value).is_empty(), !tree.entries(*value).is_empty());
            let role = if is_merge(tree, *key) {
                self.merge(*value, Role::Anything(family, standing));
                continue;
            } else if is_list && family.has_list(name) {
                Role::Containers(standing)
            } else if is_list && name == "volumes" {
                Role::Volumes(standing)
            } else if is_mapping && family.has_one(name) {
                Role::Container(standing)
            } else {
                Role::Anything(family, standing)
            };
            if name == "status" && self.is_object(part.0) {
                self.found.skipped.insert(*value);
                self.visit_elsewhere(*value, Some(part));
            } else {
                self.visit(*value, role, Some(part));
            }
        }
    }

    fn look_into_mapping(&mut self, part: NodeInRole, entries: &[(NodeId, NodeId)]) {
        let (id, role) = part;
        let standing = self.standing(part);
        let names = self.names_in(role).to_vec();
        let mut own = HashSet::new();
        for (key, value) in entries {
            self.visit_elsewhere(*key, Some(part));
            let key_text = self.tree.scalar(*key).unwrap_or_default();
            let name = names.iter().find(|name| **name == key_text);
            if is_merge(self.tree, *key) {
                self.merge(*value, role);
            } else if let Some(below) = name.and_then(|name| role.below(name, standing)) {
                own.insert(*value);
                self.visit(*value, below, Some(part));
            } else {
                // Fields of the list itself, and the report about an object.
                if matches!(role, Role::List(_)) || key_text == "status" && self.is_object(id) {
                    self.found.skipped.insert(*value);
                }
                self.visit_elsewhere(*value, Some(part));
            }
        }
        // Merged fields that are not overridden; the other fields have been visited already.
        for name in names {
            let value = self.fields.get(id, name).filter(|value| !own.contains(value));
            let (Some(value), Some(below)) = (value, role.below(name, standing)) else { continue };
            let is_image =
                matches!(below, Role::Field(spec, depth, _) if depth == self.paths[spec].len());
            let below = if is_image { Role::Image(standing) } else { below };
            self.reach(value, below, Some(part), false);
        }
    }

    fn merge(&mut self, value: NodeId, role: Role) {
        for source in merge_sources(self.tree, value) {
            let mapping = self.tree.resolve(source);
            match self.tree.node(mapping).kind {
                NodeKind::Mapping(_) => self.queue.push(Task::Merged((mapping, role))),
                _ => self.mark_elsewhere(source, None, false),
            }
        }
    }

    fn look_into_merged(&mut self, (id, role): NodeInRole) {
        let tree = self.tree;
        if let Role::Anything(family, standing) = role {
            return self.look_into_anything((id, role), tree.entries(id), family, standing);
        }
        for (key, value) in tree.entries(id) {
            self.mark_elsewhere(*key, None, false);
            let name = tree.scalar(*key);
            if is_merge(tree, *key) {
                self.merge(*value, role);
            } else if !self.names_in(role).iter().any(|known| Some(*known) == name) {
                self.mark_elsewhere(*value, None, false);
            }
        }
    }

    fn look_elsewhere(&mut self, id: NodeId) {
        let tree = self.tree;
        let Some((at, is_direct)) = self.elsewhere[id.index()] else { return };
        let alias = Some(at).filter(|at| matches!(tree.node(*at).kind, NodeKind::Alias(_)));
        let of_entry = |(key, value): &(NodeId, NodeId)| [*key, *value];
        let of_entries = tree.entries(id).iter().flat_map(of_entry);
        for node in tree.items(id).iter().copied().chain(of_entries) {
            self.mark_elsewhere(node, alias, is_direct);
        }
    }
}
