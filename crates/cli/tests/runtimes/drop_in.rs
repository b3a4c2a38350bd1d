//! A drop-in with a table of the CRI plugin, as NVIDIA's toolkit writes it. Up to 1.7 containerd
//! reads the whole table from the drop-in and ignores the one in config.toml.

use image_swap_lab::{Content, Daemon, HostOptions, LabHost, RegistryServer, Server};
use image_swap_testbed::{Containerd, Error};

use crate::{
    Outcome,
    declared::Declared,
    images::{Named, SAMPLES},
    lab, node, parts,
};

const CONFIG: &str = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
const REGISTRY: &str = "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  \
                        config_path = \"/etc/containerd/certs.d\"\n";
const DROP_IN: &str = "/etc/containerd/conf.d/99-nvidia.toml";
const NVIDIA: &str = "version = 2

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
    runtime_type = \"io.containerd.runc.v2\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]
    runtime_type = \"io.containerd.runc.v2\"
";

/// A drop-in that sets up registries.
const UNREAD: &str = "version = 2

[plugins.\"io.containerd.grpc.v1.cri\".registry]
  config_path = \"/etc/elsewhere\"
";

/// A containerd that runs beside a mirror.
struct Started {
    host: LabHost,
    mirror: RegistryServer,
    daemon: Daemon,
    declared: Declared,
}

impl Started {
    fn new(
        content: &Content,
        containerd: &Containerd,
        config: &str,
        drop_in: &str,
    ) -> Result<Self, Error> {
        let host = LabHost::start(content)?;
        let options = HostOptions::default();
        let mirror = host.mirror(&options)?;
        host.write("/etc/containerd/config.toml", config)?;
        host.write(DROP_IN, drop_in)?;
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let declared = Declared::palette(&host, &options);
        Ok(Self { host, mirror, daemon, declared })
    }
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn drop_in_that_no_file_imports_is_ignored() -> Outcome {
    let (runtimes, content) = lab()?;
    let image = SAMPLES[0].reference(Named::Tag, parts())?;
    for containerd in &runtimes.containerds {
        let Started { host, mirror: _mirror, daemon, declared } =
            Started::new(content, containerd, "version = 2\n", UNREAD)?;
        let ran = node::Ran::of(&mut node::apply(&host, &daemon, &declared, &[]));
        assert_eq!(ran.code, Some(0), "{}: {}", containerd.version, ran.output);
        host.log().clear();
        daemon.pull(&image)?;
        let public = host.log().connections(Server::Public);
        assert_eq!(public, 0, "{}: {}", containerd.version, host.log().text());
    }
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn drop_in_that_replaces_the_table_is_reported() -> Outcome {
    let (runtimes, content) = lab()?;
    let image = SAMPLES[0].reference(Named::Tag, parts())?;
    for containerd in &runtimes.containerds {
        let Started { host, mirror: _mirror, mut daemon, declared } =
            Started::new(content, containerd, &[CONFIG, REGISTRY].concat(), NVIDIA)?;
        let apply =
            |daemon: &Daemon| node::Ran::of(&mut node::apply(&host, daemon, &declared, &[]));
        let mut before = node::tree(&host);
        let mut ran = apply(&daemon);
        if containerd.version.starts_with("1.") {
            assert_eq!(ran.code, Some(1), "{}: {}", containerd.version, ran.output);
            let helps = "set `config_path` to one directory in that file";
            assert!(ran.output.contains(DROP_IN) && ran.output.contains(helps), "{}", ran.output);
            node::assert_same(&node::tree(&host), &before, &containerd.version);
            host.write(DROP_IN, &[NVIDIA, REGISTRY].concat())?;
            daemon.restart()?;
            before = node::tree(&host);
            ran = apply(&daemon);
        }
        assert_eq!(ran.code, Some(0), "{}: {}", containerd.version, ran.output);
        host.log().clear();
        daemon.pull(&image)?;
        assert_eq!(host.log().connections(Server::Public), 0, "{}", host.log().text());
        let ran = node::Ran::of(&mut node::restore(&host, &daemon));
        assert_eq!(ran.code, Some(0), "{}: {}", containerd.version, ran.output);
        node::assert_same(&node::tree(&host), &before, &containerd.version);
    }
    Ok(())
}
