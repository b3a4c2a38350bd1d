//! Hosts whose files another tool writes.

use crate::{
    condition::{
        OWNER_BOTTLEROCKET, OWNER_COS, OWNER_FLATCAR, OWNER_GENERATED, OWNER_K0S, OWNER_K0S_EDITED,
        OWNER_MICROK8S, OWNER_NIXOS, OWNER_NODEADM, OWNER_OPENSHIFT, OWNER_TALOS, PlanRefusal,
    },
    files::HostPath,
    observed::ObservedHost,
    runtime::kind::ContainerRuntime,
};

/// The tool that writes the runtime's configuration on a host, and would undo edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostOwner {
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
    /// k0s, which writes the main file of its containerd and reads a directory beside it.
    K0s,
    /// `MicroK8s`, whose containerd reads a file that is made from a template.
    MicroK8s,
}

/// The main file of k0s's containerd.
pub(crate) const K0S: &str = "/etc/k0s/containerd.toml";
/// The files that k0s merges into it.
pub(crate) const K0S_DROP_INS: &str = "/etc/k0s/containerd.d/*.toml";
/// The first line of that file for as long as k0s writes it.
const K0S_MARK: &str = "k0s_managed=true";
/// The directory that the files of `MicroK8s` call `SNAP_DATA`.
pub(crate) const MICROK8S_DATA: &str = "/var/snap/microk8s/current";
/// The template of the main file of its containerd.
pub(crate) const MICROK8S: &str = "/var/snap/microk8s/current/args/containerd-template.toml";
/// The directory of hosts that this template names by default.
const MICROK8S_CERTS_D: &str = "/var/snap/microk8s/current/args/certs.d";

/// Paths that show the owner, beside the name of the system.
const MCO: &str = "/etc/machine-config-daemon";
const NODEADM: &str = "/usr/bin/nodeadm";
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

impl HostOwner {
    /// Returns the paths that show the owner.
    pub(crate) fn evidence() -> impl Iterator<Item = HostPath> {
        let others = [MCO, NODEADM, K0S, "/etc/k0s", MICROK8S, MICROK8S_CERTS_D];
        let main = ContainerRuntime::Containerd.config();
        OS_RELEASE.into_iter().chain(others).map(HostPath::new).chain([main])
    }
}

impl ObservedHost {
    /// Returns the tool that writes the files of the host; `None` if that is its administrator.
    pub fn owner(&self) -> Option<HostOwner> {
        let files = &self.files;
        let signs = [
            (files.exists(&MCO.into()), HostOwner::OpenShift),
            (files.exists(&NODEADM.into()), HostOwner::Nodeadm),
            (self.config.as_str() == K0S, HostOwner::K0s),
            (self.config.as_str() == MICROK8S, HostOwner::MicroK8s),
        ];
        if let Some((_, owner)) = signs.into_iter().find(|(is_there, _)| *is_there) {
            return Some(owner);
        }
        let text = OS_RELEASE.iter().find_map(|&path| files.text(&path.into()))?;
        let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
        Some(match id.trim().trim_matches(['"', '\'']) {
            "rhcos" | "scos" => HostOwner::OpenShift,
            "bottlerocket" => HostOwner::Bottlerocket,
            "talos" => HostOwner::Talos,
            "flatcar" => HostOwner::Flatcar,
            "cos" => HostOwner::ContainerOptimized,
            "nixos" => HostOwner::NixOs,
            _ => return None,
        })
    }
}

/// Refuses a host that another tool owns.
pub(crate) fn check(observed: &ObservedHost) -> Result<(), PlanRefusal> {
    // Also below the directory that `data-dir` names.
    let generated = observed.config.is_below(&"/var/lib/rancher".into())
        || observed.config.as_str().ends_with("/agent/etc/containerd/config.toml");
    if observed.runtime == ContainerRuntime::Containerd && generated {
        return Err(OWNER_GENERATED.refusal(format!("{} is generated", observed.config)));
    }
    let Some(owner) = observed.owner() else { return Ok(()) };
    let case = match owner {
        HostOwner::OpenShift => &OWNER_OPENSHIFT,
        HostOwner::Bottlerocket => &OWNER_BOTTLEROCKET,
        HostOwner::Talos => &OWNER_TALOS,
        HostOwner::Flatcar => &OWNER_FLATCAR,
        HostOwner::ContainerOptimized => &OWNER_COS,
        HostOwner::NixOs => &OWNER_NIXOS,
        // These tools rewrite config.toml, and skip certs.d.
        HostOwner::Nodeadm | HostOwner::K0s | HostOwner::MicroK8s => return Ok(()),
    };
    Err(case.refusal(format!("{owner:?} writes the files of this host")))
}

/// Refuses to edit a main file that another tool rewrites at every start.
pub(crate) fn check_main_file(observed: &ObservedHost) -> Result<(), PlanRefusal> {
    let missing = |path: &str| format!("{path} does not set config_path");
    let config = observed.config.as_str();
    match observed.owner() {
        Some(HostOwner::Nodeadm) => {
            Err(OWNER_NODEADM.refusal(format!("{config} is written by nodeadm")))
        }
        Some(HostOwner::K0s) if !k0s_merges(observed) => {
            Err(OWNER_K0S_EDITED.refusal(missing(config)))
        }
        Some(HostOwner::K0s) => Err(OWNER_K0S.refusal(missing(K0S_DROP_INS))),
        Some(HostOwner::MicroK8s) => Err(OWNER_MICROK8S.refusal(missing(config))),
        _ => Ok(()),
    }
}

/// Returns the main file of containerd: the one that its process was started with, else that of
/// k0s or `MicroK8s`; `None` if there is no sign of either. Both bring their own kubelet, so
/// another containerd on the host runs no pods.
pub(crate) fn config(observed: &ObservedHost) -> Option<HostPath> {
    let exists = |path: &str| observed.files.exists(&path.into());
    let named = option(&observed.arguments, &["--config", "-config", "-c"]);
    if let Some(named) = named.map(HostPath::new) {
        let is_snap = named.is_below(&"/var/snap/microk8s".into());
        return Some(if is_snap { MICROK8S.into() } else { named });
    }
    let main = ContainerRuntime::Containerd.config();
    if !observed.arguments.is_empty() {
        return Some(main);
    }
    let microk8s = exists(MICROK8S) || exists(MICROK8S_CERTS_D);
    if exists(K0S) || (exists("/etc/k0s") && !exists(main.as_str()) && !microk8s) {
        Some(K0S.into())
    } else if microk8s {
        Some(MICROK8S.into())
    } else {
        None
    }
}

/// Returns true if k0s merges the files of its directory into the main file of its containerd.
/// Without the mark an administrator has taken that file over.
pub(crate) fn k0s_merges(observed: &ObservedHost) -> bool {
    let text = observed.files.text(&observed.config);
    observed.config.as_str() == K0S && text.is_none_or(|text| text.contains(K0S_MARK))
}

/// Returns the directory of hosts of a containerd whose main file does not show it.
pub(crate) fn certs_d(observed: &ObservedHost) -> Option<HostPath> {
    let is_shown = observed.config.as_str() != MICROK8S || observed.files.exists(&MICROK8S.into());
    let certs_d = HostPath::new(MICROK8S_CERTS_D);
    (!is_shown && observed.files.exists(&certs_d)).then_some(certs_d)
}

/// Returns the absolute path that is the value of the last of the options `names` in a command
/// line.
pub(crate) fn option<'w>(words: &'w [String], names: &[&str]) -> Option<&'w str> {
    value(words, names).filter(|value| value.starts_with('/'))
}

/// Returns the value of the last of the options `names`, whatever it is.
pub(crate) fn value<'w>(words: &'w [String], names: &[&str]) -> Option<&'w str> {
    let mut found = words.iter().enumerate().filter_map(|(at, word)| {
        if let Some((name, value)) = word.split_once('=') {
            return names.contains(&name).then_some(value);
        }
        words.get(at + 1).filter(|_| names.contains(&word.as_str())).map(String::as_str)
    });
    found.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_a_command_line_is_found() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            option(&words, &["--config", "-c"]).map(str::to_owned)
        };
        for line in [
            "containerd --config /etc/c.toml",
            "containerd -c=/etc/c.toml",
            "x --config=/etc/c.toml a",
        ] {
            assert_eq!(of(line).as_deref(), Some("/etc/c.toml"), "{line}");
        }
        for line in ["containerd", "containerd -c", "containerd -c relative.toml"] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
