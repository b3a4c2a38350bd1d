//! Short names: references without a registry.
//!
//! containerd and Docker take them for Docker Hub's, and so do the rules. CRI-O and podman look
//! them up: first among aliases, then in `unqualified-search-registries`.
//!
//! Source: containers-registries.conf(5); the aliases that distributions install,
//! `shortnames.conf` of github.com/containers/shortnames.

/// Short names that the installed aliases send to another registry than Docker Hub, sorted.
const ALIASES: [(&str, &str); 44] = [
    ("buildah", "quay.io/buildah/stable"),
    ("centos", "quay.io/centos/centos"),
    ("fedora", "registry.fedoraproject.org/fedora"),
    ("fedora-minimal", "registry.fedoraproject.org/fedora-minimal"),
    ("leap", "registry.opensuse.org/opensuse/leap"),
    ("leap-dnf", "registry.opensuse.org/opensuse/leap-dnf"),
    ("leap-microdnf", "registry.opensuse.org/opensuse/leap-microdnf"),
    ("opensuse/busybox", "registry.opensuse.org/opensuse/busybox"),
    ("opensuse/leap", "registry.opensuse.org/opensuse/leap"),
    ("opensuse/tumbleweed", "registry.opensuse.org/opensuse/tumbleweed"),
    ("opensuse/tumbleweed-dnf", "registry.opensuse.org/opensuse/tumbleweed-dnf"),
    ("opensuse/tumbleweed-microdnf", "registry.opensuse.org/opensuse/tumbleweed-microdnf"),
    ("oraclelinux", "container-registry.oracle.com/os/oraclelinux"),
    ("podman", "quay.io/podman/stable"),
    ("rhel", "registry.access.redhat.com/rhel"),
    ("rhel6", "registry.access.redhat.com/rhel6"),
    ("rhel7", "registry.access.redhat.com/rhel7"),
    ("skopeo", "quay.io/skopeo/stable"),
    ("sle15", "registry.suse.com/suse/sle15"),
    ("sles12sp3", "registry.suse.com/suse/sles12sp3"),
    ("sles12sp4", "registry.suse.com/suse/sles12sp4"),
    ("sles12sp5", "registry.suse.com/suse/sles12sp5"),
    ("suse/sle15", "registry.suse.com/suse/sle15"),
    ("suse/sles12sp3", "registry.suse.com/suse/sles12sp3"),
    ("suse/sles12sp4", "registry.suse.com/suse/sles12sp4"),
    ("suse/sles12sp5", "registry.suse.com/suse/sles12sp5"),
    ("tumbleweed", "registry.opensuse.org/opensuse/tumbleweed"),
    ("tumbleweed-dnf", "registry.opensuse.org/opensuse/tumbleweed-dnf"),
    ("tumbleweed-microdnf", "registry.opensuse.org/opensuse/tumbleweed-microdnf"),
    ("tw-busybox", "registry.opensuse.org/opensuse/busybox"),
    ("ubi7", "registry.access.redhat.com/ubi7"),
    ("ubi7-init", "registry.access.redhat.com/ubi7-init"),
    ("ubi7-minimal", "registry.access.redhat.com/ubi7-minimal"),
    ("ubi8", "registry.access.redhat.com/ubi8"),
    ("ubi8-init", "registry.access.redhat.com/ubi8-init"),
    ("ubi8-micro", "registry.access.redhat.com/ubi8-micro"),
    ("ubi8-minimal", "registry.access.redhat.com/ubi8-minimal"),
    ("ubi8/ubi", "registry.access.redhat.com/ubi8/ubi"),
    ("ubi8/ubi-init", "registry.access.redhat.com/ubi8-init"),
    ("ubi8/ubi-micro", "registry.access.redhat.com/ubi8-micro"),
    ("ubi8/ubi-minimal", "registry.access.redhat.com/ubi8-minimal"),
    ("ubi9", "registry.access.redhat.com/ubi9"),
    ("ubi9-minimal", "registry.access.redhat.com/ubi9-minimal"),
    ("ubi9/ubi", "registry.access.redhat.com/ubi9/ubi"),
];

/// Returns the repository that CRI-O and podman take for the short name `name`, without tag and
/// digest, by the aliases that distributions install. Returns `None` if that is Docker Hub's,
/// or depends on `unqualified-search-registries`.
pub fn short_name_alias(name: &str) -> Option<&'static str> {
    let found = ALIASES.binary_search_by(|(alias, _)| (*alias).cmp(name)).ok()?;
    Some(ALIASES[found].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_sorted_and_found() {
        assert!(ALIASES.is_sorted_by_key(|(alias, _)| *alias));
        assert!(ALIASES.iter().all(|(alias, _)| short_name_alias(alias).is_some()));
        assert_eq!(short_name_alias("fedora"), Some("registry.fedoraproject.org/fedora"));
        assert_eq!(short_name_alias("nginx"), None);
    }
}
