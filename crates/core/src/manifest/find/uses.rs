//! The result of a search: every use of an image, with its owner.

use std::collections::HashMap;

use image_swap_text::yaml::NodeId;

use super::{FoundImages, NodeInRole, Search, Use, names::image_in_argument};
use crate::manifest::{
    ImageOwner,
    role::{Exemption, Role},
};

impl<'e> Search<'_, '_, 'e> {
    /// Returns the result.
    pub(super) fn found(mut self) -> FoundImages<'e> {
        let mut uses: HashMap<NodeId, Use> = HashMap::new();
        for (part, origin) in &self.origins {
            let (node, role) = part;
            let (standing, prefix) = match role {
                Role::Image(standing) => (standing, 0),
                Role::Argument(standing) => {
                    let text = self.tree.scalar(*node).unwrap_or_default();
                    (standing, image_in_argument(text).unwrap_or(0))
                }
                _ => continue,
            };
            if *standing == Exemption::Exempt {
                self.found.skipped.insert(*node);
                continue;
            }
            let exempt = [Role::Image(Exemption::Exempt), Role::Argument(Exemption::Exempt)];
            let exempt = exempt.iter().any(|role| self.origins.contains_key(&(*node, *role)));
            let elsewhere = self.elsewhere[node.index()]
                .filter(|(_, is_direct)| !is_direct || !self.direct.contains(part))
                .map(|(at, _)| at);
            let owner = self.owner(*origin);
            uses.insert(*node, Use { node: *node, prefix, owner, exempt, elsewhere });
        }
        self.found.uses.extend(uses.into_values());
        self.found.uses.sort_unstable_by_key(|found| found.node);
        self.found
    }

    /// Returns the owner of the image that was reached from `origin`.
    fn owner(&self, mut origin: Option<NodeInRole>) -> ImageOwner {
        let text = |id, name| self.fields.text(id, name).map(str::to_owned);
        let mut owner = ImageOwner::default();
        while let Some(part @ (id, role)) = origin {
            match role {
                Role::Container(_) => owner.container = text(id, "name"),
                Role::Volume(_) => {
                    owner.container = text(id, "name").map(|name| format!("volume:{name}"));
                }
                Role::Variable(_) => owner.field = text(id, "name").map(|it| format!("env:{it}")),
                Role::Arguments(_) => owner.field = Some("args".to_owned()),
                Role::Field(spec, ..) if owner.field.is_none() => {
                    owner.field = Some(self.paths[spec].join("/"));
                }
                _ => {}
            }
            origin = self.origins.get(&part).copied().flatten();
            if matches!(origin, None | Some((_, Role::Items(_)))) || self.is_object(id) {
                owner.kind = text(id, "kind");
                if let Some(metadata) = self.fields.get(id, "metadata") {
                    owner.namespace = text(metadata, "namespace");
                    owner.name = text(metadata, "name").or_else(|| text(metadata, "generateName"));
                }
                break;
            }
        }
        owner
    }
}
