//! Which scalars are images, along every path that leads to them.
//!
//! A document with anchors is a graph. What a node means depends on the path,
//! but there are few meanings ([`Role`]): the search goes over pairs of node and
//! role, each once, so that a document which multiplies itself costs no more
//! than its length. A scalar may be edited if every pair it occurs in is an
//! image to be swapped.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::fields::{Fields, is_merge, merge_sources};
use super::role::{Role, Standing};
use super::{Settings, What};
use crate::workload::{
    CONTAINER_LISTS, DISABLED, MIRROR_ANNOTATION, PULL_NEVER, Workload, exempt::Exemptions,
};
use crate::yaml::{Kind, NodeId, Tree};

/// The fields that decide something here, beside the label of the settings.
const FIELDS: [&str; 22] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "generateName",
    "labels",
    "annotations",
    "ownerReferences",
    MIRROR_ANNOTATION,
    "items",
    "spec",
    "template",
    "jobTemplate",
    CONTAINER_LISTS[0],
    CONTAINER_LISTS[1],
    CONTAINER_LISTS[2],
    "volumes",
    "image",
    "imagePullPolicy",
    "reference",
    "pullPolicy",
];

/// A scalar that is the image of something that is swapped.
pub(super) struct Use {
    /// The scalar.
    pub(super) scalar: NodeId,
    /// Whose image it is, or one of those.
    pub(super) what: What,
    /// Whether it is also the image of something that is left alone.
    pub(super) exempt: bool,
    /// Where it is also used as something else than an image.
    pub(super) elsewhere: Option<NodeId>,
}

/// Every use of an image in `tree`, in the order of the text.
pub(super) fn find(tree: &Tree<'_>, settings: &Settings) -> Vec<Use> {
    let label: &str = &settings.disable_label;
    let exemptions = &settings.exemptions;
    let names: Vec<&str> = FIELDS
        .into_iter()
        .chain([label])
        .chain(exemptions.label_keys())
        .chain(exemptions.marks())
        .collect();
    let fields = Fields::read(tree, &names);
    let mut search = Search {
        tree,
        fields: &fields,
        label,
        exemptions,
        origins: HashMap::new(),
        elsewhere: vec![None; tree.len()],
        queue: Vec::new(),
    };
    for document in &tree.documents {
        search.visit(*document, Role::Object(None), None);
    }
    search.run();
    search.uses()
}

/// A node in a role.
type Part = (NodeId, Role);

/// What is still to be looked into.
enum Task {
    /// A node in a role.
    Part(Part),
    /// A mapping that is merged into one in this role. The fields of that role
    /// are looked into from there, where it is known which are in force.
    Merged(Part),
    /// A node where nothing is an image.
    Elsewhere(NodeId),
}

struct Search<'t, 's> {
    tree: &'t Tree<'s>,
    fields: &'t Fields<'t, 's>,
    label: &'t str,
    exemptions: &'t Exemptions,
    /// Each part that was reached, and from which.
    origins: HashMap<Part, Option<Part>>,
    /// By node: itself if it is no image where it stands, or the alias by which it
    /// is used as something else.
    elsewhere: Vec<Option<NodeId>>,
    /// First come, first served, so that the first use in the text is the one
    /// that is reported.
    queue: Vec<Task>,
}

impl Search<'_, '_> {
    fn run(&mut self) {
        // Merge sources need no origin, but each pair must come up once.
        let mut merged = HashSet::new();
        let mut next = 0;
        while next < self.queue.len() {
            match self.queue[next] {
                Task::Part(part) => self.look_into(part),
                Task::Merged(part) => {
                    if merged.insert(part) {
                        self.look_into_merged(part);
                    }
                }
                Task::Elsewhere(node) => self.look_elsewhere(node),
            }
            next += 1;
        }
    }

    /// `id` (or what it is an alias of) is used as `role`.
    fn visit(&mut self, id: NodeId, role: Role, origin: Option<Part>) {
        let Some(role) = self.narrowed(id, role) else {
            return self.visit_elsewhere(id, None);
        };
        let part = (self.tree.resolve(id), role);
        if let Entry::Vacant(entry) = self.origins.entry(part) {
            entry.insert(origin);
            self.queue.push(Task::Part(part));
        }
    }

    /// `id` (or what it is an alias of) is used as no image; `alias`, if any, is
    /// what led into the part where that is so.
    fn visit_elsewhere(&mut self, id: NodeId, alias: Option<NodeId>) {
        let node = self.tree.resolve(id);
        if self.elsewhere[node.index()].is_none() {
            self.elsewhere[node.index()] = Some(if node == id { alias.unwrap_or(id) } else { id });
            self.queue.push(Task::Elsewhere(node));
        }
    }

    /// The role of an object by what the object says; `None` if it runs no pods.
    fn narrowed(&self, id: NodeId, role: Role) -> Option<Role> {
        let Role::Object(default) = role else { return Some(role) };
        let Some(kind) = self.fields.text(id, "kind") else {
            return default.map(|workload| Role::Toward(workload.template_path()));
        };
        let api_version = self.fields.text(id, "apiVersion").unwrap_or_default();
        if let Some(item) = kind.strip_suffix("List") {
            return Some(Role::List(Workload::of(api_version, item)));
        }
        Workload::of(api_version, kind).map(|workload| Role::Toward(workload.template_path()))
    }

    fn look_into(&mut self, part: Part) {
        let (id, role) = part;
        let tree = self.tree;
        match &tree.node(id).kind {
            Kind::Sequence(items) => {
                let Some(role) = role.item() else { return self.visit_elsewhere(id, None) };
                for item in items {
                    self.visit(*item, role, Some(part));
                }
            }
            Kind::Mapping(entries) if !role.fields().is_empty() => {
                self.look_into_mapping(part, entries);
            }
            Kind::Scalar(..) if matches!(role, Role::Image(_)) => {}
            // Not what the API has there.
            _ => self.visit_elsewhere(id, None),
        }
    }

    fn look_into_mapping(&mut self, part: Part, entries: &[(NodeId, NodeId)]) {
        let (id, role) = part;
        let standing = self.standing(part);
        for (key, value) in entries {
            self.visit_elsewhere(*key, None);
            let name = role.fields().iter().find(|name| self.tree.scalar(*key) == Some(name));
            if is_merge(self.tree, *key) {
                self.merge(*value, role);
            } else if let Some(below) = name.and_then(|name| role.below(name, standing)) {
                self.visit(*value, below, Some(part));
            } else {
                self.visit_elsewhere(*value, None);
            }
        }
        // What is merged and not overridden; the rest has been visited already.
        for name in role.fields() {
            if let (Some(value), Some(below)) =
                (self.fields.get(id, name), role.below(name, standing))
            {
                self.visit(value, below, Some(part));
            }
        }
    }

    fn merge(&mut self, value: NodeId, role: Role) {
        for source in merge_sources(self.tree, value) {
            let mapping = self.tree.resolve(source);
            match self.tree.node(mapping).kind {
                Kind::Mapping(_) => self.queue.push(Task::Merged((mapping, role))),
                _ => self.visit_elsewhere(source, None),
            }
        }
    }

    fn look_into_merged(&mut self, (id, role): Part) {
        let tree = self.tree;
        for (key, value) in tree.entries(id) {
            self.visit_elsewhere(*key, None);
            let name = tree.scalar(*key);
            if is_merge(tree, *key) {
                self.merge(*value, role);
            } else if !role.fields().iter().any(|known| Some(*known) == name) {
                self.visit_elsewhere(*value, None);
            }
        }
    }

    fn look_elsewhere(&mut self, id: NodeId) {
        let tree = self.tree;
        let alias =
            self.elsewhere[id.index()].filter(|at| matches!(tree.node(*at).kind, Kind::Alias(_)));
        match &tree.node(id).kind {
            Kind::Sequence(items) => {
                for item in items {
                    self.visit_elsewhere(*item, alias);
                }
            }
            Kind::Mapping(entries) => {
                for (key, value) in entries {
                    self.visit_elsewhere(*key, alias);
                    self.visit_elsewhere(*value, alias);
                }
            }
            Kind::Scalar(..) | Kind::Alias(_) => {}
        }
    }

    /// The standing of what is below a mapping: that of the mapping, unless it
    /// says itself that it is left alone.
    fn standing(&self, (id, role): Part) -> Standing {
        let inherited = role.standing();
        let is_never = |field| self.fields.text(id, field) == Some(PULL_NEVER);
        let exempt = match role {
            Role::Toward([]) => self.is_exempt_pod(id),
            Role::Container(_) => is_never("imagePullPolicy") || self.is_placeholder(id, inherited),
            Role::ImageVolume(_) => is_never("pullPolicy"),
            _ => return inherited,
        };
        match (exempt, role) {
            (true, _) => Standing::Exempt,
            (false, Role::Toward(_)) if self.is_marked_pod(id) => Standing::Marked,
            (false, Role::Container(_) | Role::ImageVolume(_)) if inherited == Standing::Marked => {
                Standing::Swapped
            }
            (false, _) => inherited,
        }
    }

    /// Returns true if the container's image holds the place for an injector's.
    fn is_placeholder(&self, id: NodeId, standing: Standing) -> bool {
        let name = self.fields.text(id, "name").unwrap_or_default();
        let is_marked = standing == Standing::Marked;
        let image = self.fields.text(id, "image");
        image.is_some_and(|image| self.exemptions.image(image, name, is_marked).is_some())
    }

    fn is_exempt_pod(&self, id: NodeId) -> bool {
        let Some(metadata) = self.fields.get(id, "metadata") else { return false };
        let labels = self.fields.get(metadata, "labels");
        let annotations = self.fields.get(metadata, "annotations");
        labels.and_then(|id| self.fields.text(id, self.label)) == Some(DISABLED)
            || annotations.is_some_and(|id| self.fields.get(id, MIRROR_ANNOTATION).is_some())
            || labels.is_some_and(|id| self.has_exempt_label(id))
            || self
                .fields
                .get(metadata, "ownerReferences")
                .is_some_and(|id| self.has_exempt_owner(id))
    }

    fn has_exempt_label(&self, labels: NodeId) -> bool {
        self.exemptions.label_keys().any(|key| {
            let value = self.fields.text(labels, key);
            value.is_some_and(|value| self.exemptions.label(key.as_bytes(), value).is_some())
        })
    }

    fn has_exempt_owner(&self, owners: NodeId) -> bool {
        let Kind::Sequence(owners) = &self.tree.node(self.tree.resolve(owners)).kind else {
            return false;
        };
        owners.iter().any(|owner| {
            let text = |field| self.fields.text(*owner, field).unwrap_or_default();
            self.exemptions.owner(text("apiVersion"), text("kind")).is_some()
        })
    }

    /// Returns true for a pod with a label or annotation by which an injector chooses it.
    fn is_marked_pod(&self, id: NodeId) -> bool {
        let Some(metadata) = self.fields.get(id, "metadata") else { return false };
        let maps = ["labels", "annotations"];
        let has_mark =
            |map| self.exemptions.marks().any(|mark| self.fields.get(map, mark).is_some());
        maps.into_iter().filter_map(|map| self.fields.get(metadata, map)).any(has_mark)
    }

    fn uses(&self) -> Vec<Use> {
        let mut uses: Vec<_> = self
            .origins
            .iter()
            .filter(|((_, role), _)| *role == Role::Image(Standing::Swapped))
            .filter(|((scalar, _), _)| matches!(self.tree.node(*scalar).kind, Kind::Scalar(..)))
            .map(|((scalar, _), origin)| Use {
                scalar: *scalar,
                what: self.what(*origin),
                exempt: self.origins.contains_key(&(*scalar, Role::Image(Standing::Exempt))),
                elsewhere: self.elsewhere[scalar.index()],
            })
            .collect();
        uses.sort_unstable_by_key(|found| found.scalar);
        uses
    }

    /// Whose image it is that was reached from `origin`.
    fn what(&self, mut origin: Option<Part>) -> What {
        let text = |id, name| self.fields.text(id, name).map(str::to_owned);
        let mut what = What::default();
        while let Some(part @ (id, role)) = origin {
            match role {
                Role::Container(_) => what.container = text(id, "name"),
                Role::Volume(_) => {
                    what.container = text(id, "name").map(|name| format!("volume:{name}"));
                }
                _ => {}
            }
            origin = self.origins.get(&part).copied().flatten();
            if matches!(origin, None | Some((_, Role::Items(_)))) {
                what.kind = text(id, "kind");
                if let Some(metadata) = self.fields.get(id, "metadata") {
                    what.namespace = text(metadata, "namespace");
                    what.name = text(metadata, "name").or_else(|| text(metadata, "generateName"));
                }
                break;
            }
        }
        what
    }
}
