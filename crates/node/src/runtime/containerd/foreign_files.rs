//! Files of other tools below `certs.d`, and their settings that image-swap's files keep.
//!
//! A `hosts.toml` of image-swap replaces the mirrors of another tool's file. Certificates,
//! client certificates, `skip_verify`, headers and another `server` are kept, since a host
//! that needs them could not pull any more. They are kept for the same registry host alone.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_core::{declaration::Registry, render};
use image_swap_text::toml::{EditError, Item, Toml, string};

use crate::{
    condition::{self, HostCondition, PlanRefusal},
    desired::DesiredConfig,
    files::HostPath,
    observed::ObservedHost,
    plan::{
        Contact,
        builder::{PlanBuilder, is_marked},
    },
    runtime::{containerd::settings::HostSettings, layout},
};

/// The name of every file of settings.
pub(super) const HOSTS: &str = "hosts.toml";
/// The directory for all hosts without one.
const DEFAULT: &str = "_default";
/// The host at which Docker Hub's registry answers.
const HUB: &str = "registry-1.docker.io";
/// Names by which files call Docker Hub.
const HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", HUB];

/// A `hosts.toml` of another tool.
struct ForeignHosts {
    path: HostPath,
    /// The URL of each `[host]` table, and its settings.
    hosts: Vec<(String, HostSettings)>,
    /// The URL that is requested last; `None` if that is the registry itself.
    server: Option<String>,
    /// The settings of the host in `server`.
    root: HostSettings,
    /// Further keys for `server`, as TOML.
    more: Vec<(&'static str, String)>,
}

/// The files of other tools.
pub(super) struct ForeignFiles<'a, 'o> {
    pub(super) observed: &'o ObservedHost,
    pub(super) changes: &'a mut PlanBuilder<'o>,
    /// The directories of `config_path`, in the order in which containerd searches them.
    pub(super) directories: &'a [HostPath],
    /// The `tls` tables that an edit removes from config.toml, by host.
    pub(super) tls: &'a BTreeMap<String, HostSettings>,
    /// The registry whose declared credentials are in config.toml instead of a header.
    pub(super) authorized: Option<&'a Registry>,
}

/// A `hosts.toml` of image-swap, with the settings that it keeps.
pub(super) struct KeptHosts {
    pub(super) text: String,
    /// True if a header was kept: it may be a credential.
    pub(super) secret: bool,
    /// The `server` that was kept.
    pub(super) server: Option<String>,
}

impl ForeignFiles<'_, '_> {
    /// Adds the kept settings of other files to `text`, the `hosts.toml` of `name`.
    ///
    /// # Errors
    /// If other files contradict each other, or name files that are missing.
    pub(super) fn keep(&mut self, name: &str, text: String) -> Result<KeptHosts, PlanRefusal> {
        let mut kept = KeptHosts { text, secret: false, server: None };
        let directory = self.directory(name);
        let own = self.directories.first().map(|directory| directory.join(name).join(HOSTS));
        let replaced = directory.as_ref().filter(|directory| directory.name() == name);
        let replaced = replaced.map(|directory| directory.join(HOSTS)).filter(|path| {
            let changes = &*self.changes;
            changes.before(path).is_some() && own.is_none_or(|own| !changes.is_known(&own))
        });
        if let Some(replaced) = replaced {
            let found = format!("{replaced} is of another tool");
            self.changes.note_case(&condition::FOREIGN_HOSTS, &found);
        }
        let (urls, server) = match Toml::parse(&kept.text) {
            Ok(toml) => (
                toml.keys(&["host"]).into_iter().map(str::to_owned).collect(),
                toml.str(&["server"]).map(str::to_owned),
            ),
            Err(_) => (Vec::new(), None),
        };
        for url in &urls {
            let settings = self.of_mirror(name, url)?;
            self.put(&mut kept, name, &["host", url], url, settings)?;
        }
        if let Some(url) = server {
            let settings = self.of_mirror(name, &url)?;
            self.put(&mut kept, name, &[], &url, settings)?;
        } else {
            self.upstream(name, &mut kept)?;
        }
        if let Some(default) = directory.filter(|found| found.name() != name) {
            self.changes.plan.notes.push(format!(
                "{default} is of another tool: its mirrors are no longer used for {name}; its \
                 certificates, `skip_verify`, headers and `server` are kept"
            ));
        }
        // Each value of a header may be a credential.
        let foreign = self.foreign(name);
        self.changes.plan.secrets.extend(foreign.iter().flat_map(ForeignHosts::headers));
        Ok(kept)
    }

    /// Returns the settings by which the runtime will reach `host`, whose URL has `scheme`.
    pub(super) fn contact(&self, scheme: &str, host: &str) -> Option<Contact> {
        let settings = self.direct(scheme, host).ok()?;
        Some(self.contact_of(host, &settings))
    }

    /// Returns the directory that containerd reads for `name` without image-swap: that of
    /// `name`, else the one for all hosts without a directory.
    pub(super) fn directory(&self, name: &str) -> Option<HostPath> {
        let names = [name, DEFAULT];
        let directories = self.directories.iter().flat_map(|root| names.map(|it| root.join(it)));
        directories
            .into_iter()
            .find(|directory| !layout::names(self.changes, self.observed, directory).is_empty())
    }

    /// Keeps the registry that was requested last, and its settings.
    fn upstream(&mut self, name: &str, kept: &mut KeptHosts) -> Result<(), PlanRefusal> {
        let host = registry_of(name);
        let foreign = self.foreign(name).filter(|_| !self.tls.contains_key(host));
        let Some(foreign) = foreign else {
            let settings = self.without_file(host, name);
            return self.put(kept, name, &[], &["https://", host].concat(), settings);
        };
        if foreign.is_default(name) {
            let settings = self.one("https", host, &foreign.of(host, name), &foreign.path)?;
            return self.put(kept, name, &[], &["https://", host].concat(), settings);
        }
        let url = foreign.server.clone().unwrap_or_default();
        // Set in reverse: each key is inserted before the others.
        for (key, value) in foreign.more.iter().rev() {
            kept.set(name, &[key], value)?;
        }
        kept.set(name, &["server"], &string(&url))?;
        let note = format!("{}: its server {url} is requested last, as before", foreign.path);
        self.changes.plan.notes.push(note);
        kept.server = Some(url.clone());
        self.exist(&foreign.root, &foreign.path)?;
        self.put(kept, name, &[], &url, foreign.root)
    }

    /// Puts `settings` for `url` into the table at `path`, unless the declaration holds them.
    fn put(
        &mut self,
        kept: &mut KeptHosts,
        name: &str,
        path: &[&str],
        url: &str,
        mut settings: HostSettings,
    ) -> Result<(), PlanRefusal> {
        let host = host_of(url).1;
        let contact = self.contact_of(host, &settings);
        let plan = &mut self.changes.plan;
        plan.secrets.extend(contact.headers.values().cloned());
        plan.contacts.push(contact);
        let Ok(toml) = Toml::parse(&kept.text) else { return Ok(()) };
        let key = |key| [path, &[key]].concat();
        let declared_ca = toml.str(&key("ca")).map(str::to_owned);
        let insecure = toml.get(&key("skip_verify")).is_some();
        let authorization = toml.get(&[path, &["header", "Authorization"]].concat()).is_some();
        if let Some(ca) = &declared_ca {
            if settings.skip_verify {
                settings.skip_verify = false;
                plan.notes.push(format!(
                    "{host}: the declared CA_CERT is used instead of skip_verify of another file"
                ));
            }
            let declared = HostPath::new(ca);
            let own = self.directories.first().map(|directory| directory.join(name).join(ca));
            settings.ca.retain(|path| Some(path) != own.as_ref() && *path != declared);
            if !settings.ca.is_empty() {
                settings.ca.insert(0, own.unwrap_or(declared));
            }
        }
        if insecure {
            settings.ca.clear();
            settings.skip_verify = false;
        }
        if authorization || self.authorized.is_some_and(|registry| registry.covers(host)) {
            let before = settings.headers.len();
            settings.headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
            if settings.headers.len() < before {
                plan.notes.push(format!(
                    "{host}: the declared credentials are used instead of those in another file"
                ));
            }
        }
        kept.secret |= !settings.headers.is_empty();
        kept.text = settings.put(&kept.text, path).map_err(|error| cannot(name, &error))?;
        Ok(())
    }

    /// Returns the settings of the mirror `url` in the `hosts.toml` of `name`.
    fn of_mirror(&self, name: &str, url: &str) -> Result<HostSettings, PlanRefusal> {
        let (scheme, host) = host_of(url);
        if let Some(foreign) = self.foreign(name).filter(|_| !self.tls.contains_key(host)) {
            let found = foreign.of(host, name);
            if !found.is_empty() {
                return self.one(scheme, host, &found, &foreign.path);
            }
        }
        self.direct(scheme, host)
    }

    /// Returns the settings for requests to `host` itself.
    fn direct(&self, scheme: &str, host: &str) -> Result<HostSettings, PlanRefusal> {
        let name = if host == HUB { "docker.io" } else { host };
        match self.foreign(name).filter(|_| !self.tls.contains_key(host)) {
            Some(foreign) => self.one(scheme, host, &foreign.of(host, name), &foreign.path),
            None => Ok(self.without_file(host, name)),
        }
    }

    /// Returns the settings for `host` without a `hosts.toml` of `name` in force: those of
    /// config.toml, which exclude files below `certs.d`, else the certificates there.
    fn without_file(&self, host: &str, name: &str) -> HostSettings {
        match (self.tls.get(host), self.directory(name)) {
            (Some(settings), _) => settings.clone(),
            (None, Some(directory)) => self.layout(&directory),
            (None, None) => HostSettings::default(),
        }
    }

    /// Returns the one set of settings for `host` among those `found` in the file `path`.
    fn one(
        &self,
        scheme: &str,
        host: &str,
        found: &[(String, &HostSettings)],
        path: &HostPath,
    ) -> Result<HostSettings, PlanRefusal> {
        let odd = |found: String| condition::FOREIGN_HOSTS_ODD.refusal(found);
        let of_scheme: Vec<&HostSettings> =
            found.iter().filter(|(of, _)| *of == scheme).map(|(_, settings)| *settings).collect();
        if let (true, Some((other, _))) = (of_scheme.is_empty(), found.first()) {
            let found =
                format!("{path}: expected scheme {scheme} for {host} as declared, found {other}");
            return Err(odd(found));
        }
        let mut of_scheme = of_scheme.into_iter().filter(|settings| !settings.is_empty());
        let Some(settings) = of_scheme.next() else { return Ok(HostSettings::default()) };
        if of_scheme.any(|other| other != settings) {
            let found = format!(
                "{path}: the certificates, headers or skip_verify of {host} differ between its entries"
            );
            return Err(odd(found));
        }
        self.exist(settings, path)?;
        Ok(settings.clone())
    }

    /// Refuses settings of the file `path` that name a file that is not there.
    fn exist(&self, settings: &HostSettings, path: &HostPath) -> Result<(), PlanRefusal> {
        let files = &self.observed.files;
        match settings.files().find(|file| files.file(file).is_none()) {
            None => Ok(()),
            Some(missing) => {
                let found = format!("{path} names the file {missing}, which does not exist");
                Err(condition::FOREIGN_HOSTS_ODD.refusal(found))
            }
        }
    }

    /// Returns the certificates in a directory without `hosts.toml`, as docker keeps them.
    ///
    /// Source: containerd, `core/remotes/docker/config/hosts.go`, `loadCertFiles`.
    fn layout(&self, directory: &HostPath) -> HostSettings {
        let mut settings = HostSettings::default();
        let holds = |path: &HostPath, what: &str| {
            let file = self.changes.before(path);
            file.is_some_and(|file| String::from_utf8_lossy(&file.bytes).contains(what))
        };
        for name in layout::names(self.changes, self.observed, directory) {
            let path = directory.join(&name);
            if name.strip_suffix(".crt").is_some() && holds(&path, "BEGIN CERTIFICATE") {
                settings.ca.push(path);
            } else if let Some(stem) = name.strip_suffix(".cert") {
                let key = directory.join(&[stem, ".key"].concat());
                if holds(&path, "BEGIN CERTIFICATE") && holds(&key, "PRIVATE KEY") {
                    settings.client.push((path, Some(key)));
                }
            }
        }
        settings
    }

    /// Reads the `hosts.toml` of another tool for `name`; `None` if there is none, or if
    /// containerd cannot read it either.
    fn foreign(&self, name: &str) -> Option<ForeignHosts> {
        let directory = self.directory(name)?;
        let path = directory.join(HOSTS);
        let text = String::from_utf8(self.changes.before(&path)?.bytes).ok()?;
        ForeignHosts::parse(&text, path, &directory)
    }

    fn contact_of(&self, host: &str, settings: &HostSettings) -> Contact {
        let bytes = |path: &HostPath| {
            let file = self.changes.before(path);
            file.or_else(|| self.observed.files.file(path).cloned()).map(|file| file.bytes)
        };
        let client = settings
            .client
            .first()
            .and_then(|(cert, key)| Some((bytes(cert)?, bytes(key.as_ref().unwrap_or(cert))?)));
        let header = |(name, values): (&String, &Vec<String>)| (name.clone(), values.join(", "));
        Contact {
            host: host.to_owned(),
            authorities: settings.ca.iter().filter_map(bytes).collect(),
            client,
            skip_verify: settings.skip_verify,
            headers: settings.headers.iter().map(header).collect(),
            users_log_in: false,
        }
    }
}

impl ForeignHosts {
    fn parse(text: &str, path: HostPath, directory: &HostPath) -> Option<Self> {
        let toml = Toml::parse(text).ok()?;
        let of = |item: &Item| item.as_table_like().map(|table| HostSettings::of(table, directory));
        let hosts = toml.keys(&["host"]).into_iter();
        let hosts = hosts.map(|url| {
            let settings = toml.get(&["host", url]).and_then(of).unwrap_or_default();
            (url.to_owned(), settings)
        });
        let leaves = toml.leaves();
        let more = ["override_path", "capabilities"].into_iter();
        let more = more.filter_map(|key| Some((key, leaves.get(&vec![key.to_owned()])?.clone())));
        Some(Self {
            hosts: hosts.collect(),
            server: toml.str(&["server"]).filter(|url| !url.is_empty()).map(str::to_owned),
            root: toml.get(&[]).and_then(of).unwrap_or_default(),
            more: more.collect(),
            path,
        })
    }

    /// Returns the values of all headers.
    fn headers(&self) -> impl Iterator<Item = String> {
        let settings = self.hosts.iter().map(|(_, settings)| settings).chain([&self.root]);
        settings.flat_map(|settings| settings.headers.values().flatten().cloned())
    }

    /// Returns the scheme and the settings of each entry for `host`, in the file of `name`.
    fn of(&self, host: &str, name: &str) -> Vec<(String, &HostSettings)> {
        let hosts = self.hosts.iter().map(|(url, settings)| (host_of(url), settings));
        let server = self.server.as_deref().map_or(("https", registry_of(name)), host_of);
        let all = hosts.chain([(server, &self.root)]);
        let all = all.filter(|((_, of), _)| hub(of) == hub(host));
        all.map(|((scheme, _), settings)| (scheme.to_owned(), settings)).collect()
    }

    /// Returns true if the registry of `name` itself is requested last.
    fn is_default(&self, name: &str) -> bool {
        self.server.as_deref().is_none_or(|url| {
            let (scheme, host) = host_of(url);
            scheme == "https" && hub(host) == registry_of(name)
        })
    }
}

impl KeptHosts {
    fn set(&mut self, name: &str, path: &[&str], value: &str) -> Result<(), PlanRefusal> {
        if let Ok(toml) = Toml::parse(&self.text) {
            self.text = toml.set(path, value, &[]).map_err(|error| cannot(name, &error))?;
        }
        Ok(())
    }
}

/// Returns the certificates and keys to which a `hosts.toml` in `directory` refers.
pub(super) fn named_files(text: &str, directory: &HostPath) -> Vec<HostPath> {
    let path = directory.join(HOSTS);
    let Some(foreign) = ForeignHosts::parse(text, path, directory) else { return Vec::new() };
    let settings = foreign.hosts.iter().map(|(_, settings)| settings).chain([&foreign.root]);
    settings.flat_map(HostSettings::files).cloned().collect()
}

/// Returns the scheme and the host of a URL; without a scheme it is `https`.
fn host_of(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    (scheme, rest.split('/').next().unwrap_or_default())
}

/// Returns the host that serves the registry of the directory `name`.
fn registry_of(name: &str) -> &str {
    hub(name)
}

/// Returns `host`, or the host of Docker Hub under each of its names.
fn hub(host: &str) -> &str {
    if HUB_NAMES.contains(&host) { HUB } else { host }
}

fn cannot(name: &str, error: &EditError) -> PlanRefusal {
    let found = format!("{name}/{HOSTS}: {error}");
    condition::FOREIGN_HOSTS_ODD.refusal(found)
}

/// Refuses files beside the directories of image-swap that would take their place.
pub(super) fn check(
    observed: &ObservedHost,
    below: &HostPath,
    hosts: &BTreeSet<&str>,
    changes: &mut PlanBuilder<'_>,
) -> Result<(), PlanRefusal> {
    let names = observed.files.names(below);
    if names.iter().any(|name| name == "_backup") {
        let found = format!("{below} contains _backup");
        return Err(condition::SPEGEL.refusal(found));
    }
    for host in hosts {
        let Some((name, port)) = host.rsplit_once(':') else { continue };
        let other = format!("{name}_{port}_");
        if names.contains(&other) {
            let found = format!("{below} contains {other} beside {host}");
            return Err(condition::OTHER_SPELLING.refusal(found));
        }
    }
    let foreign = names.iter().filter(|name| !hosts.contains(name.as_str()));
    let foreign: Vec<&str> = foreign
        .filter(|name| {
            observed.files.paths(&below.join(name)).any(|path| {
                !changes.is_known(&path)
                    && observed.files.file(&path).is_some_and(|file| !is_marked(&file.bytes))
            })
        })
        .map(String::as_str)
        .collect();
    if !foreign.is_empty() {
        let found = format!("{below} contains {} of another tool", foreign.join(", "));
        changes.note_case(&condition::FOREIGN_ELSEWHERE, &found);
    }
    Ok(())
}

/// Returns the reason why image-swap writes no file beside another tool's files for a target.
/// Those files contain settings for direct requests, and the declaration has none.
pub(super) fn skip_reason(
    desired: &DesiredConfig<'_>,
    others: &ForeignFiles<'_, '_>,
    file: &render::RenderedFile,
) -> Option<(&'static HostCondition, String)> {
    let (host, name) = file.path.split_once('/')?;
    let mirrors = desired.declaration.mirrors();
    let is_target_alone = !mirrors.hosts().any(|(found, _)| found == host) && host != "_default";
    let registry = desired.declaration.registry.as_ref().filter(|registry| registry.covers(host));
    let trusts = registry.is_some_and(|registry| registry.insecure || !registry.ca.is_empty());
    if !is_target_alone || trusts || name != HOSTS || others.tls.contains_key(host) {
        return None;
    }
    let directory = others.directory(host).filter(|directory| directory.name() == host)?;
    let names = layout::names(others.changes, others.observed, &directory);
    if names.iter().any(|name| name == HOSTS) {
        return Some((&condition::FOREIGN_TARGET, format!("{directory} contains {HOSTS}")));
    }
    let certificates =
        names.iter().any(|name| [".crt", ".cert"].iter().any(|end| name.ends_with(end)));
    certificates.then(|| (&condition::DOCKER_LAYOUT, format!("{directory} contains certificates")))
}
