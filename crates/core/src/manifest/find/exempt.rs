//! Exemptions of pods and containers.

use image_swap_text::yaml::NodeId;

use super::{NodeInRole, Search};
use crate::{
    labels,
    manifest::role::{Exemption, Role},
    workload::{CONTAINER_LISTS, PULL_NEVER},
};

impl<'e> Search<'_, '_, 'e> {
    /// Returns the exemption of the parts below a mapping. It is that of the mapping, unless
    /// the mapping opts out itself or is exempt by default.
    pub(super) fn standing(&mut self, (id, role): NodeInRole) -> Exemption {
        let inherited = role.standing();
        let has_policy = |name| self.fields.text(id, name) == Some(PULL_NEVER);
        let exempt = match role {
            Role::Toward([]) => self.is_exempt_pod(id),
            Role::Anything(..) => self.is_exempt_pod(id) && self.is_like_pod(id),
            Role::Container(_) => {
                has_policy("imagePullPolicy") || self.placeholder(id, inherited).is_some()
            }
            Role::ImageVolume(_) => has_policy("pullPolicy"),
            // Only the resource itself can have the label.
            Role::Field(spec, depth, _) => {
                let holds_image = depth + 1 == self.paths[spec].len();
                self.is_exempt_pod(id)
                    || holds_image && (has_policy("imagePullPolicy") || has_policy("pullPolicy"))
            }
            _ => return inherited,
        };
        if exempt {
            let reason = match role {
                Role::Container(_) => self.placeholder(id, inherited),
                Role::ImageVolume(_) => None,
                _ => self.exemption_of_pod(id),
            };
            self.found.skipped.insert(id);
            self.found.exempt.extend(reason.map(|reason| (id, reason)));
            return Exemption::Exempt;
        }
        match role {
            Role::Toward(_) if self.is_marked_pod(id) => Exemption::Marked,
            Role::Anything(..) if self.is_marked_pod(id) && self.is_like_pod(id) => {
                Exemption::Marked
            }
            Role::Container(_) | Role::ImageVolume(_) if inherited == Exemption::Marked => {
                Exemption::Swapped
            }
            _ => inherited,
        }
    }

    /// Returns the reason for which the container's image is exempt, such as a placeholder
    /// that an injector fills in.
    fn placeholder(&self, id: NodeId, standing: Exemption) -> Option<&'e str> {
        let name = self.fields.text(id, "name").unwrap_or_default();
        let image = self.fields.text(id, "image")?;
        self.settings.exemptions.image(image, name, standing == Exemption::Marked)
    }

    fn is_exempt_pod(&self, id: NodeId) -> bool {
        let Some(metadata) = self.fields.get(id, "metadata") else { return false };
        let labels = self.fields.get(metadata, "labels");
        let annotations = self.fields.get(metadata, "annotations");
        labels.and_then(|id| self.fields.text(id, &self.settings.disable_label))
            == Some(labels::DISABLED)
            || annotations.is_some_and(|id| self.fields.get(id, labels::MIRROR_POD).is_some())
            || self.exemption_of_pod(id).is_some()
    }

    /// Returns the reason for which a pod is exempt by a label or an owner.
    fn exemption_of_pod(&self, id: NodeId) -> Option<&'e str> {
        let exemptions = &self.settings.exemptions;
        let metadata = self.fields.get(id, "metadata")?;
        let labels = self.fields.get(metadata, "labels");
        let of_label = |labels| {
            let found =
                |key: &str| exemptions.label(key.as_bytes(), self.fields.text(labels, key)?);
            exemptions.label_keys().find_map(found)
        };
        let owners = self.fields.get(metadata, "ownerReferences");
        let of_owner = |owner: &NodeId| {
            let text = |field| self.fields.text(*owner, field).unwrap_or_default();
            exemptions.owner(text("apiVersion"), text("kind"))
        };
        let of_owners = || self.tree.items(owners?).iter().find_map(of_owner);
        labels.and_then(of_label).or_else(of_owners).map(|found| exemptions.reason(found))
    }

    /// Returns true for a pod with a label or annotation by which an injector selects it.
    fn is_marked_pod(&self, id: NodeId) -> bool {
        let Some(metadata) = self.fields.get(id, "metadata") else { return false };
        let maps = ["labels", "annotations"];
        let exemptions = &self.settings.exemptions;
        let has_mark = |map| exemptions.marks().any(|mark| self.fields.get(map, mark).is_some());
        maps.into_iter().filter_map(|map| self.fields.get(metadata, map)).any(has_mark)
    }

    /// Returns true if `id` has the spec of a pod, so that its labels are those of pods.
    fn is_like_pod(&self, id: NodeId) -> bool {
        let spec = self.fields.get(id, "spec");
        let has = |list| spec.is_some_and(|spec| self.fields.get(spec, list).is_some());
        CONTAINER_LISTS.into_iter().any(has)
    }
}
