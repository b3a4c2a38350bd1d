//! Certificates, credentials and policies in files of other tools.

use image_swap_core::mirror::Fallback;
use image_swap_node::{ContainerRuntime, DesiredConfig, HostFile, PlanOutcome, RestartPolicy};
use image_swap_testkit::config_with_path;

use crate::host::{CONFIG, Host, IMAGE_BUILDER, declare, declared, desired};

const AUTHORITY: &str = include_str!("../../../core/tests/data/ca-one.pem");
const OTHER: &str = include_str!("../../../core/tests/data/ca-two.pem");
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
const HUB: &str = "/etc/containerd/certs.d/docker.io/hosts.toml";
const TARGET: &str = "/etc/containerd/certs.d/h.io";
const REGISTRIES: &str = "/etc/containers/registries.conf.d/50-image-swap.conf";

fn with_directories(list: &str) -> Host {
    Host::containerd("1.7.24").with(CONFIG, &config_with_path(list))
}

fn containerd() -> Host {
    with_directories("/etc/containerd/certs.d")
}

/// Returns the declared authority as a line of the Secret.
fn authority() -> String {
    format!("INSECURE: \"false\"\n  CA_CERT: {}", serde_json::Value::from(AUTHORITY))
}

/// Applies, and returns the host then; a second plan is empty, and `restore` brings all back.
#[track_caller]
fn applied(before: &Host, desired: &DesiredConfig<'_>) -> Host {
    let mut host = before.clone();
    let plan = host.apply(desired);
    assert!(!plan.diff(&before.observe(Some(desired))).contains("dTpw"));
    let again = host.plan(desired).unwrap();
    assert_eq!(
        again.outcome(),
        PlanOutcome::InPlace,
        "{}",
        again.diff(&host.observe(Some(desired)))
    );
    let mut restored = host.clone();
    restored.restore();
    assert_eq!(restored.existing(), before.existing());
    host
}

#[track_caller]
fn has(host: &Host, path: &str, lines: &[&str]) {
    let text = host.text(path).unwrap_or_default();
    for line in lines {
        assert!(text.lines().any(|found| found.trim() == *line), "{line} in {path}:\n{text}");
    }
}

// guarantee: 5a
#[test]
fn hosts_toml_keeps_verification_and_headers() {
    let written = "server = \"https://docker.io\"\n[host.\"https://h.io/v2/m\"]\n  skip_verify = true\n  \
                  [host.\"https://h.io/v2/m\".header]\n    x-team = \"dTpw\"\n";
    let before = containerd().with(HUB, written);
    let declaration = declared("docker.io::h.io/d");
    let host = applied(&before, &desired(&declaration));
    has(&host, HUB, &["[host.\"https://h.io/v2/d\"]", "skip_verify = true", "x-team = \"dTpw\""]);
    assert_eq!(host.disk.file(&HUB.into()).unwrap().mode, 0o600);
    // The declared credentials and authority are used instead of others.
    let written = written.replace("x-team", "authorization");
    let declaration = declare("docker.io::h.io/d", &authority());
    let host = applied(&containerd().with(HUB, &written), &desired(&declaration));
    let text = host.text(HUB).unwrap();
    assert!(!text.contains("dTpw") && !text.contains("skip_verify"), "{text}");
    let plan = containerd().with(HUB, &written).plan(&desired(&declaration)).unwrap();
    for note in ["declared CA_CERT is used instead", "declared credentials are used instead"] {
        assert!(plan.notes.iter().any(|found| found.contains(note)), "{:?}", plan.notes);
    }
}

// guarantee: 5a
#[test]
fn certificates_of_targets_are_used_for_mirrors() {
    let declaration = declared("docker.io::h.io/d");
    let before = containerd()
        .with(&format!("{TARGET}/ca.crt"), AUTHORITY)
        .with(&format!("{TARGET}/client.cert"), AUTHORITY)
        .with(&format!("{TARGET}/client.key"), KEY);
    let host = applied(&before, &desired(&declaration));
    let client = format!("client = [[\"{TARGET}/client.cert\", \"{TARGET}/client.key\"]]");
    has(&host, HUB, &[&format!("ca = [\"{TARGET}/ca.crt\"]"), &client]);
    assert_eq!(host.text(&format!("{TARGET}/hosts.toml")), None);
    let plan = before.plan(&desired(&declaration)).unwrap();
    let contact = plan.contacts.iter().find(|contact| contact.host == "h.io").unwrap();
    assert_eq!(contact.authorities, [AUTHORITY.as_bytes()]);
    assert!(contact.client.is_some());

    // The declared authority adds to the one that is there, under another name.
    let declaration = declare("docker.io::h.io/d", &authority());
    let before = before.with(&format!("{TARGET}/ca.crt"), OTHER);
    let host = applied(&before, &desired(&declaration));
    assert_eq!(host.text(&format!("{TARGET}/ca.crt")), Some(OTHER));
    let both = format!("ca = [\"{TARGET}/image-swap-ca.crt\", \"{TARGET}/ca.crt\"]");
    has(&host, &format!("{TARGET}/hosts.toml"), &[&both, &client]);
    has(&host, HUB, &[&client]);
}

// guarantee: 5a
#[test]
fn tls_tables_of_config_toml_reach_mirrors() {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\".registry.configs";
    let config = format!(
        "{IMAGE_BUILDER}[{cri}.\"h.io\".tls]\nca_file = \"/ca\"\ncert_file = \"/c\"\nkey_file = \"/k\"\n\
         [{cri}.\"registry-1.docker.io\".tls]\ninsecure_skip_verify = true\n"
    );
    let before = Host::containerd("1.7.24").with(CONFIG, &config);
    for more in ["", &authority()] {
        let declaration = declare("docker.io::h.io/d", more);
        let host = applied(&before, &desired(&declaration));
        has(&host, HUB, &["client = [[\"/c\", \"/k\"]]", "skip_verify = true"]);
        has(&host, &format!("{TARGET}/hosts.toml"), &["client = [[\"/c\", \"/k\"]]"]);
    }
}

// guarantee: 5a
#[test]
fn settings_of_the_registry_itself_are_kept() {
    let declaration = declared("docker.io::h.io/d,quay.io::h.io/q");
    let hub = "[host.\"https://registry-1.docker.io\".header]\nAuthorization = \"Basic dTpw\"\n";
    let quay = "/etc/containerd/certs.d/quay.io/hosts.toml";
    let closed =
        "server = \"https://h.io/v2/q\"\noverride_path = true\nskip_verify = true\n[host]\n";
    let before = containerd().with(HUB, hub).with(quay, closed);
    let host = applied(&before, &desired(&declaration));
    has(&host, HUB, &["[header]", "Authorization = \"Basic dTpw\""]);
    has(&host, quay, &["server = \"https://h.io/v2/q\"", "override_path = true"]);
    let plan = before.plan(&desired(&declaration)).unwrap();
    let row = plan.rows.iter().find(|row| row.host == "quay.io").unwrap();
    assert_eq!(row.urls.last().unwrap(), "https://h.io/v2/q");
    // A host without requests needs no settings.
    let never = DesiredConfig { fallback: Fallback::Never, ..desired(&declaration) };
    let host = applied(&before, &never);
    assert!(!host.text(HUB).unwrap().contains("dTpw"));
}

#[test]
fn list_of_directories_stays_where_containerd_pulls_locally() {
    let declaration = declared("docker.io::h.io/d");
    let images = "plugins.\"io.containerd.cri.v1.images\"";
    let config = format!(
        "version = 3\n[{images}]\ndiscard_unpacked_layers = true\n[{images}.registry]\n\
         config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n"
    );
    let before = Host::containerd("2.1.9")
        .with("/usr/bin/nodeadm", "")
        .with(CONFIG, &config)
        .with("/etc/docker/certs.d/h.io/ca.crt", AUTHORITY);
    let host = applied(&before, &desired(&declaration));
    assert_eq!(host.text(CONFIG), Some(config.as_str()));
    has(&host, HUB, &["ca = [\"/etc/docker/certs.d/h.io/ca.crt\"]"]);
    // A default would hide the hosts of the second directory.
    let declaration = declared("default::h.io/d");
    assert_eq!(before.plan(&desired(&declaration)).unwrap_err().case, "colon-list-in-use");
    // The transfer service takes the list for one name, and nodeadm writes the file.
    let before = before.with(CONFIG, &config.replace("discard_unpacked_layers = true\n", ""));
    let declaration = declared("docker.io::h.io/d");
    assert_eq!(before.plan(&desired(&declaration)).unwrap_err().case, "colon-list-in-use");
}

// guarantee: 5a
#[test]
fn registries_conf_keeps_policies_of_other_files() {
    let main = "/etc/containers/registries.conf";
    let declaration = declared("docker.io::h.io/d,quay.io/team::h.io/q");
    let written = "[[registry]]\nlocation = \"quay.io\"\nblocked = true\n\
                  [[registry]]\nprefix = \"docker.io\"\nlocation = \"m.io/hub\"\ninsecure = true\n\
                  [[registry.mirror]]\nlocation = \"h.io/m\"\ninsecure = true\n";
    let before = Host::of(ContainerRuntime::Crio, "1.30.0").with(main, written);
    let host = applied(&before, &desired(&declaration));
    let text = host.text(REGISTRIES).unwrap();
    let tables: Vec<&str> = text.split("[[registry]]").collect();
    let table = |prefix: &str| {
        let line = format!("prefix = \"{prefix}\"");
        *tables.iter().find(|table| table.contains(&line)).unwrap()
    };
    assert!(table("quay.io/team").contains("blocked = true"), "{text}");
    let hub = table("docker.io");
    assert!(hub.contains("location = \"m.io/hub\""), "{text}");
    assert_eq!(hub.matches("insecure = true").count(), 2, "{text}");
}

// guarantee: 5a
#[test]
fn certificates_of_podman_stay_in_place() {
    let declaration = declare("docker.io::h.io/d", &authority());
    let docker = "/etc/docker/certs.d/h.io";
    let before = Host::of(ContainerRuntime::Podman, "5.0.0")
        .with(&format!("{docker}/client.cert"), AUTHORITY)
        .with(&format!("{docker}/client.key"), KEY);
    let host = applied(&before, &desired(&declaration));
    assert_eq!(host.text("/etc/containers/certs.d/h.io/ca.crt"), None);
    assert_eq!(host.text(&format!("{docker}/ca.crt")), Some(AUTHORITY));
    // For docker and podman every `.crt` of the directory counts.
    for runtime in [ContainerRuntime::Podman, ContainerRuntime::Docker] {
        let declaration = declare("docker.io::h.io", &authority());
        let before = Host::of(runtime, "28.5.2").with(&format!("{docker}/ca.crt"), OTHER);
        let host = applied(&before, &desired(&declaration));
        assert_eq!(host.text(&format!("{docker}/ca.crt")), Some(OTHER), "{runtime}");
        assert_eq!(host.text(&format!("{docker}/image-swap-ca.crt")), Some(AUTHORITY));
    }
}

// guarantee: 5a
#[test]
fn daemon_json_of_the_command_line_is_edited() {
    let declaration = declared("docker.io::h.io");
    let drop_in = "/etc/systemd/system/docker.service.d/override.conf";
    let start =
        "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --config-file=/opt/d.json -H fd://\n";
    let defaults = "#DOCKER_OPTS=\"--config-file=/etc/no.json\"\nDOCKER_OPTS=\"--config-file=/opt/d.json --debug\"\n";
    let variable =
        "[Service]\nEnvironment=\"O=--config-file /opt/d.json\"\nExecStart=/usr/bin/dockerd $O\n";
    for (path, text) in [(drop_in, start), ("/etc/default/docker", defaults), (drop_in, variable)] {
        let before = Host::of(ContainerRuntime::Docker, "28.5.2")
            .with("/opt/d.json", "{}\n")
            .with(path, text);
        let host = applied(&before, &desired(&declaration));
        assert!(host.text("/opt/d.json").unwrap().contains("https://h.io"), "{path}");
        assert_eq!(host.text("/etc/docker/daemon.json"), None);
    }
}

// guarantee: 5a
#[test]
fn daemon_json_in_supported_encodings_is_edited() {
    let declaration = declared("docker.io::h.io");
    let utf16 = |text: &str| -> Vec<u8> {
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    let marked = [&[0xef, 0xbb, 0xbf], &b"{\"debug\": true}"[..]].concat();
    for bytes in [Vec::new(), b"\n".to_vec(), marked, utf16("{\"debug\": true}\n")] {
        let mut before = Host::of(ContainerRuntime::Docker, "28.5.2");
        before.write("/etc/docker/daemon.json", HostFile::public(bytes.clone()));
        let host = applied(&before, &desired(&declaration));
        let edited = &host.disk.file(&"/etc/docker/daemon.json".into()).unwrap().bytes;
        let mark = bytes.iter().take(2).take_while(|byte| **byte > 0x7f);
        assert!(edited.iter().zip(mark).all(|(edited, mark)| edited == mark));
        before.version = image_swap_node::Version::parse("20.10.24");
        assert_eq!(before.plan(&desired(&declaration)).unwrap_err().case, "daemon-json-odd");
    }
}

// guarantee: 5a
#[test]
fn registries_yaml_of_k3s_configuration_is_edited() {
    let declaration = declared("docker.io::h.io/d");
    let unit = "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--private-registry' \\\n\t'/opt/r.yaml' \\\n";
    for (path, text) in [
        ("/etc/rancher/k3s/config.yaml", "private-registry: /opt/r.yaml\ndata-dir: /data/k3s\n"),
        ("/etc/rancher/k3s/config.yaml.d/9.yaml", "private-registry: \"/opt/r.yaml\"\n"),
        ("/etc/systemd/system/k3s.service", unit),
    ] {
        let before = Host::of(ContainerRuntime::K3s, "1.30.0").with(path, text);
        let host = applied(&before, &desired(&declaration));
        assert!(host.text("/opt/r.yaml").unwrap().contains("https://h.io/v2/d"), "{path}");
        assert_eq!(host.text("/etc/rancher/k3s/registries.yaml"), None, "{path}");
    }
}

// guarantee: 5a
#[test]
fn registries_yaml_keeps_names_of_embedded_registry() {
    let declaration = declared("docker.io::h.io/d");
    let path = "/etc/rancher/k3s/registries.yaml";
    let written = "mirrors:\n  \"*\":\n  docker.io:\n  ghcr.io: {}\n";
    let before = Host::of(ContainerRuntime::K3s, "1.30.0").with(path, written);
    let host = applied(&before, &desired(&declaration));
    has(&host, path, &["\"*\":", "\"ghcr.io\":", "\"docker.io\":", "- \"https://h.io/v2/d\""]);
    assert_eq!(host.text(path).unwrap().matches("docker.io\":").count(), 1);
}

// guarantee: 5a
#[test]
fn k0s_and_microk8s_get_files_below_their_directory() {
    let declaration = declared("docker.io::h.io/d");
    let managed = "# k0s_managed=true\nversion = 2\nimports = [\"/run/k0s/containerd-cri.toml\"]\n";
    let nvidia = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n";
    let before = Host::containerd("1.7.24")
        .with("/etc/k0s/containerd.toml", managed)
        .with("/etc/k0s/containerd.d/a.toml", &config_with_path("/etc/k0s/certs.d"))
        .with("/etc/k0s/containerd.d/nvidia.toml", nvidia);
    let host = applied(&before, &desired(&declaration));
    has(&host, "/etc/k0s/certs.d/docker.io/hosts.toml", &["[host.\"https://h.io/v2/d\"]"]);

    let args = "/var/snap/microk8s/current/args";
    let hosts = format!("{args}/certs.d/docker.io/hosts.toml");
    let before = Host::containerd("1.7.24").with(&hosts, "server = \"https://docker.io\"\n");
    let template = config_with_path("${SNAP_DATA}/args/certs.d");
    for before in
        [before.clone(), before.with(&format!("{args}/containerd-template.toml"), &template)]
    {
        let host = applied(&before, &desired(&declaration));
        has(&host, &hosts, &["[host.\"https://h.io/v2/d\"]"]);
        assert_eq!(before.plan(&desired(&declaration)).unwrap().outcome(), PlanOutcome::Change);
    }
}

#[test]
fn image_of_a_host_needs_no_restart() {
    let declaration = declared("docker.io::h.io/d");
    let never = DesiredConfig { restart: RestartPolicy::Never, ..desired(&declaration) };
    for runtime in [ContainerRuntime::Containerd, ContainerRuntime::Crio, ContainerRuntime::K3s] {
        let before = Host { at_rest: true, ..Host::of(runtime, "2.1.9") };
        assert_eq!(before.plan(&never).unwrap().outcome(), PlanOutcome::Change, "{runtime}");
        applied(&before, &never);
    }
}

// guarantee: 5a, 6c
#[test]
fn restore_returns_a_credential_file_to_its_owner() {
    let declaration = declared("docker.io::h.io/d");
    let mut before = containerd();
    before.write(HUB, HostFile { owner: Some((1000, 1000)), ..HostFile::public("[host]\n") });
    let host = applied(&before, &desired(&declaration));
    let file = host.disk.file(&HUB.into()).unwrap();
    assert_eq!((file.mode, file.owner), (0o600, None));
    // A credential that an earlier version wrote for another user is written again.
    let mut host = host;
    host.write(HUB, HostFile { owner: Some((1000, 1000)), ..file_of(&host, HUB) });
    assert_eq!(host.plan(&desired(&declaration)).unwrap().outcome(), PlanOutcome::Change);
}

fn file_of(host: &Host, path: &str) -> HostFile {
    host.disk.file(&path.into()).unwrap().clone()
}

/// Covers a directory that containerd reads for every host without one of its own.
#[test]
fn settings_for_all_hosts_are_kept_for_each() {
    let toml = "ca = \"/etc/proxy.pem\"\n[header]\nx-a = \"b\"\n[host.\"https://old.io\"]\nskip_verify = true\n";
    let path = "/etc/containerd/certs.d/_default/hosts.toml";
    let host = || containerd().with("/etc/proxy.pem", "pem");
    let file = |name: &str| format!("/etc/containerd/certs.d/{name}/hosts.toml");
    let declaration = declared("docker.io::h.io/d");
    let before = host().with(path, toml);
    let mut after = before.clone();
    let plan = after.apply(&desired(&declaration));
    let text = after.text(&file("docker.io")).unwrap();
    // The registry itself and the mirror each have the setting.
    assert_eq!(text.matches("ca = [\"/etc/proxy.pem\"]").count(), 2, "{text}");
    assert_eq!(text.matches("x-a").count(), 2, "{text}");
    assert!(!text.contains("old.io") && !text.contains("skip_verify"), "{text}");
    has(&after, &file("h.io"), &["ca = [\"/etc/proxy.pem\"]", "x-a = \"b\""]);
    assert_eq!(after.text(path), Some(toml));
    let note = "no longer used for docker.io";
    assert!(plan.notes.iter().any(|it| it.contains(note)), "{:?}", plan.notes);
    assert_eq!(after.plan(&desired(&declaration)).unwrap().steps, []);
    after.restore();
    assert_eq!(after.existing(), before.existing());

    // A default rule replaces that file.
    let all = declared("docker.io::h.io/d,default::h.io/all");
    let mut after = before.clone();
    after.apply(&desired(&all));
    has(&after, &file("h.io"), &["ca = [\"/etc/proxy.pem\"]"]);
    has(&after, path, &["[host.\"https://h.io/v2/all\"]", "ca = [\"/etc/proxy.pem\"]"]);
    after.restore();
    assert_eq!(after.existing(), before.existing());

    // Certificates without a file of settings, as docker keeps them.
    let certificate = AUTHORITY;
    let mut after = host().with("/etc/containerd/certs.d/_default/ca.crt", certificate);
    after.apply(&desired(&declaration));
    let text = after.text(&file("docker.io")).unwrap();
    let ca = "ca = [\"/etc/containerd/certs.d/_default/ca.crt\"]";
    assert_eq!(text.matches(ca).count(), 2, "{text}");
}

/// Covers nodeadm of Amazon EKS, which sets a list of two directories.
#[test]
fn files_of_eks_go_to_its_first_directory() {
    let declaration = declared("docker.io::h.io/d");
    let never = DesiredConfig { restart: RestartPolicy::Never, ..desired(&declaration) };
    let before = with_directories("/etc/containerd/certs.d:/etc/docker/certs.d")
        .with("/usr/bin/nodeadm", "");
    let plan = before.plan(&never).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::Change);
    assert_eq!(plan.mirror_directory, Some("/etc/containerd/certs.d".into()));
    assert!(plan.cases.iter().any(|case| case.name == "colon-list-local"), "{:?}", plan.cases);
    let mut host = applied(&before, &never);
    assert_eq!(host.text(CONFIG), before.text(CONFIG));
    has(&host, HUB, &["[host.\"https://h.io/v2/d\"]"]);
    assert!(!host.disk.exists(&"/etc/docker/certs.d".into()));
    // Without a setting that splits it, a later containerd takes the list for one name.
    host.version = image_swap_node::Version::parse("2.1.9");
    assert_eq!(host.plan(&never).unwrap_err().case, "owner-nodeadm");
}

/// Covers Azure's nodes, which have a file for Azure's own registry.
#[test]
fn replaced_file_of_aks_is_noted() {
    let mcr = "/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml";
    let written = "[host.\"https://mcr.azure.cn\"]\ncapabilities = [\"pull\", \"resolve\"]\n";
    let before = containerd().with(mcr, written);
    let never =
        |declaration| DesiredConfig { restart: RestartPolicy::Never, ..desired(declaration) };
    let declaration = declared("mcr.microsoft.com::h.io/m");
    let plan = before.plan(&never(&declaration)).unwrap();
    assert_eq!(plan.outcome(), PlanOutcome::Change);
    assert!(plan.cases.iter().any(|case| case.name == "foreign-hosts"), "{:?}", plan.cases);
    let note = format!("{mcr} is of another tool: its mirrors are replaced");
    assert!(plan.notes.iter().any(|found| found.starts_with(&note)), "{:?}", plan.notes);
    let host = applied(&before, &never(&declaration));
    has(&host, mcr, &["[host.\"https://h.io/v2/m\"]"]);
    assert!(!host.text(mcr).unwrap().contains("mcr.azure.cn"));
    // Without such a rule the file stays.
    let declaration = declared("docker.io::h.io/d");
    let host = applied(&before, &never(&declaration));
    assert_eq!(host.text(mcr), Some(written));
}
