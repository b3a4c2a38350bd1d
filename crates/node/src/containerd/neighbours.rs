//! What lies below `certs.d` beside our files.

use std::collections::BTreeSet;

use image_swap_core::render::{self, Rendered};

use super::others::{HOSTS, Others};
use crate::{
    Case, Desired, HostPath, Observed, Refusal, case,
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

/// Returns why no file of image-swap goes beside the files of another tool for a target: they
/// hold what direct requests need, and nothing is declared instead.
pub(super) fn left_as_it_is(
    desired: &Desired<'_>,
    others: &Others<'_, '_>,
    file: &render::File,
) -> Option<(&'static Case, String)> {
    let (host, name) = file.path.split_once('/')?;
    let mirrors = desired.declaration.mirrors();
    let is_target_alone = !mirrors.hosts().any(|(found, _)| found == host) && host != "_default";
    let registry = desired.declaration.registry.as_ref().filter(|registry| registry.covers(host));
    let trusts = registry.is_some_and(|registry| registry.insecure || !registry.ca.is_empty());
    if !is_target_alone || trusts || name != HOSTS || others.tls.contains_key(host) {
        return None;
    }
    let directory = others.directory(host).filter(|directory| directory.name() == host)?;
    let names = others.names(&directory);
    if names.iter().any(|name| name == HOSTS) {
        return Some((&case::FOREIGN_TARGET, format!("{directory} holds {HOSTS}")));
    }
    let certificates =
        names.iter().any(|name| [".crt", ".cert"].iter().any(|end| name.ends_with(end)));
    certificates.then(|| (&case::DOCKER_LAYOUT, format!("{directory} holds certificates")))
}

/// Returns the name of the declared CA beside `file`: another tool's `ca.crt` keeps its name.
pub(super) fn name_of_ca(
    others: &Others<'_, '_>,
    below: &HostPath,
    file: &render::File,
    rendered: &Rendered,
) -> &'static str {
    const CA: &str = "ca.crt";
    let name = file.path.split_once('/').map_or("", |(host, _)| host);
    let own = rendered.files.iter().find(|file| file.path == [name, "/", CA].concat());
    let other = others.changes.before(&below.join(name).join(CA));
    match (own, other) {
        (Some(own), Some(other)) if other.bytes != own.text.as_bytes() => "image-swap-ca.crt",
        _ => CA,
    }
}
