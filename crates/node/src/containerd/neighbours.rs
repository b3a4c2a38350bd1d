//! What lies below `certs.d` beside our files.

use std::collections::BTreeSet;

use image_swap_core::nodes::Mirrors;

use crate::{
    Desired, HostPath, Observed, Refusal, case,
    plan::{Changes, is_marked},
};

/// Refuses what else lies beside our directories and would take their place.
pub(super) fn check(
    observed: &Observed,
    below: &HostPath,
    hosts: &BTreeSet<&str>,
    changes: &mut Changes<'_>,
) -> Result<(), Refusal> {
    let names = observed.files.names(below);
    if names.iter().any(|name| name == "_backup") {
        let found = format!("{below}: expected nobody else to write it, found _backup");
        return Err(Refusal::new(&case::SPEGEL, found));
    }
    for host in hosts {
        let Some((name, port)) = host.rsplit_once(':') else { continue };
        let other = format!("{name}_{port}_");
        if names.contains(&other) {
            let found = format!("{below}: expected {host} alone, found {other} beside it");
            return Err(Refusal::new(&case::OTHER_SPELLING, found));
        }
    }
    let foreign = names.iter().filter(|name| !hosts.contains(name.as_str()));
    let foreign: Vec<&str> = foreign
        .filter(|name| {
            let directory = below.join(name);
            let files = observed.files.names(&directory).iter().map(|file| directory.join(file));
            files.into_iter().any(|path| {
                !changes.is_known(&path)
                    && observed.files.file(&path).is_some_and(|file| !is_marked(&file.bytes))
            })
        })
        .map(String::as_str)
        .collect();
    if !foreign.is_empty() {
        let found = format!("{below} holds {} of somebody else", foreign.join(", "));
        changes.met(&case::FOREIGN_ELSEWHERE, &found);
    }
    Ok(())
}

/// Whether containerd trusts what lies there already, and a file of ours would end that.
pub(super) fn is_left_as_it_is(
    desired: &Desired<'_>,
    observed: &Observed,
    path: &HostPath,
    file: &str,
    changes: &mut Changes<'_>,
) -> bool {
    let Some((host, "hosts.toml")) = file.split_once('/') else { return false };
    let mirrors = Mirrors::new(desired.declaration.rules());
    let is_target_alone = !mirrors.hosts().any(|(found, _)| found == host) && host != "_default";
    let registry = desired.declaration.registry.as_ref().filter(|registry| registry.covers(host));
    let trusts = registry.is_some_and(|registry| registry.insecure || !registry.ca.is_empty());
    let directory = path.parent().unwrap_or_else(|| HostPath::new("/"));
    let has = |end: &str| {
        let mut names = observed.files.names(&directory).iter();
        names.any(|name| name.ends_with(end) && name != "ca.crt")
    };
    let certificates = has(".crt") || has(".cert");
    let hosts_toml = observed.files.exists(path);
    let left = is_target_alone && !trusts && certificates && !hosts_toml;
    if left {
        changes.met(&case::DOCKER_LAYOUT, &format!("{directory} holds certificates"));
    }
    left
}
