//! Hosts that pull by certificates and policies in files of other tools: they still do when the
//! mirrors are configured.

use image_swap_lab::{Answers, Daemon, HostOptions, LabHost, MIRROR, Server, Trust};

use crate::{
    Outcome,
    declared::Declared,
    images::{Named, SAMPLES},
    lab, node, parts,
    rendered::{nothing_public, with_config_path},
};

/// Certificates as docker keeps them.
const LAYOUT: &str = "/etc/containerd/certs.d/harbor.example.org";

/// Writes the certificates that the mirror requires, in `directory`.
fn certificates(host: &LabHost, directory: &str, client: &image_swap_testbed::Identity) {
    for (name, text) in [
        ("ca.crt", host.private_authority()),
        ("client.cert", &client.certificate),
        ("client.key", &client.key),
    ] {
        host.write(&format!("{directory}/{name}"), text).unwrap();
    }
}

// guarantee: 5a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_keeps_client_certificates_and_authorities() -> Outcome {
    let (runtimes, content) = lab()?;
    let image = SAMPLES[0].reference(Named::Tag, parts())?;
    for containerd in &runtimes.containerds {
        let version = &containerd.version;
        let host = LabHost::start(content)?;
        let (_mirror, client) = host.mirror_for_clients()?;
        host.write("/etc/containerd/config.toml", &with_config_path(containerd))?;
        certificates(&host, LAYOUT, &client);
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        let direct = SAMPLES[0].in_mirror(Named::Tag, parts())?;
        assert!(daemon.pull(&direct).is_ok(), "{version}: {}", host.log().text());

        let before = node::tree(&host);
        let declared = Declared::palette(&host, &HostOptions::default());
        let ran = node::Ran::of(&mut node::apply(&host, &daemon, &declared, &[]));
        assert_eq!(ran.code, Some(0), "{version}: {}", ran.output);
        for image in [&image, &direct] {
            host.log().clear();
            let pulled = daemon.pull(image);
            assert!(pulled.is_ok(), "{version}: {pulled:?}\n{}", host.log().text());
            assert!(host.log().connections(Server::Mirror) > 0, "{version}: {}", host.log().text());
            nothing_public(&host, image);
        }
        let ran = node::Ran::of(&mut node::restore(&host, &daemon));
        assert_eq!(ran.code, Some(0), "{version}: {}", ran.output);
        node::assert_same(&node::tree(&host), &before, version);
    }
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_keeps_settings_of_a_hosts_toml() -> Outcome {
    let (runtimes, content) = lab()?;
    let sample = &SAMPLES[0];
    for containerd in &runtimes.containerds {
        let version = &containerd.version;
        let host = LabHost::start(content)?;
        let (_mirror, client) = host.mirror_for_clients()?;
        host.write("/etc/containerd/config.toml", &with_config_path(containerd))?;
        certificates(&host, "/etc/containerd/pki", &client);
        let declared = Declared::palette(&host, &HostOptions::default());
        let tagged = sample.reference(Named::Tag, parts())?;
        let (url, _) = declared.swapped_url(&tagged).split_once("/docker.io/").map_or_else(
            || panic!("{tagged}"),
            |(base, rest)| (format!("{base}/docker.io"), rest.to_owned()),
        );
        host.write(
            "/etc/containerd/certs.d/docker.io/hosts.toml",
            &format!(
                "[host.\"{url}\"]\n  override_path = true\n  capabilities = [\"pull\", \"resolve\"]\n  \
                 ca = \"../../pki/ca.crt\"\n  \
                 client = [[\"/etc/containerd/pki/client.cert\", \"/etc/containerd/pki/client.key\"]]\n"
            ),
        )?;
        let mut daemon = Daemon::new(&host, containerd)?;
        daemon.start()?;
        for applied in [false, true] {
            if applied {
                let ran = node::Ran::of(&mut node::apply(&host, &daemon, &declared, &[]));
                assert_eq!(ran.code, Some(0), "{version}: {}", ran.output);
            }
            host.log().clear();
            let image =
                sample.reference(if applied { Named::Digest } else { Named::Tag }, parts())?;
            let pulled = daemon.pull(&image);
            assert!(pulled.is_ok(), "{version} {applied}: {pulled:?}\n{}", host.log().text());
            assert!(host.log().connections(Server::Mirror) > 0, "{version}: {}", host.log().text());
            nothing_public(&host, &image);
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn skopeo_keeps_blocked_registries_and_insecure_mirrors() -> Outcome {
    let (runtimes, content) = lab()?;
    let host = LabHost::start(content)?;
    let mirror = host.mirror(&HostOptions { trust: Trust::SelfSigned, ..Default::default() })?;
    host.write(
        "/etc/containers/policy.json",
        r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
    )?;
    let written = format!(
        "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n\
         [[registry.mirror]]\nlocation = \"{MIRROR}/elsewhere\"\ninsecure = true\n"
    );
    host.write("/etc/containers/registries.conf.d/10-policy.conf", &written)?;
    let declared = Declared::palette(&host, &HostOptions::default());
    let mut command = host.inside(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["node", "apply", "--runtime", "podman", "--registry-info"]);
    let ran = node::Ran::of(command.arg(declared.write(&host)));
    assert_eq!(ran.code, Some(0), "{}", ran.output);
    let image = SAMPLES[0].reference(Named::Tag, parts())?;
    let inspect =
        || host.skopeo_inspect(&runtimes.skopeo, &image).map_err(|error| error.to_string());
    for answers in [Answers::Serves, Answers::Missing] {
        mirror.set(answers);
        host.log().clear();
        let inspected = inspect();
        let text = format!("{answers:?} {inspected:?}\n{}", host.log().text());
        assert_eq!(inspected.is_ok(), answers == Answers::Serves, "{text}");
        assert!(host.log().connections(Server::Mirror) > 0, "{text}");
        nothing_public(&host, &text);
    }
    Ok(())
}
