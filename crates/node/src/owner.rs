//! Hosts whose files are written by somebody else.

use crate::{
    Case, Files, HostPath, Observed, Refusal, Runtime,
    case::{
        OWNER_BOTTLEROCKET, OWNER_COS, OWNER_FLATCAR, OWNER_GENERATED, OWNER_NIXOS, OWNER_NODEADM,
        OWNER_OPENSHIFT, OWNER_TALOS,
    },
};

/// Who writes the runtime's configuration on a host, and would undo our edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// OpenShift's Machine Config Operator.
    OpenShift,
    /// nodeadm of Amazon EKS, which writes config.toml whenever the host starts.
    Nodeadm,
    /// Bottlerocket: set through its API.
    Bottlerocket,
    /// Talos: set through its machine configuration.
    Talos,
    /// Flatcar: containerd's configuration is part of the read-only image.
    Flatcar,
    /// Google's Container-Optimized OS.
    ContainerOptimized,
    /// NixOS: files below /etc are links into its store.
    NixOs,
}

/// Paths that tell, beside what the system calls itself.
const MCO: &str = "/etc/machine-config-daemon";
const NODEADM: &str = "/usr/bin/nodeadm";
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

impl Owner {
    /// Who owns the host with `files`, if anybody but its administrator does.
    pub fn of(files: &Files) -> Option<Self> {
        if files.exists(&MCO.into()) {
            return Some(Self::OpenShift);
        }
        if files.exists(&NODEADM.into()) {
            return Some(Self::Nodeadm);
        }
        let text = OS_RELEASE.iter().find_map(|&path| files.text(&path.into()))?;
        let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
        Some(match id.trim().trim_matches(['"', '\'']) {
            "rhcos" | "scos" => Self::OpenShift,
            "bottlerocket" => Self::Bottlerocket,
            "talos" => Self::Talos,
            "flatcar" => Self::Flatcar,
            "cos" => Self::ContainerOptimized,
            "nixos" => Self::NixOs,
            _ => return None,
        })
    }

    /// The paths that tell.
    pub(crate) fn evidence() -> impl Iterator<Item = HostPath> {
        OS_RELEASE.into_iter().chain([MCO, NODEADM]).map(HostPath::new)
    }

    /// The row of docs/nodes.md.
    const fn case(self) -> &'static Case {
        match self {
            Self::OpenShift => &OWNER_OPENSHIFT,
            Self::Nodeadm => &OWNER_NODEADM,
            Self::Bottlerocket => &OWNER_BOTTLEROCKET,
            Self::Talos => &OWNER_TALOS,
            Self::Flatcar => &OWNER_FLATCAR,
            Self::ContainerOptimized => &OWNER_COS,
            Self::NixOs => &OWNER_NIXOS,
        }
    }
}

/// Refuses a host that is not ours to write on.
pub(crate) fn check(observed: &Observed) -> Result<(), Refusal> {
    let generated = observed.config.is_below(&"/var/lib/rancher".into());
    if observed.runtime == Runtime::Containerd && generated {
        return Err(Refusal::new(&OWNER_GENERATED, format!("{} is generated", observed.config)));
    }
    match observed.owner() {
        // What lies below certs.d is nobody's there; config.toml is not.
        None | Some(Owner::Nodeadm) => Ok(()),
        Some(owner) => {
            let found = format!("expected a host of its administrator, found {owner:?}");
            Err(Refusal::new(owner.case(), found))
        }
    }
}

/// Refuses to edit the main file where it is written anew at every start.
pub(crate) fn check_main_file(observed: &Observed) -> Result<(), Refusal> {
    match observed.owner() {
        Some(Owner::Nodeadm) => {
            let found = format!("{} is written by nodeadm", observed.config);
            Err(Refusal::new(&OWNER_NODEADM, found))
        }
        _ => Ok(()),
    }
}
