//! Output of `image-swap render`, read by the runtimes themselves.

use image_swap_lab::{Access, Answers, Daemon, HostOptions, LabHost, Server, Trust};
use image_swap_testbed::{Containerd, RuntimeParts};

use crate::{
    Outcome,
    declared::{Declared, robot},
    images::{Named, SAMPLES},
    lab, parts, state,
};

/// Returns a configuration of the newest version that sets `config_path` to `certs.d`.
pub(crate) fn with_config_path(containerd: &Containerd) -> String {
    let version = state::newest_version(containerd);
    let plugin =
        if version == 2 { "io.containerd.grpc.v1.cri" } else { "io.containerd.cri.v1.images" };
    format!(
        "version = {version}\n[plugins.\"{plugin}\".registry]\n  \
         config_path = \"/etc/containerd/certs.d\"\n"
    )
}

/// Pulls every sample, and checks that the first request is for the swapped reference. Returns the
/// whole record of each.
pub(crate) fn pulls_the_swapped_url(
    host: &LabHost,
    declared: &Declared,
    named: Named,
    pull: impl Fn(&str) -> Result<String, String>,
) {
    for sample in &SAMPLES {
        let image = sample.reference(named, parts()).unwrap();
        host.log().clear();
        let pulled = pull(&image);
        assert!(pulled.is_ok(), "{image}: {pulled:?}\n{}", host.log().text());
        let requests = host.log().requests();
        let first = requests.iter().find(|request| request.is_pull()).unwrap();
        assert_eq!(first.url(), declared.swapped_url(&image), "{}", host.log().text());
        assert_eq!(first.server, Server::Mirror);
        nothing_public(host, &image);
    }
}

#[track_caller]
pub(crate) fn nothing_public(host: &LabHost, image: &str) {
    let connections = host.log().connections(Server::Public);
    assert_eq!(connections, 0, "{image}\n{}", host.log().text());
}

fn each_containerd(test: impl Fn(&RuntimeParts, &Containerd)) -> Outcome {
    let (runtimes, _) = lab()?;
    for containerd in &runtimes.containerds {
        test(runtimes, containerd);
    }
    Ok(())
}

fn host() -> LabHost {
    LabHost::start(lab().unwrap().1).unwrap()
}

// guarantee: 1a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_pulls_palette_registries_from_mirror() -> Outcome {
    each_containerd(|_, containerd| {
        let host = host();
        let mirror = HostOptions::default();
        let declared = Declared::palette(&host, &mirror);
        let _mirror = host.mirror(&mirror).unwrap();
        host.write("/etc/containerd/config.toml", &with_config_path(containerd)).unwrap();
        declared.render(&host, "containerd", "/etc/containerd/certs.d", &[]);
        let mut daemon = Daemon::new(&host, containerd).unwrap();
        daemon.start().unwrap();
        for named in [Named::Tag, Named::Digest, Named::Both] {
            pulls_the_swapped_url(&host, &declared, named, |image| {
                daemon.pull(image).map_err(|error| error.to_string())
            });
        }
        // The short name that people write.
        host.log().clear();
        daemon.pull("nginx:1.25").unwrap();
        assert_eq!(host.log().requests()[0].url(), declared.swapped_url("nginx:1.25"));
        // A target is requested by its own name.
        let image = SAMPLES[0].in_mirror(Named::Tag, parts()).unwrap();
        host.log().clear();
        daemon.pull(&image).unwrap();
        assert_eq!(host.log().requests()[0].url(), declared.url(&image));
    })
}

// guarantee: 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn fallback_of_containerd_follows_the_declaration() -> Outcome {
    each_containerd(|_, containerd| {
        let host = host();
        let options = HostOptions { access: Access::Anonymous, trust: Trust::Private };
        let declared = Declared::palette(&host, &options);
        host.write("/etc/containerd/config.toml", &with_config_path(containerd)).unwrap();
        let mut daemon = Daemon::new(&host, containerd).unwrap();
        daemon.start().unwrap();
        let image = SAMPLES[4].reference(Named::Tag, parts()).unwrap();
        let faults = [
            None,
            Some(Answers::Missing),
            Some(Answers::Status(401)),
            Some(Answers::Status(403)),
            Some(Answers::Status(500)),
        ];
        for fallback in ["upstream", "never"] {
            let certs = "/etc/containerd/certs.d";
            declared.render(&host, "containerd", certs, &["--fallback", fallback]);
            for fault in faults {
                // Without a fault there is no mirror: no process listens.
                let mirror = fault.map(|fault| {
                    let mirror = host.mirror(&options).unwrap();
                    mirror.set(fault);
                    mirror
                });
                host.log().clear();
                let pulled = daemon.pull(&image);
                let text = host.log().text();
                let shown = format!("{} {fallback} {fault:?}\n{text}", containerd.version);
                if fault.is_some() {
                    assert_eq!(host.log().requests()[0].url(), declared.swapped_url(&image));
                }
                if fallback == "upstream" {
                    assert!(pulled.is_ok(), "{pulled:?} {shown}");
                    assert!(host.log().connections(Server::Public) > 0, "{shown}");
                } else {
                    assert!(pulled.is_err(), "{shown}");
                    nothing_public(&host, &shown);
                }
                drop(mirror);
            }
        }
    })
}

// guarantee: 6a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn credentials_reach_only_the_declared_host() -> Outcome {
    each_containerd(|_, containerd| {
        for access in [Access::Basic(robot()), Access::Bearer(robot())] {
            // Before 2.1 the header does not reach the token service.
            if matches!(access, Access::Bearer(_)) && containerd.version.starts_with('1') {
                continue;
            }
            let host = host();
            let options = HostOptions { access, trust: Trust::SelfSigned };
            let rules = "gcr.io::mirror.example.net/airgap-images/gcr.io,\
                         gcr.io::harbor.example.org/airgap-images/gcr.io,\
                         quay.io::mirror.example.net/airgap-images/quay.io";
            let declared = Declared::palette(&host, &options).with_rules(rules);
            let mirror = host.mirror(&options).unwrap();
            let second = host.second().unwrap();
            second.set(Answers::Missing);
            host.write("/etc/containerd/config.toml", &with_config_path(containerd)).unwrap();
            declared.render(&host, "containerd", "/etc/containerd/certs.d", &[]);
            let mut daemon = Daemon::new(&host, containerd).unwrap();
            daemon.start().unwrap();
            // Second, mirror; second, public; and all of them.
            for (sample, serves) in [(1, true), (5, true), (1, false)] {
                mirror.set(if serves { Answers::Serves } else { Answers::Missing });
                let image = SAMPLES[sample].reference(Named::Digest, parts()).unwrap();
                let pulled = daemon.pull(&image);
                assert!(pulled.is_ok(), "{pulled:?}\n{}", host.log().text());
            }
            let requests = host.log().requests();
            for server in [Server::Public, Server::Mirror, Server::Second] {
                let of = requests.iter().filter(|request| request.server == server);
                let with = of.clone().filter(|request| request.authorization.is_some()).count();
                assert!(of.count() > 0, "{server:?} was asked\n{}", host.log().text());
                assert_eq!(with > 0, server == Server::Mirror, "{server:?}");
            }
        }
    })
}

// guarantee: 1a
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn mirrors_table_works_in_supported_versions() -> Outcome {
    each_containerd(|_, containerd| {
        for version in 2..=state::newest_version(containerd) {
            // Version 4 has the tables of version 3.
            let tables = if version == 2 { "2" } else { "3" };
            let host = host();
            let options = HostOptions::default();
            let declared = Declared::palette(&host, &options);
            let mirror = host.mirror(&options).unwrap();
            declared.render(
                &host,
                "containerd-mirrors",
                "/etc/containerd",
                &["--config-version", tables],
            );
            let path = host.root().join("etc/containerd/config.toml");
            let tables = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("version = {version}\n{tables}")).unwrap();
            let mut daemon = Daemon::new(&host, containerd).unwrap();
            daemon.start().unwrap();
            let pull = |image: &str| daemon.pull(image).map_err(|error| error.to_string());
            pulls_the_swapped_url(&host, &declared, Named::Tag, pull);
            mirror.set(Answers::Missing);
            let image = SAMPLES[0].reference(Named::Tag, parts()).unwrap();
            pull(&image).unwrap();
            assert!(host.log().connections(Server::Public) > 0, "the registry is asked last");
        }
    })
}
