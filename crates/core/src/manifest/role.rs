//! What a node means where it stands.

use crate::workload::{CONTAINER_LISTS, Workload};

/// What a node is, seen along one path from the root. A node that is used
/// several times may be several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// An API object; the workload is what it is if it does not say so itself,
    /// as the items of a `PodList` do not.
    Object(Option<Workload>),
    /// An object with `items`: `List`, `PodList`, `ResourceList`.
    List(Option<Workload>),
    /// The `items` of a list.
    Items(Option<Workload>),
    /// An object or a part of one from which these fields lead to the pod
    /// template; at the end of the path, the template (or pod) itself.
    Toward(&'static [&'static str]),
    /// A pod's `spec`.
    PodSpec(Standing),
    /// A list of containers.
    Containers(Standing),
    /// A container.
    Container(Standing),
    /// The `volumes` of a pod.
    Volumes(Standing),
    /// A volume.
    Volume(Standing),
    /// The `image` of a volume.
    ImageVolume(Standing),
    /// The name of an image.
    Image(Standing),
}

/// Whether an image is to be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// It is.
    Swapped,
    /// It is, in a pod that an injector chooses, unless it is a placeholder.
    Marked,
    /// It is in a pod or a container that is left alone.
    Exempt,
}

impl Role {
    /// The fields that a mapping in this role has a meaning for.
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::List(_) => &["items"],
            Self::Toward([]) => &["spec"],
            Self::Toward(path) => path.split_at(1).0,
            Self::PodSpec(_) => {
                &[CONTAINER_LISTS[0], CONTAINER_LISTS[1], CONTAINER_LISTS[2], "volumes"]
            }
            Self::Container(_) | Self::Volume(_) => &["image"],
            Self::ImageVolume(_) => &["reference"],
            Self::Object(_)
            | Self::Items(_)
            | Self::Containers(_)
            | Self::Volumes(_)
            | Self::Image(_) => &[],
        }
    }

    /// What the value of the field `name`, one of [`Self::fields`], is.
    /// `standing` is that of what is below the mapping itself.
    pub(super) fn below(self, name: &str, standing: Standing) -> Option<Self> {
        Some(match self {
            Self::List(workload) => Self::Items(workload),
            Self::Toward([]) => Self::PodSpec(standing),
            Self::Toward(path) => Self::Toward(&path[1..]),
            Self::PodSpec(_) if name == "volumes" => Self::Volumes(standing),
            Self::PodSpec(_) => Self::Containers(standing),
            Self::Container(_) | Self::ImageVolume(_) => Self::Image(standing),
            Self::Volume(_) => Self::ImageVolume(standing),
            _ => return None,
        })
    }

    /// What an item of a sequence in this role is; `None` if it should be none.
    pub(super) const fn item(self) -> Option<Self> {
        Some(match self {
            Self::Items(workload) => Self::Object(workload),
            Self::Containers(standing) => Self::Container(standing),
            Self::Volumes(standing) => Self::Volume(standing),
            _ => return None,
        })
    }

    /// The standing so far.
    pub(super) const fn standing(self) -> Standing {
        match self {
            Self::PodSpec(standing)
            | Self::Containers(standing)
            | Self::Container(standing)
            | Self::Volumes(standing)
            | Self::Volume(standing)
            | Self::ImageVolume(standing)
            | Self::Image(standing) => standing,
            _ => Standing::Swapped,
        }
    }
}
