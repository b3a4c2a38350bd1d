//! The page's own check: `cat /etc/containerd/config.toml`.

use std::fs;

use image_swap_lab::{Daemon, Host, HostOptions, Server};

use crate::{
    Outcome,
    declared::Declared,
    images::{Named, SAMPLES},
    lab, node, parts,
};

/// What the page shows before what it adds; its indentation is lost in print.
const BEFORE: &str = "\
## template: jinja

# Use config version 2 to enable new configuration fields.
# Config file is parsed as version 1 by default.
version = 2

imports = [\"/etc/containerd/conf.d/*.toml\"]

[plugins]
[plugins.\"io.containerd.grpc.v1.cri\"]
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
SystemdCgroup = true
";

/// What it adds.
const ADDED: &str = "

# contains spectro changes
[plugins.\"io.containerd.grpc.v1.cri\".registry]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]
endpoint = [\"harbor.example.org/airgap-images/docker.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"gcr.io\"]
endpoint = [\"harbor.example.org/airgap-images/gcr.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"ghcr.io\"]
endpoint = [\"harbor.example.org/airgap-images/ghcr.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"k8s.gcr.io\"]
endpoint = [\"harbor.example.org/airgap-images/gcr.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"registry.k8s.io\"]
endpoint = [\"harbor.example.org/airgap-images/k8s.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"quay.io\"]
endpoint = [\"harbor.example.org/airgap-images/quay.io\"]
[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"us-east1-docker.pkg.dev\"]
endpoint = [\"harbor.example.org/airgap-images\"]
";

#[test]
fn cat_config_toml_shows_exactly_what_the_page_shows_and_containerd_loads_it() -> Outcome {
    let Some((runtimes, content)) = lab()? else { return Ok(()) };
    for containerd in &runtimes.containerds {
        let host = Host::start(content)?;
        let options = HostOptions::default();
        let _mirror = host.mirror(&options)?;
        host.write("/etc/containerd/config.toml", BEFORE)?;
        let before = node::tree(&host);
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let declared = Declared::page(&host, &options);
        let ran = node::Ran::of(&mut node::apply(&host, &daemon, &declared, &["--form", "page"]));
        let path = host.root().join("etc/containerd/config.toml");
        if ["2.2.0", "2.2.1"].contains(&containerd.version.as_str()) {
            // Its CRI would not come up.
            assert_eq!(ran.code, Some(1), "{}", ran.said);
            assert_eq!(fs::read_to_string(&path)?, BEFORE);
            continue;
        }
        assert_eq!(ran.code, Some(0), "{}: {}", containerd.version, ran.said);
        let shown = fs::read_to_string(&path)?;
        let lines: Vec<&str> = shown.lines().map(str::trim_start).collect();
        let page = [BEFORE, ADDED].concat();
        assert_eq!(lines, page.lines().collect::<Vec<_>>(), "{}", containerd.version);
        // It answers, and asks the mirror where no standard registry answers:
        // as the note says, the image then comes from the public registry.
        assert!(ran.said.contains("standard registry"), "{}", ran.said);
        let image = SAMPLES[0].reference(Named::Tag, parts())?;
        host.log().clear();
        daemon.pull(&image)?;
        let first = &host.log().requests()[0];
        let asked =
            "https://harbor.example.org/airgap-images/docker.io/library/nginx/manifests/1.25";
        assert_eq!((first.url().as_str(), first.status), (asked, 404));
        assert!(host.log().connections(Server::Public) > 0);
        let ran = node::Ran::of(&mut node::restore(&host, &daemon));
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert_eq!(node::tree(&host), before);
    }
    Ok(())
}
