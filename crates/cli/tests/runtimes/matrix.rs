//! `image-swap node apply` on hosts of every kind, for mirrors of every kind.
//!
//! The rows cover all pairs of values. Each checks the requests at the mirror and elsewhere.

use image_swap_lab::{
    Access, Answers, Daemon, HostOptions, LabHost, Server, Trust, pairs::all_pairs,
};
use image_swap_testbed::Containerd;

use crate::{
    Outcome, announce,
    declared::{Declared, robot},
    images::{Named, SAMPLES},
    lab, node, parts,
    rendered::nothing_public,
    state::{self, STATES, State},
};

/// The values of each dimension but the registry: all of Palette's seven and
/// a target itself are pulled in every row.
const VERSIONS: [u8; 3] = [2, 3, 4];
const NAMED: [Named; 3] = [Named::Tag, Named::Digest, Named::Both];
const TRUST: [Trust; 4] = [Trust::Public, Trust::Private, Trust::SelfSigned, Trust::Plain];
const FALLBACK: [&str; 2] = ["upstream", "never"];

fn access() -> [Access; 3] {
    [Access::Anonymous, Access::Basic(robot()), Access::Bearer(robot())]
}

/// One row of the matrix: a host, its configuration and its mirror.
#[derive(Debug)]
struct Case<'a> {
    containerd: &'a Containerd,
    state: State,
    version: u8,
    named: Named,
    mirror: HostOptions,
    fallback: &'static str,
}

fn cases(containerd: &Containerd) -> Vec<Case<'_>> {
    let sizes =
        [STATES.len(), VERSIONS.len(), NAMED.len(), access().len(), TRUST.len(), FALLBACK.len()];
    let valid = |row: &[usize]| state::possible(STATES[row[0]], VERSIONS[row[1]], containerd);
    let rows = all_pairs(&sizes, valid);
    let case = |row: Vec<usize>| Case {
        containerd,
        state: STATES[row[0]],
        version: VERSIONS[row[1]],
        named: NAMED[row[2]],
        mirror: HostOptions { access: access()[row[3]].clone(), trust: TRUST[row[4]] },
        fallback: FALLBACK[row[5]],
    };
    rows.into_iter().map(case).collect()
}

/// Checks every case of the containerd of a minor version.
fn every_case(minor: &str) -> Outcome {
    let (runtimes, content) = lab()?;
    let containerd = runtimes.containerd(minor)?;
    let cases = cases(containerd);
    announce(&format!("containerd {}: {} hosts", containerd.version, cases.len()));
    for case in &cases {
        let host = LabHost::start(content)?;
        check(&host, case);
    }
    Ok(())
}

// guarantee: 1a, 5a, 6a, 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_1_6_pulls_as_declared() -> Outcome {
    every_case("1.6")
}

// guarantee: 1a, 5a, 6a, 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_1_7_pulls_as_declared() -> Outcome {
    every_case("1.7")
}

// guarantee: 1a, 5a, 6a, 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_2_1_pulls_as_declared() -> Outcome {
    every_case("2.1")
}

// guarantee: 1a, 5a, 6a, 7
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_2_4_pulls_as_declared() -> Outcome {
    every_case("2.4")
}

fn check(host: &LabHost, case: &Case<'_>) {
    let mut daemon = Daemon::new(host, case.containerd).unwrap();
    state::make(host, case.state, case.version, case.containerd);
    let before = node::tree(host);
    daemon.start().unwrap();
    let declared = Declared::palette(host, &case.mirror);
    let mirror = host.mirror(&case.mirror).unwrap();
    let second = host.second().unwrap();
    second.set(Answers::Missing);

    let apply = || {
        node::Ran::of(&mut node::apply(host, &daemon, &declared, &["--fallback", case.fallback]))
    };
    let ran = apply();
    assert_eq!(ran.code, Some(0), "{case:?}\n{}", ran.output);
    let applied = node::tree(host);
    pulls(host, &daemon, &declared, case);
    falls_back(host, &daemon, &mirror, case);
    let again = apply();
    assert_eq!(again.code, Some(0), "{case:?}\n{}", again.output);
    node::assert_same(&node::tree(host), &applied, &format!("applied twice: {case:?}"));

    let ran = node::Ran::of(&mut node::restore(host, &daemon));
    assert_eq!(ran.code, Some(0), "{case:?}\n{}", ran.output);
    node::assert_same(&node::tree(host), &before, &format!("restored: {case:?}"));
    daemon.start().unwrap();
}

/// Checks that every image comes from the mirror, by the URL of the swapped reference.
fn pulls(host: &LabHost, daemon: &Daemon, declared: &Declared, case: &Case<'_>) {
    for sample in &SAMPLES {
        let image = sample.reference(case.named, parts()).unwrap();
        host.log().clear();
        let pulled = daemon.pull(&image);
        let log = host.log().text();
        assert_eq!(host.log().requests()[0].url(), declared.swapped_url(&image), "{case:?}\n{log}");
        assert_eq!(host.log().connections(Server::Second), 0, "{case:?}\n{log}");
        assert!(pulled.is_ok(), "{case:?}\n{pulled:?}\n{log}");
        nothing_public(host, &format!("{case:?} {image}"));
    }
    // A target has no mirror. It receives no credentials of rules.
    let image = SAMPLES[0].in_mirror(case.named, parts()).unwrap();
    host.log().clear();
    let pulled = daemon.pull(&image);
    assert!(pulled.is_ok() || !matches!(case.mirror.access, Access::Anonymous), "{pulled:?}");
    assert_eq!(host.log().requests()[0].url(), declared.url(&image), "{case:?}");
}

/// Checks the fallback of pulls after the mirror has lost its images.
fn falls_back(
    host: &LabHost,
    daemon: &Daemon,
    mirror: &image_swap_lab::RegistryServer,
    case: &Case<'_>,
) {
    mirror.set(Answers::Missing);
    let image = SAMPLES[3].reference(case.named, parts()).unwrap();
    host.log().clear();
    let pulled = daemon.pull(&image);
    let log = host.log().text();
    if case.fallback == "upstream" {
        assert!(pulled.is_ok(), "{case:?}\n{pulled:?}\n{log}");
        let public =
            host.log().requests().into_iter().filter(|request| request.server == Server::Public);
        assert!(public.clone().count() > 0, "{case:?}\n{log}");
        assert_eq!(public.filter(|request| request.authorization.is_some()).count(), 0, "{case:?}");
    } else {
        assert!(pulled.is_err(), "{case:?}\n{log}");
        nothing_public(host, &format!("{case:?}"));
    }
    if case.state == State::MirrorsTable {
        // The mirror of another tool is still used.
        host.log().clear();
        let _ = daemon.pull("other.example.com/app:1");
        let first = host.log().requests()[0].url();
        assert_eq!(first, "https://mirror.example.net/v2/other/app/manifests/1", "{case:?}");
    }
    mirror.set(Answers::Serves);
}
