//! Palette's own check: `cat /etc/containerd/config.toml`.

use std::fs;

use image_swap_lab::{Daemon, HostOptions, LabHost, Server};

use crate::{
    Outcome,
    declared::Declared,
    images::{Named, SAMPLES},
    lab, node, parts,
};

/// The file that Palette shows in the end.
const PALETTE: &str = include_str!("../../../../examples/containerd-config.toml");
/// The beginning of the lines that Palette's page adds.
const ADDED: &str = "\n\n    # contains spectro changes\n";

/// Splits a text into lines without leading blanks, which the page does not have.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_start).collect()
}

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn config_toml_equals_palette_documentation_and_loads() -> Outcome {
    let (runtimes, content) = lab()?;
    let (before_ours, _) = PALETTE.split_once(ADDED).unwrap();
    for containerd in &runtimes.containerds {
        let host = LabHost::start(content)?;
        let options = HostOptions::default();
        let _mirror = host.mirror(&options)?;
        host.write("/etc/containerd/config.toml", before_ours)?;
        let before = node::tree(&host);
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let declared = Declared::palette(&host, &options);
        let ran =
            node::Ran::of(&mut node::apply(&host, &daemon, &declared, &["--form", "palette"]));
        let path = host.root().join("etc/containerd/config.toml");
        assert_eq!(ran.code, Some(0), "{}: {}", containerd.version, ran.output);
        let shown = fs::read_to_string(&path)?;
        assert_eq!(lines(&shown), lines(PALETTE), "{}", containerd.version);
        // containerd runs, but requests URLs of the mirror that no standard registry serves. As the
        // note explains, the image then comes from the public registry.
        assert!(ran.output.contains("standard registry"), "{}", ran.output);
        let image = SAMPLES[0].reference(Named::Tag, parts())?;
        host.log().clear();
        daemon.pull(&image)?;
        let first = &host.log().requests()[0];
        let requested =
            "https://harbor.example.org/airgap-images/docker.io/library/nginx/manifests/1.25";
        assert_eq!((first.url().as_str(), first.status), (requested, 404));
        assert!(host.log().connections(Server::Public) > 0);
        let ran = node::Ran::of(&mut node::restore(&host, &daemon));
        assert_eq!(ran.code, Some(0), "{}", ran.output);
        assert_eq!(node::tree(&host), before);
    }
    Ok(())
}
