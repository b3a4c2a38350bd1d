//! Every row of the table in docs/nodes.md, on a host that is like it.

use std::collections::BTreeSet;

use image_swap_core::mirror::Fallback;
use image_swap_node::{
    CASES, ConditionAction, ConfigForm, ContainerRuntime, DesiredConfig, HostEntry, HostPlan,
    Ledger, PlanOutcome, RestartPolicy,
};

use crate::host::{CONFIG, Host, IMAGE_BUILDER, declare, desired};

const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\"";
const IMAGES: &str = "plugins.\"io.containerd.cri.v1.images\"";
const CERTS_D: &str = "/etc/containerd/certs.d";
const DROP_IN: &str = "/etc/containerd/conf.d/99-nvidia.toml";

/// A host, and its desired configuration.
struct Fixture {
    /// The name of the condition that applies.
    case: &'static str,
    host: Host,
    form: ConfigForm,
    fallback: Fallback,
    bearer_only: bool,
    rules: &'static str,
    more: &'static str,
}

/// Returns a host with this containerd and config.toml, to which `case` applies.
fn on(case: &'static str, version: &str, config: &str) -> Fixture {
    let host = Host::containerd(version).with(CONFIG, config);
    let (form, fallback) = (ConfigForm::CertsD, Fallback::Upstream);
    Fixture {
        case,
        host,
        form,
        fallback,
        bearer_only: false,
        rules: "docker.io::h.io/d,quay.io:8443::h.io/q",
        more: "",
    }
}

/// Returns the config.toml of an image with `lines` in the registry table.
fn registry(lines: &str) -> String {
    format!("{IMAGE_BUILDER}\n[{CRI}.registry]\n{lines}\n")
}

fn set(directory: &str) -> String {
    registry(&format!("config_path = \"{directory}\""))
}

impl Fixture {
    fn with(mut self, path: &str, text: &str) -> Self {
        self.host = self.host.with(path, text);
        self
    }

    fn form(mut self, form: ConfigForm) -> Self {
        self.form = form;
        self
    }
}

fn containerd() -> Vec<Fixture> {
    let mirrors = registry(&format!(
        "[{CRI}.registry.mirrors.\"gcr.io\"]\nendpoint = [\"http://m.io/v2/x\", \"k.io\"]"
    ));
    let tls = |host: &str| {
        registry(&format!(
            "[{CRI}.registry.configs.\"{host}\".tls]\nca_file = \"/ca\"\ninsecure_skip_verify = true"
        ))
    };
    let mut configured = Host::containerd("1.7.24").with(CONFIG, IMAGE_BUILDER);
    let declaration = declare("docker.io::h.io/d", "");
    configured.apply(&desired(&declaration));
    let hosts = "/etc/containerd/certs.d/docker.io/hosts.toml";
    let changed = [configured.text(hosts).unwrap(), "# another program\n"].concat();
    vec![
        Fixture { host: Host::containerd("2.1.9"), ..on("no-config", "2.1.9", "") },
        on("config-path-unset", "1.6.20", IMAGE_BUILDER),
        on(
            "config-path-unset",
            "2.3.4",
            &format!("version = 3\n[{IMAGES}.registry]\nconfig_path = \"\"\n"),
        ),
        // Version 4 ignores the old name of the plugin.
        on(
            "config-path-unset",
            "2.4.2",
            &format!("version = 4\n[{CRI}.registry]\nconfig_path = \"{CERTS_D}\"\n"),
        ),
        // A drop-in that no file imports is not read.
        on("config-path-unset", "2.4.2", "version = 3\n").with(
            DROP_IN,
            &format!("version = 3\n[{IMAGES}.registry]\nconfig_path = \"/etc/my\"\n"),
        ),
        on("config-path-set", "1.7.24", &set("/etc/my/certs.d")),
        on("config-path-set", "2.4.2", "version = 3\nimports = [\"conf.d/*.toml\"]\n").with(
            DROP_IN,
            &format!("version = 4\n[{IMAGES}.registry]\nconfig_path = \"/etc/my\"\n"),
        ),
        on("config-path-set", "1.7.24", "version = 2\nimports = [\"conf.d/*.toml\"]\n")
            .with(DROP_IN, &format!("[{CRI}.registry]\nconfig_path = \"/etc/my\"\n")),
        on("colon-list", "2.1.9", &set("/etc/containerd/certs.d:/etc/docker/certs.d")),
        on("colon-list-local", "1.7.24", &set("/etc/containerd/certs.d:/etc/docker/certs.d"))
            .with("/etc/docker/certs.d/k.io/ca.crt", "their CA"),
        on(
            "colon-list-local",
            "2.1.9",
            &format!(
                "{}\n[{CRI}.containerd]\ndiscard_unpacked_layers = true\n",
                set("/etc/containerd/certs.d:/etc/docker/certs.d")
            ),
        )
        .with("/usr/bin/nodeadm", ""),
        on("colon-list-in-use", "2.1.9", &set("/etc/containerd/certs.d:/etc/docker/certs.d"))
            .with("/etc/docker/certs.d/k.io/ca.crt", "their CA"),
        on("mirrors-table", "1.7.24", &mirrors),
        on(
            "mirrors-table-odd",
            "1.7.24",
            &registry(&format!("[{CRI}.registry.mirrors.\"gcr.io\"]\nendpoint = [\"ftp://m.io\"]")),
        ),
        on(
            "mirrors-table-odd",
            "1.7.24",
            &registry(&format!(
                "[{CRI}.registry.mirrors.\"docker.io\"]\nendpoint = [\"http://h.io/v2/d\"]"
            )),
        ),
        on("tls-table", "1.7.24", &tls("k.io")),
        on("tls-table", "1.7.24", &tls("h.io")),
        on(
            "auth-table",
            "1.7.24",
            &registry(&format!(
                "[{CRI}.registry.configs.\"k.io\".auth]\nusername = \"u\"\npassword = \"p\""
            )),
        ),
        Fixture { bearer_only: true, ..on("tokens-alone", "1.7.24", &set(CERTS_D)) },
        on("drop-in-holds", "1.7.24", IMAGE_BUILDER)
            .with(DROP_IN, &format!("version = 2\n[{CRI}.containerd]\n")),
        on("drop-in-holds", "2.1.9", IMAGE_BUILDER)
            .with(DROP_IN, &format!("version = 2\n[{CRI}.registry]\nconfig_path = \"/a:/b\"\n")),
        on("drop-in-version", "2.1.9", IMAGE_BUILDER).with(DROP_IN, "version = 3\n"),
        on("drop-in-version", "2.3.4", IMAGE_BUILDER).with(DROP_IN, "version = 3\n"),
        on("drop-in-version", "1.7.24", IMAGE_BUILDER).with(DROP_IN, "version = 1\n"),
        on("version-one", "1.7.24", "root = \"/var/lib/containerd\"\n"),
        on("version-one-plugins", "1.7.24", "[plugins.cri]\n"),
        // containerd 2.1 reads no plugin of version 2 here, 2.3 does.
        on("version-one-plugins", "2.1.9", &set(CERTS_D).replace("version = 2\n", "")),
        on("config-path-set", "2.4.2", &set(CERTS_D).replace("version = 2\n", "")),
        on("config-version-unknown", "2.4.2", "version = 5\n"),
        on("config-version-unknown", "2.1.9", "version = 4\n"),
        on("config-version-unknown", "1.7.24", "version = 3\n"),
        on("runtime-too-old", "1.5.9", IMAGE_BUILDER),
        on("runtime-unknown", "?", IMAGE_BUILDER),
        on("config-path-set", "?", &set(CERTS_D)),
        on("runtime-new", "2.5.0", &set(CERTS_D)),
        on(
            "cri-disabled",
            "1.7.24",
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
        ),
        on("unreadable", "1.7.24", "version = \n"),
        on("unreadable", "1.7.24", IMAGE_BUILDER).with(DROP_IN, "[x\n"),
        Fixture {
            host: Host::containerd("1.7.24")
                .with_entry(CONFIG, HostEntry::Link("/nix/x".to_owned(), None)),
            ..on("link", "1.7.24", "")
        },
        Fixture {
            host: Host::containerd("1.7.24")
                .with_entry(CONFIG, HostEntry::Other("a socket".to_owned())),
            ..on("no-file", "1.7.24", "")
        },
        on("cannot-edit", "1.7.24", "version = 2\nplugins = \"none\"\n"),
        on("foreign-hosts", "1.7.24", &set(CERTS_D)).with(hosts, "server = \"https://m.io\"\n"),
        on("foreign-hosts-odd", "1.7.24", &set(CERTS_D)).with(
            hosts,
            "[host.\"https://h.io/v2/a\"]\nskip_verify = true\n[host.\"https://h.io/v2/b\"]\ndial_timeout = \"1s\"\n",
        ),
        on("foreign-hosts-odd", "1.7.24", &set(CERTS_D))
            .with(hosts, "[host.\"http://h.io/v2/a\"]\n"),
        on("foreign-hosts-odd", "1.7.24", &set(CERTS_D))
            .with(hosts, "[host.\"https://h.io/v2/a\"]\nca = \"missing.crt\"\n"),
        on("foreign-target", "1.7.24", &set(CERTS_D))
            .with("/etc/containerd/certs.d/h.io/hosts.toml", "server = \"https://h.io\"\n"),
        on("foreign-elsewhere", "1.7.24", &set(CERTS_D))
            .with("/etc/containerd/certs.d/_default/hosts.toml", "# another program\n"),
        on("docker-layout", "1.7.24", &set(CERTS_D))
            .with("/etc/containerd/certs.d/h.io/company.crt", "their CA"),
        on("other-spelling", "1.7.24", &set(CERTS_D))
            .with("/etc/containerd/certs.d/quay.io_8443_/hosts.toml", "# another program\n"),
        on("spegel", "1.7.24", &set(CERTS_D))
            .with("/etc/containerd/certs.d/_backup/docker.io/hosts.toml", ""),
        Fixture { host: configured.clone().with(hosts, &changed), ..on("changed", "1.7.24", "") },
        Fixture { host: configured.clone(), ..on("mixed-forms", "1.7.24", "").form(ConfigForm::Palette) },
        on("ledger", "1.7.24", IMAGE_BUILDER).with(Ledger::path().as_str(), "{\"version\": 2}"),
        on("ledger", "1.7.24", IMAGE_BUILDER).with(Ledger::path().as_str(), "{\"version\": 1}"),
        on("mirrors-beside-config-path", "1.7.24", &set(CERTS_D)).form(ConfigForm::Palette),
        on("mirrors-kill", "2.2.1", IMAGE_BUILDER).form(ConfigForm::Mirrors),
        on("mirrors-kill", "2.7.0", IMAGE_BUILDER).form(ConfigForm::Palette),
        on("mirrors-unknown", "?", IMAGE_BUILDER).form(ConfigForm::Palette),
        on(
            "mirrors-foreign",
            "1.7.24",
            &registry(&format!("[{CRI}.registry.mirrors.\"docker.io\"]\nendpoint = [\"m.io\"]")),
        )
        .form(ConfigForm::Palette),
        Fixture {
            more: "INSECURE: \"true\"",
            ..on("mirrors-trust", "2.1.9", IMAGE_BUILDER).form(ConfigForm::Mirrors)
        },
        Fixture {
            fallback: Fallback::Never,
            ..on("mirrors-never", "1.7.24", IMAGE_BUILDER).form(ConfigForm::Mirrors)
        },
    ]
}

/// Returns a host with another runtime, to which `case` applies.
fn with(case: &'static str, runtime: ContainerRuntime) -> Fixture {
    Fixture { host: Host::of(runtime, "1.30.0"), ..on(case, "1.7.24", "") }
}

fn others() -> Vec<Fixture> {
    let system = |case, name: &str| {
        on(case, "1.7.24", IMAGE_BUILDER).with("/etc/os-release", &format!("NAME=x\nID={name}\n"))
    };
    let prefix = "[[registry]]\nprefix = \"docker.io\"\nlocation = \"m.io\"\n";
    let drop_in = "/etc/containers/registries.conf.d/99-theirs.conf";
    let longer = "[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"m.io/lib\"\n";
    let auth = "[crio.image]\nglobal_auth_file = \"/root/auth.json\"\n";
    let never = |fixture| Fixture { fallback: Fallback::Never, ..fixture };
    let mut generated = on("owner-generated", "1.7.24", "");
    generated.host.config = Some("/var/lib/rancher/k3s/agent/etc/containerd/config.toml");
    vec![
        with("registries-one", ContainerRuntime::Crio)
            .with("/etc/containers/registries.conf", "[registries.search]\nregistries = []\n"),
        with("registries-later", ContainerRuntime::Podman).with(drop_in, prefix),
        with("registries-earlier", ContainerRuntime::Podman).with("/etc/containers/registries.conf", prefix),
        with("registries-target", ContainerRuntime::Podman)
            .with(drop_in, "[[registry]]\nlocation = \"h.io\"\ninsecure = true\n"),
        with("registries-blocked", ContainerRuntime::Crio)
            .with(drop_in, "[[registry]]\nlocation = \"h.io\"\nblocked = true\n"),
        with("registries-longer", ContainerRuntime::Crio).with(drop_in, longer),
        with("registries-longer", ContainerRuntime::Podman)
            .with(drop_in, "[[registry]]\nprefix = \"*.io/library\"\nlocation = \"m.io\"\n"),
        never(with("registries-longer-never", ContainerRuntime::Crio).with(drop_in, longer)),
        with("registries-invalid", ContainerRuntime::Crio)
            .with("/etc/containers/registries.conf", "[[registry]]\nlocation = \"https://m.io\"\n"),
        with("crio-auth", ContainerRuntime::Crio).with("/etc/crio/crio.conf", auth),
        with("registries-yaml", ContainerRuntime::K3s)
            .with("/etc/rancher/k3s/registries.yaml", "mirrors:\n  docker.io:\n    endpoint: [m.io]\n"),
        with("registries-yaml-empty", ContainerRuntime::K3s)
            .with("/etc/rancher/k3s/registries.yaml", "# mirrors:\n"),
        with("registries-yaml-empty", ContainerRuntime::Rke2)
            .with("/etc/rancher/rke2/registries.yaml", "mirrors:\n  \"*\":\n"),
        with("private-registry", ContainerRuntime::K3s)
            .with("/etc/rancher/k3s/config.yaml", "private-registry: registries.yaml\n"),
        never(with("rancher-never", ContainerRuntime::Rke2)),
        Fixture { rules: "docker.io::h.io", ..with("daemon-json", ContainerRuntime::Docker) }
            .with("/etc/docker/daemon.json", "{}\n"),
        Fixture { rules: "docker.io::h.io", ..with("daemon-json-odd", ContainerRuntime::Docker) }
            .with("/etc/docker/daemon.json", "{\"registry-mirrors\": \"https://m.io\"}"),
        Fixture { rules: "docker.io::h.io", ..with("docker-flags", ContainerRuntime::Docker) }.with(
            "/etc/systemd/system/docker.service.d/10-minikube.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// --registry-mirror=https://m.io\n",
        ),
        never(with("docker-never", ContainerRuntime::Docker)),
        with("owner-snap-docker", ContainerRuntime::Docker)
            .with("/var/snap/docker/current/config/daemon.json", "{}"),
        Fixture { rules: "docker.io::h.io/d", ..with("no-rule", ContainerRuntime::Docker) },
        on("owner-k0s-edited", "1.7.24", "version = 2\n")
            .with("/etc/k0s/containerd.toml", "version = 2\n")
            .with("/etc/k0s/containerd.d/a.toml", &set(CERTS_D)),
        on("owner-k0s", "1.7.24", "version = 2\n")
            .with("/etc/k0s/containerd.toml", "# k0s_managed=true\nversion = 2\n"),
        with("owner-microk8s", ContainerRuntime::Containerd)
            .with("/var/snap/microk8s/current/args/containerd-template.toml", "version = 2\n"),
        system("owner-openshift", "rhcos"),
        on("owner-nodeadm", "2.1.9", IMAGE_BUILDER).with("/usr/bin/nodeadm", ""),
        system("owner-bottlerocket", "bottlerocket"),
        system("owner-talos", "talos"),
        system("owner-flatcar", "flatcar"),
        system("owner-cos", "\"cos\""),
        system("owner-nixos", "nixos"),
        generated,
    ]
}

// guarantee: 5a
#[test]
fn rows_of_the_table_are_planned_as_documented() {
    let mut met = BTreeSet::new();
    for Fixture { case, mut host, form, fallback, bearer_only, rules, more } in
        containerd().into_iter().chain(others())
    {
        let row = CASES.iter().find(|row| row.name == case).unwrap_or_else(|| panic!("{case}"));
        let declaration = declare(rules, more);
        let desired = DesiredConfig { form, fallback, ..desired(&declaration) };
        met.insert(case);
        host.bearer_only = bearer_only;
        let mut after = host.clone();
        match host.plan(&desired) {
            Err(refusal) => {
                assert_eq!(
                    (refusal.case, row.action),
                    (case, ConditionAction::Refuse),
                    "{refusal}"
                );
                assert!(refusal.to_string().ends_with(row.advice), "{refusal}");
            }
            Ok(plan) => {
                let cases: Vec<&str> = plan.cases.iter().map(|case| case.name).collect();
                assert!(cases.contains(&case), "{case} among {cases:?}");
                assert_ne!(row.action, ConditionAction::Refuse, "{case}");
                let note =
                    |plan: &HostPlan| plan.notes.iter().any(|note| note.contains(row.advice));
                assert!(note(&plan), "{case}: {:?}", plan.notes);
                after.apply(&desired);
                let again = after.plan(&desired).unwrap();
                // An edited file causes no further note.
                assert_eq!(
                    note(&again),
                    row.action == ConditionAction::Keep,
                    "{case}: {:?}",
                    again.notes
                );
                assert_eq!(
                    (again.outcome(), again.steps),
                    (PlanOutcome::InPlace, Vec::new()),
                    "{case}"
                );
                // Without a permitted restart no step is applied.
                let never = DesiredConfig { restart: RestartPolicy::Never, ..desired };
                let outcome = host.plan(&never).unwrap().outcome();
                let expected =
                    if plan.restart.is_some() { PlanOutcome::NeedsRestart } else { plan.outcome() };
                assert_eq!(outcome, expected, "{case}");
                if case != "changed" {
                    after.restore();
                    assert_eq!(after.existing(), host.existing(), "{case}");
                }
            }
        }
    }
    let rows: BTreeSet<&str> = CASES.iter().map(|row| row.name).collect();
    let missing: Vec<_> = rows.difference(&met).collect();
    assert!(missing.is_empty(), "no host is like {missing:?}");
}

#[test]
fn documented_table_equals_the_code() {
    let text = include_str!("../../../../docs/nodes.md");
    let (_, table) =
        text.split_once("| case | found | planned | |\n| --- | --- | --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = CASES
        .iter()
        .map(|row| format!("| `{}` | {} | {} | {} |", row.name, row.found, row.action, row.advice))
        .collect();
    assert_eq!(rows.join("\n"), expected.join("\n"));
}
