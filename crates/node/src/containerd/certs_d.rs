//! Files below `certs.d`, and one directory of them named in config.toml.

use std::{borrow::Cow, collections::BTreeSet};

use image_swap_core::{
    declaration::{Credential, Registry},
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
};

use super::{
    CERTS_D,
    config_path::Edit,
    directory::{Directory, is_read},
    migrate, neighbours, registry, sources, support,
};
use crate::{
    Desired, File, HostPath, Observed, Plan, Refusal, Row, Version, case,
    plan::{Changes, is_marked},
};

pub(super) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    let mut changes = Changes::new(observed, desired)?;
    let base = changes.base(&observed.config);
    let without_us = sources::without_us(observed, base.as_ref());
    let sources = sources::read(&without_us)?;
    support::check(observed, &sources, &mut changes)?;
    let registry = registry::Registry::new(&sources, &observed.config, observed.version);
    let directory = Directory::of(observed, &registry, &mut changes)?;
    let (Directory::InUse(below) | Directory::ToSet(below)) = &directory;
    let tokens = tokens_alone(desired, observed);
    if let Some(registry) = tokens {
        let found = format!("{} takes tokens alone", registry.domain);
        changes.edits(&observed.config, &case::TOKENS_ALONE, &found);
    }
    let rendered = render(desired, tokens.is_some());
    if let Some((_, spot)) = registry.auth.first() {
        changes.met(&case::AUTH_TABLE, &format!("{} has credentials", spot.path));
    }
    let hosts: BTreeSet<&str> =
        rendered.files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    let migrated = migrate::of(observed, &sources, &registry, &hosts, desired, &mut changes)?;
    neighbours::check(observed, below, &hosts, &mut changes)?;

    for file in &rendered.files {
        let path = below.join(&file.path);
        if neighbours::is_left_as_it_is(desired, observed, &path, &file.path, &mut changes) {
            continue;
        }
        let there = observed.files.file(&path);
        if there
            .is_some_and(|there| there.bytes != file.text.as_bytes() && !is_marked(&there.bytes))
            && !changes.is_known(&path)
        {
            changes.met(&case::FOREIGN_HOSTS, &format!("{path} is somebody else's"));
        }
        let bytes = file.text.clone().into_bytes();
        changes.whole(path, if file.secret { File::secret(bytes) } else { File::public(bytes) });
    }
    for (path, file) in &migrated.files {
        changes.whole(below.join(path), file.clone());
    }
    // Files that a plan of ours has changed already are pending, and said to be so.
    let in_force = observed.in_force.as_deref().is_none_or(|path| path == below.as_str());
    if !in_force && matches!(directory, Directory::InUse(_)) {
        let now = observed.in_force.as_deref().filter(|path| !path.is_empty()).unwrap_or("nothing");
        changes.unread = Some(format!(
            "config_path is {below} in the files, and {now} in the containerd that runs"
        ));
    }
    let is_read = is_read(observed, below) && in_force;
    if matches!(directory, Directory::ToSet(_)) || !migrated.paths.is_empty() || tokens.is_some() {
        let edit = Edit { below, migrated: &migrated, credentials: tokens };
        let (file, base) = edit.of(observed, base, &sources, &mut changes)?;
        if base.as_ref() != Some(&file) {
            changes.edited(observed.config.clone(), file, base);
        }
    }
    let rows = rows(desired, below, is_read, &changes);
    changes.plan_of(rendered, rows)
}

/// The directories whose hosts matter, and what is in them.
pub(super) fn unseen(observed: &Observed) -> Vec<HostPath> {
    let files = &observed.files;
    let mut directories = vec![HostPath::new(CERTS_D)];
    if let Ok(sources) = sources::read(observed) {
        let registry = registry::Registry::new(&sources, &observed.config, observed.version);
        let list = registry.config_path.iter().flat_map(|(list, _)| list.split(':'));
        directories.extend(list.map(HostPath::new));
    }
    let mut unseen = Vec::new();
    for directory in directories {
        let mut above = Some(directory.clone());
        while let Some(path) = above {
            above = path.parent();
            unseen.push(path);
        }
        for host in files.names(&directory) {
            let host = directory.join(host);
            let names = files.names(&host).iter().map(|name| host.join(name));
            unseen.extend(names);
            unseen.push(host);
        }
    }
    unseen.retain(|path| files.get(path).is_none());
    unseen
}

/// The files, without credentials if those go elsewhere.
fn render(desired: &Desired<'_>, anonymous: bool) -> Rendered {
    let options = Options {
        fallback: desired.fallback,
        show_credentials: true,
        header_over_http: desired.header_over_http,
        ..Options::default()
    };
    let mut declaration = Cow::Borrowed(desired.declaration);
    if anonymous && let Some(registry) = &mut declaration.to_mut().registry {
        registry.username = Credential::default();
    }
    let format = Format::named("containerd");
    format.map(|format| format.render(&declaration, options)).unwrap_or_default()
}

/// The declared registry, if a header is of no use there: containerd before 2.1
/// does not send it to where tokens are given.
fn tokens_alone<'a>(desired: &Desired<'a>, observed: &Observed) -> Option<&'a Registry> {
    const SENT: Version = Version::new(2, 1, 0);
    let registry = desired.declaration.registry.as_ref();
    let before = observed.version.is_none_or(|version| version < SENT);
    registry.filter(|registry| observed.tokens_alone && before && !registry.username.is_empty())
}

/// What each host is told.
fn rows(desired: &Desired<'_>, below: &HostPath, is_read: bool, changes: &Changes<'_>) -> Vec<Row> {
    let mirrors = Mirrors::new(desired.declaration.rules());
    let hosts = mirrors
        .hosts()
        .chain((!mirrors.elsewhere().is_empty()).then(|| ("_default", mirrors.elsewhere())));
    let rows = hosts.map(|(host, endpoints)| {
        let path = below.join(host).join("hosts.toml");
        let mut urls: Vec<String> =
            endpoints.iter().map(|endpoint| mirrors.api_url(endpoint)).collect();
        if (urls.is_empty() || desired.fallback == Fallback::Upstream) && host != "_default" {
            urls.push(mirrors.registry_url(host));
        }
        Row { host: host.to_owned(), state: changes.state(&path, is_read), path, urls }
    });
    rows.collect()
}
