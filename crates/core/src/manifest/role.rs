//! The role of a node in a manifest.

use crate::workload::{CONTAINER_LISTS, Workload};

/// The role of a node, along one path from the root. A node with several uses may have several
/// roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// An API object. The workload is its kind if it has none of its own, such as the items of
    /// a `PodList`.
    Object(Option<Workload>),
    /// An object with `items`: `List`, `PodList`, `ResourceList`.
    List(Option<Workload>),
    /// The `items` of a list.
    Items(Option<Workload>),
    /// An object or a part of one from which these fields lead to the pod template. At the end
    /// of the path, the template (or pod) itself.
    Toward(&'static [&'static str]),
    /// A part of an object of another kind than the built-in workloads. Lists of containers may
    /// be anywhere below it, as in kustomize.
    Anything(Family, Exemption),
    /// A node from which the rest of a field's path leads to images: the field's index, and the
    /// number of names that have been followed.
    Field(usize, usize, Exemption),
    /// A pod's `spec`.
    PodSpec(Exemption),
    /// A list of containers.
    Containers(Exemption),
    /// A container.
    Container(Exemption),
    /// The `env` of a container.
    Env(Exemption),
    /// A variable whose value is an image.
    Variable(Exemption),
    /// The `command` or the `args` of a container.
    Arguments(Exemption),
    /// An argument with an image after its `=`.
    Argument(Exemption),
    /// The `volumes` of a pod.
    Volumes(Exemption),
    /// A volume.
    Volume(Exemption),
    /// The `image` of a volume.
    ImageVolume(Exemption),
    /// The name of an image.
    Image(Exemption),
}

/// Kinds with containers under names of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    /// Names as in a pod.
    Plain,
    /// Tekton: steps.
    Tekton,
    /// Argo Workflows and Argo Events: templates of one container.
    Argo,
}

/// The scope of a part: swapped or exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exemption {
    /// The image is swapped.
    Swapped,
    /// The image is in a pod that an injector selects, and is swapped unless it is a placeholder.
    Marked,
    /// Exempt: its pod or container opted out, or is exempt by default.
    Exempt,
}

impl Family {
    /// Returns the family of kinds in the group of `api_version`.
    pub(super) fn of(api_version: &str) -> Self {
        match api_version.split_once('/').map(|(group, _)| group) {
            Some("tekton.dev" | "triggers.tekton.dev") => Self::Tekton,
            Some("argoproj.io") => Self::Argo,
            _ => Self::Plain,
        }
    }

    /// Returns true if lists called `name` are lists of containers.
    pub(super) fn has_list(self, name: &str) -> bool {
        CONTAINER_LISTS.contains(&name)
            || match self {
                Self::Plain => false,
                Self::Tekton => matches!(name, "steps" | "sidecars"),
                Self::Argo => name == "sidecars",
            }
    }

    /// Returns true if a mapping called `name` is a container.
    pub(super) fn has_one(self, name: &str) -> bool {
        match self {
            Self::Plain => false,
            Self::Tekton => name == "stepTemplate",
            Self::Argo => matches!(name, "container" | "script"),
        }
    }
}

impl Role {
    /// Returns the fields with a meaning for a mapping in this role, except [`Self::Anything`]
    /// and [`Self::Field`].
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::List(_) => &["items"],
            Self::Toward([]) => &["spec"],
            Self::Toward(path) => path.split_at(1).0,
            Self::PodSpec(_) => {
                &[CONTAINER_LISTS[0], CONTAINER_LISTS[1], CONTAINER_LISTS[2], "volumes"]
            }
            Self::Container(_) => &["image", "env", "command", "args"],
            Self::Variable(_) => &["value"],
            Self::Volume(_) => &["image"],
            Self::ImageVolume(_) => &["reference"],
            _ => &[],
        }
    }

    /// Returns the role of the value of `name`, one of the fields with a meaning. `standing` is
    /// the exemption of the parts below the mapping itself.
    pub(super) fn below(self, name: &str, standing: Exemption) -> Option<Self> {
        Some(match self {
            Self::Field(spec, depth, _) => Self::Field(spec, depth + 1, standing),
            Self::List(workload) => Self::Items(workload),
            Self::Toward([]) => Self::PodSpec(standing),
            Self::Toward(path) => Self::Toward(&path[1..]),
            Self::PodSpec(_) if name == "volumes" => Self::Volumes(standing),
            Self::PodSpec(_) => Self::Containers(standing),
            Self::Container(_) if name == "env" => Self::Env(standing),
            Self::Container(_) if name != "image" => Self::Arguments(standing),
            Self::Container(_) | Self::ImageVolume(_) | Self::Variable(_) => Self::Image(standing),
            Self::Volume(_) => Self::ImageVolume(standing),
            _ => return None,
        })
    }

    /// Returns the role of an item of a sequence in this role; `None` if it has none.
    pub(super) const fn item(self) -> Option<Self> {
        Some(match self {
            Self::Items(workload) => Self::Object(workload),
            Self::Containers(standing) => Self::Container(standing),
            Self::Volumes(standing) => Self::Volume(standing),
            Self::Env(standing) => Self::Variable(standing),
            Self::Anything(..) | Self::Field(..) => self,
            _ => return None,
        })
    }

    /// Returns the exemption so far.
    pub(super) const fn standing(self) -> Exemption {
        match self {
            Self::Anything(_, standing)
            | Self::Field(_, _, standing)
            | Self::PodSpec(standing)
            | Self::Containers(standing)
            | Self::Container(standing)
            | Self::Env(standing)
            | Self::Variable(standing)
            | Self::Arguments(standing)
            | Self::Argument(standing)
            | Self::Volumes(standing)
            | Self::Volume(standing)
            | Self::ImageVolume(standing)
            | Self::Image(standing) => standing,
            _ => Exemption::Swapped,
        }
    }
}
