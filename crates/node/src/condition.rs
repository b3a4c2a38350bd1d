//! Conditions of hosts, and the plans for them: the table of docs/nodes.md.

use std::fmt;

use ConditionAction::{Keep, Migrate, Refuse};

/// A condition of a host.
#[derive(Debug, PartialEq, Eq)]
pub struct HostCondition {
    /// The name of the condition in JSON.
    pub name: &'static str,
    /// A description of the condition for people.
    pub found: &'static str,
    /// The decision of a plan on a host with the condition.
    pub action: ConditionAction,
    /// The consequence in words, or the remedy if the plan is refused.
    pub advice: &'static str,
}

/// The plan for a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionAction {
    /// The file is edited, and [`crate::restore()`] restores it.
    Migrate,
    /// The plan keeps the file.
    Keep,
    /// The whole plan is refused.
    Refuse,
}

macro_rules! cases {
    ($($constant:ident: $name:literal, $found:literal, $action:ident, $advice:literal;)*) => {
        $(pub(crate) const $constant: HostCondition =
            HostCondition { name: $name, found: $found, action: $action, advice: $advice };)*

        /// All conditions, each of which is a row of docs/nodes.md.
        pub const CASES: &[&HostCondition] = &[$(&$constant),*];
    };
}

cases! {
    NO_CONFIG: "no-config", "no config.toml", Migrate,
        "a file is made that sets `config_path`, and nothing else";
    CONFIG_PATH_UNSET: "config-path-unset", "`config_path` is not set, or empty", Migrate,
        "set in the table of the file's version, with a comment that names the directory";
    CONFIG_PATH_SET: "config-path-set", "`config_path` is one directory, in any file", Keep,
        "files go below that directory; containerd is restarted only if it reports that it was started without `config_path`";
    COLON_LIST: "colon-list", "`config_path` is a list `a:b`, which containerd 2 reads as one name", Migrate,
        "the first directory becomes the only one";
    COLON_LIST_LOCAL: "colon-list-local", "such a list on a containerd that pulls without its transfer service and splits the list: before 2.1, or with a setting such as `discard_unpacked_layers`", Keep,
        "files go to the first directory; containerd searches all of them";
    COLON_LIST_IN_USE: "colon-list-in-use", "such a list that must be edited, or a default rule, and hosts below more than the first directory", Refuse,
        "move the hosts below the other directories to the first one";
    MIRRORS_TABLE: "mirrors-table", "a mirrors table in config.toml, which stops the CRI plugin beside `config_path`", Migrate,
        "the table is removed; each host in it without a declared mirror gets an equivalent `hosts.toml`";
    MIRRORS_TABLE_ODD: "mirrors-table-odd", "a mirrors table with an endpoint that `hosts.toml` cannot express, or with another scheme for a target than declared", Refuse,
        "remove that endpoint from config.toml, or declare the host with its scheme";
    TLS_TABLE: "tls-table", "`configs.HOST.tls` in config.toml, which containerd 1 refuses beside `config_path`", Migrate,
        "the table is removed; its certificates go to every `hosts.toml` that leads to HOST";
    AUTH_TABLE: "auth-table", "`configs.HOST.auth` in config.toml", Keep,
        "it works beside `config_path` on every version";
    TOKENS_ALONE: "tokens-alone", "containerd before 2.1, and a registry that accepts only tokens", Migrate,
        "the credentials go to `configs.HOST.auth` of config.toml instead of a header";
    DROP_IN_HOLDS: "drop-in-holds", "an imported file holds the plugin's table or setting, so that an edit of config.toml would have no effect", Refuse,
        "set `config_path` to one directory in that file, and remove mirrors and tls from it";
    DROP_IN_VERSION: "drop-in-version", "an imported file has another configuration version: settings are lost, or containerd does not start", Refuse,
        "write all files in the same version";
    VERSION_ONE: "version-one", "no `version` line, and nothing that version 2 reads differently", Migrate,
        "`version = 2` is added";
    VERSION_ONE_PLUGINS: "version-one-plugins", "no `version` line, or version 1, and settings of plugins", Refuse,
        "convert the file to version 2 (containerd 2 has `containerd config migrate`)";
    CONFIG_VERSION_UNKNOWN: "config-version-unknown", "a configuration version that is unknown, or that this containerd does not read", Refuse,
        "use a version that containerd reads: 2 up to 1.7, 2 or 3 from 2.0 on, 2 to 4 from 2.3 on";
    RUNTIME_TOO_OLD: "runtime-too-old", "containerd before 1.6, which has no `override_path`", Refuse,
        "update containerd";
    RUNTIME_UNKNOWN: "runtime-unknown", "config.toml must be edited, and the version of containerd is unknown", Refuse,
        "start the runtime, name its version with `--runtime-version`, or set `config_path` to one directory by hand";
    RUNTIME_NEW: "runtime-new", "containerd 2.5 or later", Keep,
        "handled as 2.4 is";
    CRI_DISABLED: "cri-disabled", "`disabled_plugins` names the CRI plugin", Refuse,
        "Kubernetes does not pull through this containerd: name the runtime in use with `--runtime`";
    UNREADABLE: "unreadable", "a file that is not TOML, or not UTF-8", Refuse,
        "repair the file: the runtime does not start with it either";
    LINK: "link", "a file that must be edited is a symbolic link", Refuse,
        "the file is managed by another tool: change it there";
    NO_FILE: "no-file", "something other than a regular file is at the path of a file", Refuse,
        "move it away";
    CANNOT_EDIT: "cannot-edit", "a key that must be a table is something else", Refuse,
        "write it as a table";
    FOREIGN_HOSTS: "foreign-hosts", "a `hosts.toml` of another tool for a declared source", Migrate,
        "its mirrors are replaced; its certificates, `skip_verify`, headers and `server` are kept for the same hosts; `restore` restores the file";
    FOREIGN_HOSTS_ODD: "foreign-hosts-odd", "such a file with different settings for one host, another scheme than declared, or a missing certificate", Refuse,
        "correct that file, or remove it and declare CA_CERT, INSECURE, USERNAME and PASSWORD";
    FOREIGN_TARGET: "foreign-target", "a `hosts.toml` of another tool for a target that is declared without CA and INSECURE", Keep,
        "image-swap writes no file beside it; its certificates, `skip_verify` and headers are used for the target as a mirror too";
    FOREIGN_ELSEWHERE: "foreign-elsewhere", "files of another tool for hosts that are not declared", Keep,
        "they are not touched";
    DOCKER_LAYOUT: "docker-layout", "certificates without `hosts.toml` for a target that is declared without CA and INSECURE", Keep,
        "image-swap writes no file beside them; they are used for the target as a mirror too";
    OTHER_SPELLING: "other-spelling", "a directory `HOST_PORT_`, which containerd prefers to `HOST:PORT`", Refuse,
        "move it away";
    SPEGEL: "spegel", "a directory `_backup`, which shows that spegel manages this directory", Refuse,
        "remove spegel from the host: it rewrites this directory";
    CHANGED: "changed", "another tool changed a file that image-swap wrote", Migrate,
        "the file is written again; in config.toml only the settings of image-swap";
    MIXED_FORMS: "mixed-forms", "image-swap configured the host in another form, or for another runtime", Refuse,
        "run `image-swap node restore` first";
    LEDGER: "ledger", "the ledger of the files that image-swap wrote cannot be read", Refuse,
        "use the version of image-swap that wrote it, or move it away";
    MIRRORS_BESIDE_CONFIG_PATH: "mirrors-beside-config-path", "forms mirrors and palette, and `config_path` is set", Refuse,
        "use the form certs-d: the CRI plugin does not start with both";
    MIRRORS_KILL: "mirrors-kill", "forms mirrors and palette on containerd 2.2.0, 2.2.1, or 2.7 and later", Refuse,
        "use the form certs-d: the CRI plugin of 2.2.0 and 2.2.1 does not start with the table, and containerd has announced to remove it in 2.7";
    MIRRORS_UNKNOWN: "mirrors-unknown", "forms mirrors and palette, and the version of containerd is unknown", Refuse,
        "use the form certs-d";
    MIRRORS_FOREIGN: "mirrors-foreign", "forms mirrors and palette, and the table has entries of another tool", Migrate,
        "entries for declared hosts are replaced, the others stay";
    MIRRORS_TRUST: "mirrors-trust", "forms mirrors and palette, and a declared key that the table cannot express: CA_CERT, INSECURE on containerd 2, and in the form palette also INSECURE and credentials", Keep,
        "use the form certs-d, which expresses all keys, or make the host trust the CA";
    MIRRORS_NEVER: "mirrors-never", "forms mirrors and palette, and fallback is never", Refuse,
        "use the form certs-d: containerd requests the registry itself after the mirrors of the table";
    REGISTRIES_ONE: "registries-one", "CRI-O or podman, and a registries.conf of version 1", Refuse,
        "convert it to version 2: with both versions every pull fails";
    REGISTRIES_LATER: "registries-later", "CRI-O or podman, and a later drop-in that replaces a declared prefix", Refuse,
        "remove the prefix from that file, or rename the file so that it sorts before `50-image-swap.conf`";
    REGISTRIES_EARLIER: "registries-earlier", "CRI-O or podman, and an earlier file with a declared prefix, or with a shorter one", Keep,
        "its mirrors of that prefix are replaced; its `location`, `insecure` and `blocked` are kept";
    REGISTRIES_TARGET: "registries-target", "CRI-O or podman, and another file with a `[[registry]]` for a target", Keep,
        "it stays in force for the target; its `insecure` is used for the target as a mirror too";
    REGISTRIES_BLOCKED: "registries-blocked", "CRI-O or podman, and a target that another file blocks", Refuse,
        "remove `blocked` from that file, or declare another target";
    REGISTRIES_LONGER: "registries-longer", "CRI-O or podman, and another file with a longer prefix or a wildcard within a declared prefix", Keep,
        "that rule wins for its images, which do not come from the mirror; remove it if they should";
    REGISTRIES_LONGER_NEVER: "registries-longer-never", "the same, and fallback is never", Refuse,
        "remove that rule: its images would not come from the mirror";
    REGISTRIES_INVALID: "registries-invalid", "CRI-O or podman, and an invalid registries.conf or drop-in", Refuse,
        "correct that file: every pull fails while it is there";
    CRIO_AUTH: "crio-auth", "CRI-O with a `global_auth_file` of another tool, and declared credentials", Refuse,
        "add the credentials of the declared registry to that file, and declare no credentials for this host";
    REGISTRIES_YAML: "registries-yaml", "k3s or RKE2, and a registries.yaml of another tool", Refuse,
        "add its mirrors, credentials and CA to the declaration, and move the file away; or merge the output of `image-swap render k3s` into it by hand: k3s and RKE2 read one such file";
    REGISTRIES_YAML_EMPTY: "registries-yaml-empty", "k3s or RKE2, and a registries.yaml that is empty, or names registries without mirrors for the embedded registry", Migrate,
        "the names are kept beside the mirrors; `restore` restores the file";
    PRIVATE_REGISTRY: "private-registry", "k3s or RKE2, and `private-registry` with several values or a relative path", Refuse,
        "set it to one absolute path in config.yaml or in the unit";
    RANCHER_NEVER: "rancher-never", "k3s or RKE2, and fallback is never", Refuse,
        "set `disable-default-registry-endpoint: true` in config.yaml of every server and agent first";
    DAEMON_JSON: "daemon-json", "docker, and a daemon.json of another tool", Migrate,
        "the declared entries come first in its lists, and all else stays; `restore` removes them";
    DAEMON_JSON_ODD: "daemon-json-odd", "docker, and a daemon.json that this version of dockerd does not read, or whose lists are something else", Refuse,
        "repair the file: dockerd does not start with it either";
    DOCKER_FLAGS: "docker-flags", "docker, and a flag of dockerd for one of those lists", Refuse,
        "remove the flag: dockerd does not start if a list is set in both places";
    DOCKER_NEVER: "docker-never", "docker, and fallback is never", Refuse,
        "use another runtime: dockerd requests Docker Hub after its mirrors";
    OWNER_OPENSHIFT: "owner-openshift", "OpenShift, whose Machine Config Operator writes the files of the host", Refuse,
        "apply the output of `image-swap render openshift`";
    OWNER_NODEADM: "owner-nodeadm", "nodeadm of Amazon EKS, and config.toml must be edited", Refuse,
        "set `config_path` in `spec.containerd.config` of the NodeConfig; image-swap then writes files below that directory";
    OWNER_BOTTLEROCKET: "owner-bottlerocket", "Bottlerocket", Refuse,
        "use its API, settings.container-registry.mirrors; it has no paths: mirror at the root of a registry";
    OWNER_TALOS: "owner-talos", "Talos", Refuse,
        "apply the output of `image-swap render talos` with `talosctl patch machineconfig`";
    OWNER_FLATCAR: "owner-flatcar", "Flatcar, whose configuration is part of its image", Refuse,
        "put the output of `image-swap render containerd` into the Ignition configuration";
    OWNER_COS: "owner-cos", "Container-Optimized OS, which resets /etc when it starts", Refuse,
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
        "merge the output of `image-swap render docker` into `/var/snap/docker/current/config/daemon.json`, and run `snap restart docker`";
    NO_RULE: "no-rule", "the runtime can express none of the rules", Refuse,
        "use a runtime or rules that work together: `image-swap check --format FORMAT` lists the reasons; `image-swap node restore` removes earlier rules";
    OWNER_GENERATED: "owner-generated", "a config.toml that k3s or RKE2 generates", Refuse,
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
    /// The name of the condition in JSON and docs/nodes.md, such as `colon-list-in-use`.
    pub case: &'static str,
    /// The expected and the found value, and the place.
    pub found: String,
    /// The remedy for an administrator.
    pub remedy: String,
}

impl HostCondition {
    /// Returns the refusal of a plan for this condition; `found` names the place and the value.
    pub(crate) fn refusal(&self, found: impl Into<String>) -> PlanRefusal {
        PlanRefusal { case: self.name, found: found.into(), remedy: self.advice.to_owned() }
    }
}
