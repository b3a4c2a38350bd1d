//! podman and skopeo, for mirrors of every kind: all pairs of values, every
//! registry of Palette's documentation in each.

use image_swap_lab::{Access, Answers, HostOptions, LabHost, Server, Trust, pairs::all_pairs};

use crate::{
    Outcome, announce,
    declared::{Declared, robot},
    images::{Named, SAMPLES},
    lab, parts,
    rendered::{nothing_public, pulls_the_swapped_url},
};

const TOOLS: [Tool; 2] = [Tool::Podman, Tool::Skopeo];
const NAMED: [Named; 2] = [Named::Tag, Named::Digest];
const TRUST: [Trust; 4] = [Trust::Public, Trust::Private, Trust::SelfSigned, Trust::Plain];
const FALLBACK: [&str; 2] = ["upstream", "never"];
const STATES: [State; 3] = [State::Fresh, State::Configured, State::DropIn];

/// A program that pulls.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Podman,
    Skopeo,
}

/// The configuration of the host before `apply`.
#[derive(Clone, Copy, Debug)]
enum State {
    Fresh,
    /// The file of the distribution, which image-swap's file replaces.
    Configured,
    /// A file of another tool, for a registry without a rule.
    DropIn,
}

/// Signatures are not checked in these tests.
const POLICY: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
const DROP_IN: &str = "[[registry]]\nprefix = \"other.example.com\"\nlocation = \"other.example.com\"\n\
    [[registry.mirror]]\nlocation = \"mirror.example.net/other\"\n";

// guarantee: 1a, 6a, 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn podman_and_skopeo_pull_palette_registries_from_mirror() -> Outcome {
    let (runtimes, content) = lab()?;
    let access = [Access::Anonymous, Access::Basic(robot()), Access::Bearer(robot())];
    let sizes = [TOOLS.len(), NAMED.len(), access.len(), TRUST.len(), FALLBACK.len(), STATES.len()];
    let rows = all_pairs(&sizes, |_| true);
    announce(&format!("podman and skopeo: {} hosts", rows.len()));
    for row in rows {
        let (tool, named) = (TOOLS[row[0]], NAMED[row[1]]);
        let options = HostOptions { access: access[row[2]].clone(), trust: TRUST[row[3]] };
        let (fallback, state) = (FALLBACK[row[4]], STATES[row[5]]);
        let shown = format!("{tool:?} {named:?} {options:?} {fallback} {state:?}");
        let host = LabHost::start(content)?;
        host.write("/etc/containers/policy.json", POLICY)?;
        match state {
            State::Fresh => {}
            State::Configured => {
                let text = "unqualified-search-registries = [\"docker.io\"]\n";
                host.write("/etc/containers/registries.conf", text).map(drop)?;
            }
            State::DropIn => {
                host.write("/etc/containers/registries.conf.d/50-other.conf", DROP_IN).map(drop)?;
            }
        }
        let declared = Declared::palette(&host, &options);
        let (mirror, _second) = (host.mirror(&options)?, host.second()?);
        declared.render(&host, "registries-conf", "/etc/containers", &["--fallback", fallback]);
        let pull = |image: &str| {
            let done = match tool {
                Tool::Podman => host.podman_pull(&runtimes.podman, image),
                Tool::Skopeo => host.skopeo_inspect(&runtimes.skopeo, image),
            };
            done.map_err(|error| error.to_string())
        };
        pulls_the_swapped_url(&host, &declared, named, pull);
        if matches!(state, State::DropIn) {
            host.log().clear();
            let _ = pull("other.example.com/app:1");
            assert!(host.log().connections(Server::Second) > 0, "{shown}");
        }
        // The mirror has lost its images, and then everything.
        for fault in [Answers::Missing, Answers::Status(401), Answers::Status(500)] {
            mirror.set(fault);
            host.log().clear();
            let pulled = pull(&SAMPLES[4].reference(named, parts())?);
            let text = format!("{shown} {fault:?} {pulled:?}\n{}", host.log().text());
            if fallback == "upstream" {
                assert!(pulled.is_ok(), "{text}");
                assert!(host.log().connections(Server::Public) > 0, "{text}");
                let requests = host.log().requests();
                let public = requests.iter().filter(|request| request.server == Server::Public);
                assert!(public.clone().all(|request| request.authorization.is_none()), "{text}");
            } else {
                assert!(pulled.is_err(), "{text}");
                nothing_public(&host, &text);
            }
        }
    }
    Ok(())
}
