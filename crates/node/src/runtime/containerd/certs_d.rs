//! Files below `certs.d`, and one directory of them named in config.toml.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use image_swap_core::{
    declaration::{Credential, Registry},
    render::{CONTAINERD, OVER_HTTP, Rendered},
};

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostFile, HostPath},
    observed::ObservedHost,
    owner,
    plan::HostPlan,
    runtime::{
        containerd::{
            foreign_files::{self, ForeignFiles, HOSTS, named_files},
            imports::{self, PlanInput},
            main_file::ConfigPathEdit,
            migrate,
            registry::{CERTS_D, EffectiveRegistry, hosts_directories, in_use, is_read},
            settings::HostSettings,
        },
        layout,
    },
};

pub(super) fn plan(input: PlanInput<'_, '_>) -> Result<HostPlan, PlanRefusal> {
    let PlanInput { desired, observed, sources, base, mut changes } = input;
    let registry = EffectiveRegistry::new(sources, observed);
    let (directories, is_set) = hosts_directories(observed, &registry, &mut changes)?;
    let below = &directories[0];
    let tokens = bearer_only(desired, observed);
    if let Some(registry) = tokens {
        let found = format!("{} accepts only tokens", registry.domain);
        changes.note_case_for_edit(&observed.config, &condition::TOKENS_ALONE, &found);
    }
    let rendered = render(desired, tokens.is_some());
    if let Some((_, spot)) = registry.auth.first() {
        changes.note_case(&condition::AUTH_TABLE, &format!("{} has credentials", spot.path));
    }
    let hosts: BTreeSet<&str> =
        rendered.files.iter().filter_map(|file| Some(file.path.split_once('/')?.0)).collect();
    let declared = desired.declaration.mirrors();
    let migrated = migrate::migrate(observed, sources, &registry, &hosts, declared, &mut changes)?;
    foreign_files::check(observed, below, &hosts, &mut changes)?;
    if let Some((other, host)) =
        in_use(observed, &directories[1..]).filter(|_| hosts.contains("_default"))
    {
        let found = format!(
            "{below}: a default rule needs one directory as config_path, found {host} below {other}"
        );
        return Err(condition::COLON_LIST_IN_USE.refusal(found));
    }

    for other in
        directories[1..].iter().filter(|it| observed.is_mounted && !observed.files.exists(it))
    {
        let note = format!(
            "{other} is searched after {below} and is not mounted: certificates in it are unknown"
        );
        changes.plan.notes.push(note);
    }
    let mut foreign = ForeignFiles {
        observed,
        changes: &mut changes,
        directories: &directories,
        tls: &migrated.tls,
        authorized: tokens,
    };
    let servers = foreign.files(desired, &rendered)?;
    for (path, file) in &migrated.files {
        changes.whole(below.join(path), file.clone());
    }
    // Files that an earlier plan of image-swap changed are reported as pending.
    let in_force = observed.in_force.as_deref().is_none_or(|list| {
        let paths = list.split(':').filter(|path| !path.is_empty()).map(HostPath::new);
        paths.collect::<Vec<_>>() == directories
    });
    if !in_force && is_set {
        let now = observed.in_force.as_deref().filter(|path| !path.is_empty()).unwrap_or("nothing");
        changes.unread = Some(format!(
            "config_path is {below} in the files, and {now} in the running containerd"
        ));
    }
    let is_unread = !rendered.files.is_empty() && changes.depends_on_start();
    let is_read = is_read(observed, below) && in_force && !is_unread;
    if !is_set || !migrated.paths.is_empty() || tokens.is_some() {
        let authorized = authorized_hosts(desired, tokens);
        let edit =
            ConfigPathEdit { below, migrated: &migrated, credentials: tokens, hosts: &authorized };
        let (file, base) = edit.of(observed, base, sources, &mut changes)?;
        if base.as_ref().is_none_or(|base| !base.is_like(&file)) {
            changes.edited(observed.config.clone(), file, base);
        }
    }
    changes.plan.mirror_directory = Some(below.clone());
    let hosts = desired.urls(|host| servers.get(host).cloned());
    let rows = changes.rows(hosts, is_read, |host| below.join(host).join(HOSTS));
    changes.plan_of(rendered, rows)
}

impl ForeignFiles<'_, '_> {
    /// Collects the `rendered` files, with settings that they keep of other tools' files. Returns
    /// the kept `server` of each host.
    fn files(
        &mut self,
        desired: &DesiredConfig<'_>,
        rendered: &Rendered,
    ) -> Result<BTreeMap<String, String>, PlanRefusal> {
        let mut servers = BTreeMap::new();
        let Some(below) = self.directories.first() else { return Ok(servers) };
        for file in &rendered.files {
            if let Some((case, found)) = foreign_files::skip_reason(desired, self, file) {
                self.changes.note_case(case, &found);
                continue;
            }
            let (name, base) = file.path.split_once('/').unwrap_or_default();
            let ca = rendered.files.iter().find(|file| file.path == [name, "/ca.crt"].concat());
            let ca = ca.map_or("ca.crt", |ca| {
                layout::name_of_ca(self.changes, &below.join(name), ca.text.as_bytes())
            });
            if base != HOSTS {
                let path = below.join(name).join(ca);
                self.changes.whole(path, HostFile::public(file.text.clone()));
                continue;
            }
            let text = file.text.replace("\"ca.crt\"", &["\"", ca, "\""].concat());
            let kept = self.keep(name, text)?;
            servers.extend(kept.server.map(|server| (name.to_owned(), server)));
            let kept_file = HostFile::new(kept.text, kept.secret || file.secret);
            self.changes.whole(below.join(&file.path), kept_file);
        }
        let mirrors = desired.declaration.mirrors();
        for host in mirrors.targets() {
            let contact = self.contact(mirrors.scheme(host), host);
            self.changes.plan.contacts.extend(contact);
        }
        Ok(servers)
    }
}

/// Returns the paths that have to be read: directories with declared hosts, and their entries.
pub(super) fn unread_paths(observed: &ObservedHost) -> Vec<HostPath> {
    let files = &observed.files;
    let mut unseen = Vec::new();
    let mut directories = vec![HostPath::new(CERTS_D)];
    if let Ok(sources) = imports::read(observed) {
        let registry = EffectiveRegistry::new(&sources, observed);
        directories.extend(registry.directories());
        // Hosts in tables of config.toml get files below these directories.
        for (host, spot) in &registry.tls {
            let source = sources.iter().find(|source| source.path == spot.path);
            let path = ["plugins", spot.plugin, "registry", "configs", host, "tls"];
            let path = path.map(str::to_owned);
            let tls = source.map(|source| HostSettings::of_tls(&source.toml, &path));
            unseen.extend(tls.iter().flat_map(HostSettings::files).cloned());
        }
    }
    directories.extend(owner::certs_d(observed));
    for directory in directories {
        let mut above = Some(directory.clone());
        while let Some(path) = above {
            above = path.parent();
            unseen.push(path);
        }
        for host in files.paths(&directory) {
            unseen.extend(files.paths(&host));
            let text = files.text(&host.join(HOSTS)).unwrap_or_default();
            unseen.extend(named_files(text, &host));
            unseen.push(host);
        }
    }
    // Files that image-swap has replaced name certificates too.
    for (path, written) in observed.ledger().ok().flatten().into_iter().flat_map(|it| it.files) {
        let before = written.before.file().filter(|_| path.name() == HOSTS);
        let text = before.and_then(|file| String::from_utf8(file.bytes).ok());
        if let (Some(text), Some(directory)) = (text, path.parent()) {
            unseen.extend(named_files(&text, &directory));
        }
    }
    unseen.retain(|path| files.get(path).is_none());
    unseen
}

/// Renders the files of all hosts; `anonymous` omits credentials, which then go to config.toml.
fn render(desired: &DesiredConfig<'_>, anonymous: bool) -> Rendered {
    let options = desired.options();
    let mut declaration = Cow::Borrowed(desired.declaration);
    if anonymous && let Some(registry) = &mut declaration.to_mut().registry {
        registry.username = Credential::default();
    }
    let mut rendered = CONTAINERD.render(&declaration, options);
    // The credential goes to config.toml, which omits it for plain HTTP too.
    if anonymous && CONTAINERD.render(desired.declaration, options).notes.contains(&OVER_HTTP) {
        rendered.notes.push(OVER_HTTP);
    }
    rendered
}

/// Returns the declared registry if its credential is of no use in a header.
fn bearer_only<'a>(desired: &DesiredConfig<'a>, observed: &ObservedHost) -> Option<&'a Registry> {
    let registry = desired.declaration.registry.as_ref();
    let bearer_only = observed.bearer_only && observed.drops_headers();
    registry.filter(|registry| bearer_only && !registry.username.is_empty())
}

/// Returns the hosts for whose credentials config.toml has a table: DOMAIN, and the targets of
/// CREDENTIAL_HOSTS. Hosts that are reached by plain HTTP are left out.
#[expect(clippy::doc_markdown, reason = "the names of the keys")]
fn authorized_hosts(desired: &DesiredConfig<'_>, registry: Option<&Registry>) -> Vec<String> {
    let Some(registry) = registry else { return Vec::new() };
    let mirrors = desired.declaration.mirrors();
    let is_sent = |host: &str| desired.header_over_http || mirrors.scheme(host) == "https";
    let others = mirrors.targets().filter(|host| *host != registry.domain);
    let others = others.filter(|host| registry.covers(host));
    let hosts = [&*registry.domain].into_iter().chain(others).filter(|host| is_sent(host));
    hosts.map(str::to_owned).collect()
}
