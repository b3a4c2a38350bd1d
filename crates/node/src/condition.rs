//! Conditions of hosts, and the plans for them: the table of docs/nodes.md.

use std::fmt;

use ConditionAction::{Keep, Migrate, Refuse};

/// A condition of a host.
#[derive(Debug, PartialEq, Eq)]
pub struct HostCondition {
    /// The word for programs.
    pub name: &'static str,
    /// The condition in words.
    pub found: &'static str,
    /// The plan.
    pub action: ConditionAction,
    /// The consequence in words; where the plan is refused, the remedy.
    pub advice: &'static str,
}

/// The plan for a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionAction {
    /// The file is edited, and [`crate::restore()`] restores it.
    Migrate,
    /// The file stays.
    Keep,
    /// The whole plan is refused.
    Refuse,
}

macro_rules! cases {
    ($($constant:ident: $name:literal, $found:literal, $action:ident, $advice:literal;)*) => {
        $(pub(crate) const $constant: HostCondition =
            HostCondition { name: $name, found: $found, action: $action, advice: $advice };)*

        /// All cases.
        pub const CASES: &[&HostCondition] = &[$(&$constant),*];
    };
}

cases! {
    NO_CONFIG: "no-config", "no config.toml", Migrate,
        "one is made that sets `config_path`, and nothing else";
    CONFIG_PATH_UNSET: "config-path-unset", "`config_path` is not set, or empty", Migrate,
        "set in the table of the file's version, with a comment that names the directory";
    CONFIG_PATH_SET: "config-path-set", "`config_path` is one directory, in whatever file", Keep,
        "files go below that directory; nothing is restarted, unless the containerd that runs says it was started without it";
    COLON_LIST: "colon-list", "`config_path` is a list `a:b`, which containerd 2 takes for one name", Migrate,
        "the first directory becomes the only one";
    COLON_LIST_LOCAL: "colon-list-local", "such a list on a containerd that pulls by itself and splits it: before 2.1, or with a setting such as `discard_unpacked_layers`", Keep,
        "files go to the first directory; containerd searches all of them";
    COLON_LIST_IN_USE: "colon-list-in-use", "a list that has to be edited, or a default rule, and hosts below more than the first directory", Refuse,
        "move what is below the other directories to the first one";
    MIRRORS_TABLE: "mirrors-table", "a mirrors table in config.toml, which stops the CRI plugin beside `config_path`", Migrate,
        "taken out; hosts that nothing is declared for get a `hosts.toml` that says the same";
    MIRRORS_TABLE_ODD: "mirrors-table-odd", "a mirrors table with an endpoint that `hosts.toml` cannot express, or with another scheme for a target than declared", Refuse,
        "take that endpoint out of config.toml, or declare the host with its scheme";
    TLS_TABLE: "tls-table", "`configs.HOST.tls` in config.toml, which containerd 1 refuses beside `config_path`", Migrate,
        "taken out; its certificates go to every `hosts.toml` that leads to HOST";
    AUTH_TABLE: "auth-table", "`configs.HOST.auth` in config.toml", Keep,
        "it works beside `config_path` on every version";
    TOKENS_ALONE: "tokens-alone", "containerd before 2.1, and a registry that takes tokens alone", Migrate,
        "the credentials go to `configs.HOST.auth` of config.toml instead of a header";
    DROP_IN_HOLDS: "drop-in-holds", "an imported file holds the plugin's table or setting, so that an edit of config.toml would have no effect", Refuse,
        "set `config_path` to one directory in that file, and take mirrors and tls out of it";
    DROP_IN_VERSION: "drop-in-version", "an imported file of another configuration version, which loses settings or stops containerd", Refuse,
        "write all files in one version";
    VERSION_ONE: "version-one", "no `version` line, and nothing that version 2 reads differently", Migrate,
        "`version = 2` is added";
    VERSION_ONE_PLUGINS: "version-one-plugins", "no `version` line, or version 1, and settings of plugins", Refuse,
        "write it in version 2 (containerd 2 has `containerd config migrate`)";
    CONFIG_VERSION_UNKNOWN: "config-version-unknown", "a configuration version that is not known, or not to this containerd", Refuse,
        "use a version that containerd reads: 2 up to 1.7, 2 or 3 from 2.0 on, 2 to 4 from 2.3 on";
    RUNTIME_TOO_OLD: "runtime-too-old", "containerd before 1.6, which has no `override_path`", Refuse,
        "update containerd";
    RUNTIME_UNKNOWN: "runtime-unknown", "a version that nobody can tell, and config.toml to be edited", Refuse,
        "start the runtime, name its version with `--runtime-version`, or set `config_path` to one directory by hand";
    RUNTIME_NEW: "runtime-new", "containerd 2.5 or later", Keep,
        "handled as 2.4 is";
    CRI_DISABLED: "cri-disabled", "`disabled_plugins` names the CRI plugin", Refuse,
        "nothing on this host pulls through it: name the runtime that does";
    UNREADABLE: "unreadable", "a file that is no TOML, or no text", Refuse,
        "repair it: containerd does not start with it either";
    LINK: "link", "a file to be edited is a symbolic link", Refuse,
        "somebody else makes that file: have them make it so";
    NO_FILE: "no-file", "something that is no regular file stands where a file has to go", Refuse,
        "move it away";
    CANNOT_EDIT: "cannot-edit", "a table to be edited is something else", Refuse,
        "write it as a table";
    FOREIGN_HOSTS: "foreign-hosts", "a `hosts.toml` of another tool for a source that is declared", Migrate,
        "its mirrors are replaced; its certificates, `skip_verify`, headers and `server` are kept for the same hosts; `restore` brings the file back";
    FOREIGN_HOSTS_ODD: "foreign-hosts-odd", "such a file with several settings for one host, another scheme than declared, or a certificate that is missing", Refuse,
        "correct that file, or remove it and declare CA_CERT, INSECURE, USERNAME and PASSWORD";
    FOREIGN_TARGET: "foreign-target", "a `hosts.toml` of another tool for a target that is declared without CA and INSECURE", Keep,
        "no file of image-swap is put beside it; its certificates, `skip_verify` and headers are used for the target as a mirror too";
    FOREIGN_ELSEWHERE: "foreign-elsewhere", "files of somebody else for hosts that nothing is declared for", Keep,
        "they are not touched";
    DOCKER_LAYOUT: "docker-layout", "certificates without `hosts.toml` for a target that is declared without CA and INSECURE", Keep,
        "no file of image-swap is put beside them; they are used for the target as a mirror too";
    OTHER_SPELLING: "other-spelling", "a directory `HOST_PORT_`, which containerd prefers to ours", Refuse,
        "move it away";
    SPEGEL: "spegel", "a directory `_backup`, by which spegel marks what it took over", Refuse,
        "remove spegel from the host: it rewrites this directory";
    CHANGED: "changed", "a file of ours that somebody changed", Migrate,
        "written again; of config.toml only what is ours";
    MIXED_FORMS: "mixed-forms", "the host was told in another form, or another runtime was", Refuse,
        "run `image-swap node restore` first";
    LEDGER: "ledger", "the ledger of what we wrote cannot be read", Refuse,
        "use the image-swap that wrote it, or move it away";
    MIRRORS_BESIDE_CONFIG_PATH: "mirrors-beside-config-path", "forms mirrors and page, and `config_path` is set", Refuse,
        "use the form certs-d: the CRI plugin does not start with both";
    MIRRORS_KILL: "mirrors-kill", "forms mirrors and page on containerd 2.2.0, 2.2.1, or 2.7 and later", Refuse,
        "use the form certs-d: the CRI plugin of 2.2.0 and 2.2.1 does not start with the table, and 2.7 is announced to remove it";
    MIRRORS_UNKNOWN: "mirrors-unknown", "forms mirrors and page on a version that nobody can tell", Refuse,
        "use the form certs-d";
    MIRRORS_FOREIGN: "mirrors-foreign", "forms mirrors and page, and the table has entries of somebody else", Migrate,
        "entries for declared hosts are replaced, the others stay";
    MIRRORS_TRUST: "mirrors-trust", "forms mirrors and page, and something declared that the table does not say: CA_CERT, on containerd 2 INSECURE, and by the page's lines neither that nor credentials", Keep,
        "use the form certs-d, which says it all, or have the host trust the CA";
    MIRRORS_NEVER: "mirrors-never", "forms mirrors and page, and fallback is never", Refuse,
        "use the form certs-d: containerd asks the registry after the mirrors of the table";
    REGISTRIES_ONE: "registries-one", "CRI-O or podman, and a registries.conf of version 1", Refuse,
        "write it in version 2: both in one are an error, and nothing is pulled";
    REGISTRIES_LATER: "registries-later", "CRI-O or podman, and a later drop-in that replaces a declared prefix", Refuse,
        "take the prefix out of that file, or rename it so that it sorts before `50-image-swap.conf`";
    REGISTRIES_EARLIER: "registries-earlier", "CRI-O or podman, and an earlier file with a declared prefix, or with a shorter one", Keep,
        "its mirrors of that prefix are replaced; its `location`, `insecure` and `blocked` are kept";
    REGISTRIES_TARGET: "registries-target", "CRI-O or podman, and another file with a `[[registry]]` for a target", Keep,
        "it stays in force for the target; its `insecure` is used for the target as a mirror too";
    REGISTRIES_BLOCKED: "registries-blocked", "CRI-O or podman, and a target that another file blocks", Refuse,
        "take `blocked` out of that file, or declare another target";
    REGISTRIES_LONGER: "registries-longer", "CRI-O or podman, and another file with a longer prefix or a wildcard within a declared prefix", Keep,
        "that rule wins for its images, which do not come from the mirror; take it out if they should";
    REGISTRIES_LONGER_NEVER: "registries-longer-never", "the same, and fallback is never", Refuse,
        "take that rule out: its images would come from elsewhere";
    REGISTRIES_INVALID: "registries-invalid", "CRI-O or podman, and a registries.conf or drop-in that they refuse", Refuse,
        "correct that file: nothing is pulled as long as it is there";
    CRIO_AUTH: "crio-auth", "CRI-O with a `global_auth_file` of somebody else, and credentials are declared", Refuse,
        "log in there for the declared registry, and declare it without credentials for nodes";
    REGISTRIES_YAML: "registries-yaml", "k3s or RKE2, and a registries.yaml of another tool", Refuse,
        "add its mirrors, credentials and CA to the declaration, and move the file away; or merge into it by hand what `image-swap render k3s` prints: k3s and RKE2 read one such file";
    REGISTRIES_YAML_EMPTY: "registries-yaml-empty", "k3s or RKE2, and a registries.yaml that is empty, or names registries without mirrors for the embedded registry", Migrate,
        "the names are kept beside the mirrors; `restore` brings the file back";
    PRIVATE_REGISTRY: "private-registry", "k3s or RKE2, and `private-registry` with several values or a relative path", Refuse,
        "set it to one absolute path in config.yaml or in the unit";
    RANCHER_NEVER: "rancher-never", "k3s or RKE2, and fallback is never", Refuse,
        "set `disable-default-registry-endpoint: true` in config.yaml of every server and agent first";
    DAEMON_JSON: "daemon-json", "docker, and a daemon.json of somebody else", Migrate,
        "its lists get our entries in front of theirs, and all else stays; `restore` takes them out again";
    DAEMON_JSON_ODD: "daemon-json-odd", "docker, and a daemon.json that dockerd of its version does not read, or that has something else in place of those lists", Refuse,
        "repair it: dockerd does not start with it either";
    DOCKER_FLAGS: "docker-flags", "docker, and a flag of dockerd for one of those lists", Refuse,
        "take the flag out: dockerd does not start with a list in both places";
    DOCKER_NEVER: "docker-never", "docker, and fallback is never", Refuse,
        "use another runtime: dockerd asks Docker Hub after its mirrors";
    OWNER_OPENSHIFT: "owner-openshift", "OpenShift, whose Machine Config Operator writes the host", Refuse,
        "apply what `image-swap render openshift` prints";
    OWNER_NODEADM: "owner-nodeadm", "nodeadm of Amazon EKS, and config.toml to be edited", Refuse,
        "set `config_path` in `spec.containerd.config` of the NodeConfig; files below that directory are then written";
    OWNER_BOTTLEROCKET: "owner-bottlerocket", "Bottlerocket", Refuse,
        "use its API, settings.container-registry.mirrors; it has no paths: mirror at the root of a registry";
    OWNER_TALOS: "owner-talos", "Talos", Refuse,
        "apply what `image-swap render talos` prints with `talosctl patch machineconfig`";
    OWNER_FLATCAR: "owner-flatcar", "Flatcar, whose configuration is part of its image", Refuse,
        "put what `image-swap render containerd` prints into the Ignition configuration";
    OWNER_COS: "owner-cos", "Container-Optimized OS, which forgets /etc when it starts", Refuse,
        "use the node pool's `containerdConfig.registryHosts`";
    OWNER_NIXOS: "owner-nixos", "NixOS, whose files are links into its store", Refuse,
        "use `virtualisation.containerd.settings` and `environment.etc`";
    OWNER_K0S_EDITED: "owner-k0s-edited", "k0s, and a `/etc/k0s/containerd.toml` without `k0s_managed=true` and without `config_path`", Refuse,
        "add `config_path = \"/etc/containerd/certs.d\"` to its table `[plugins.\"io.containerd.grpc.v1.cri\".registry]` (from version 3 on `[plugins.\"io.containerd.cri.v1.images\".registry]`), and restart k0s: without that mark k0s reads no file of `/etc/k0s/containerd.d`";
    OWNER_K0S: "owner-k0s", "k0s, and no `config_path` in `/etc/k0s/containerd.d`", Refuse,
        "write `/etc/k0s/containerd.d/image-swap.toml` with the version of `/etc/k0s/containerd.toml`, such as `version = 2`, and in the table `[plugins.\"io.containerd.grpc.v1.cri\".registry]` (from version 3 on `[plugins.\"io.containerd.cri.v1.images\".registry]`) the line `config_path = \"/etc/containerd/certs.d\"`; k0s restarts its containerd, and image-swap then writes files below that directory";
    OWNER_MICROK8S: "owner-microk8s", "MicroK8s, and no `config_path` in its template of config.toml", Refuse,
        "set `config_path = \"${SNAP_DATA}/args/certs.d\"` in the registry table of `/var/snap/microk8s/current/args/containerd-template.toml`, and run `microk8s stop` and `microk8s start`; image-swap then writes files below that directory, which are read at every pull";
    OWNER_SNAP_DOCKER: "owner-snap-docker", "docker of a snap, which reads a daemon.json of its own", Refuse,
        "merge what `image-swap render docker` prints into `/var/snap/docker/current/config/daemon.json`, and run `snap restart docker`";
    NO_RULE: "no-rule", "rules none of which the runtime can express", Refuse,
        "use a runtime or rules that work together: `image-swap check --format FORMAT` lists why; `image-swap node restore` takes earlier rules out";
    OWNER_GENERATED: "owner-generated", "config.toml that k3s or RKE2 generate", Refuse,
        "use `--runtime k3s` or `--runtime rke2`";
}

impl fmt::Display for ConditionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Migrate => "migrate",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
        })
    }
}

/// A refused plan: the condition, its place, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {remedy}")]
pub struct PlanRefusal {
    /// A word for programs, such as `colon-list-in-use`: the row of docs/nodes.md.
    pub case: &'static str,
    /// The expected and the found value, and the place.
    pub found: String,
    /// The remedy.
    pub remedy: String,
}

impl HostCondition {
    /// Returns the refusal of a plan for this condition; `found` names the place and the value.
    pub(crate) fn refusal(&self, found: impl Into<String>) -> PlanRefusal {
        PlanRefusal { case: self.name, found: found.into(), remedy: self.advice.to_owned() }
    }
}
