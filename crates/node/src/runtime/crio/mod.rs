//! CRI-O and podman: a drop-in of registries.conf, CAs below certs.d, and for CRI-O a file of
//! credentials.
//!
//! The longest prefix wins, whatever file it is in; of equal prefixes the last file wins. A
//! drop-in of image-swap replaces the mirrors of a prefix, and keeps `location`, `insecure` and
//! `blocked`. An invalid file stops all pulls.
//!
//! Source: containers-registries.conf(5), containers-registries.conf.d(5),
//! containers-certs.d(5), crio.conf(5); containers/image, `sysregistriesv2`.

mod registries;

use std::collections::BTreeSet;

use image_swap_core::{
    mirror::{Fallback, MirrorTable},
    render::{MARKER, REGISTRIES_CONF, Rendered},
};
use image_swap_text::toml::{DocumentMut, Item, Table, Toml, string, value};

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostFile, HostPath},
    observed::ObservedHost,
    plan::{Contact, HostPlan, builder::PlanBuilder},
    runtime::{
        crio::registries::{ForeignRegistries, RegistryTable, host_of, parse},
        glob,
        kind::ContainerRuntime,
        layout,
    },
};

const MAIN: &str = "/etc/containers/registries.conf";
const DROP_INS: &str = "/etc/containers/registries.conf.d";
const CONTAINERS: &str = "/etc/containers";
/// The directories of certificates, in the order of the search. Only the first that has a directory
/// of the host is read.
const CERTS_D: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
const CRIO: &str = "/etc/crio/crio.conf";
const CRIO_DROP_INS: &str = "/etc/crio/crio.conf.d";
const CRIO_OURS: &str = "/etc/crio/crio.conf.d/50-image-swap.conf";
const AUTH: &str = "/etc/crio/image-swap-auth.json";

pub(crate) fn plan(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
) -> Result<HostPlan, PlanRefusal> {
    let mut changes = PlanBuilder::new(observed, Some(desired.form), desired.restart)?;
    let rendered = render(desired);
    let mut insecure = BTreeSet::new();
    for file in &rendered.files {
        let bytes = file.text.clone().into_bytes();
        match file.path.as_str() {
            "registries.conf" => {
                let foreign = foreign(observed, &changes)?;
                let kept = KeptRegistries { desired, foreign, text: &file.text };
                let (text, hosts) = kept.text(&mut changes)?;
                insecure = hosts;
                changes.whole(observed.config.clone(), HostFile::public(text));
            }
            "auth.json" if observed.runtime == ContainerRuntime::Crio => {
                credentials(observed)?;
                let text = format!("{MARKER}[crio.image]\nglobal_auth_file = {}\n", string(AUTH));
                changes.whole(AUTH.into(), HostFile::secret(bytes));
                changes.whole(CRIO_OURS.into(), HostFile::public(text));
                // The file of mirrors is read again on reload.
                changes.depends_on_start();
            }
            "auth.json" => {
                let note = "podman takes the credentials of its users; run `podman login`";
                changes.plan.notes.push(note.to_owned());
            }
            path => {
                let host = path.split('/').nth(1).unwrap_or_default();
                let directory = certificates(&changes, observed, host);
                let name = layout::name_of_ca(&changes, &directory, &bytes);
                changes.whole(directory.join(name), HostFile::public(bytes));
            }
        }
    }
    for host in desired.declaration.mirrors().targets() {
        let directory = certificates(&changes, observed, host);
        let contact = layout::contact(&changes, observed, &directory, host);
        let users_log_in = observed.runtime == ContainerRuntime::Podman;
        let skip_verify = insecure.contains(host);
        changes.plan.contacts.push(Contact { skip_verify, users_log_in, ..contact });
    }
    changes.plan.mirror_directory = Some(DROP_INS.into());
    let hosts = desired.urls(|_| None).filter(|(host, _)| *host != "_default");
    let rows = changes.rows(hosts, true, |_| observed.config.clone());
    changes.plan_of(rendered, rows)
}

/// Returns the paths to look at.
pub(crate) fn unread_paths(
    desired: Option<&DesiredConfig<'_>>,
    observed: &ObservedHost,
) -> Vec<HostPath> {
    let files = &observed.files;
    let mut paths: Vec<HostPath> =
        [MAIN, DROP_INS, CRIO, CRIO_DROP_INS, CRIO_OURS, AUTH].map(HostPath::new).into();
    for directory in [DROP_INS, CRIO_DROP_INS].map(HostPath::new) {
        paths.extend(files.paths(&directory));
    }
    let rendered = desired.map(render).unwrap_or_default();
    paths.extend(rendered.files.iter().map(|file| HostPath::new(CONTAINERS).join(&file.path)));
    let targets = desired.map(|desired| desired.declaration.mirrors());
    for host in targets.into_iter().flat_map(MirrorTable::targets) {
        paths.extend(CERTS_D.iter().flat_map(|directory| {
            layout::unread_paths(&HostPath::new(directory).join(host), observed)
        }));
    }
    paths
}

/// Returns the files that CRI-O reads when it starts.
pub(crate) fn paths_at_start(observed: &ObservedHost) -> Vec<HostPath> {
    observed.files.paths(&CRIO_DROP_INS.into()).chain([CRIO.into()]).collect()
}

/// Returns the directory of certificates that is read for `host`.
fn certificates(changes: &PlanBuilder<'_>, observed: &ObservedHost, host: &str) -> HostPath {
    let [first, second] = CERTS_D.map(|directory| HostPath::new(directory).join(host));
    let is_used = |directory: &HostPath| !layout::names(changes, observed, directory).is_empty();
    if !is_used(&first) && is_used(&second) { second } else { first }
}

fn render(desired: &DesiredConfig<'_>) -> Rendered {
    REGISTRIES_CONF.render(desired.declaration, desired.options())
}

/// Reads the registries of all other files, in the order in which they are read.
fn foreign(
    observed: &ObservedHost,
    changes: &PlanBuilder<'_>,
) -> Result<ForeignRegistries, PlanRefusal> {
    let drop_ins = HostPath::new(DROP_INS);
    let pattern = [DROP_INS, "/*.conf"].concat();
    let found = glob::expand(&pattern, &observed.files, &mut Vec::new());
    let mut foreign = ForeignRegistries::default();
    let paths = [HostPath::new(MAIN)].into_iter().chain(found);
    for path in paths.filter(|path| *path != observed.config) {
        let Some(file) = observed.files.file(&path) else { continue };
        let unreadable = |found: &str| {
            condition::UNREADABLE.refusal(format!("{path}: expected TOML, found {found}"))
        };
        let text = std::str::from_utf8(&file.bytes).map_err(|_| unreadable("other bytes"))?;
        let toml = parsed(&path, text)?;
        let old = ["search", "insecure", "block"];
        if let Some(key) = old.into_iter().find(|key| toml.get(&["registries", key]).is_some()) {
            let found = format!("{path}: expected [[registry]] tables, found registries.{key}");
            return Err(condition::REGISTRIES_ONE.refusal(found));
        }
        let registries = parse(&toml)
            .map_err(|found| condition::REGISTRIES_INVALID.refusal(format!("{path}: {found}")))?;
        let later = path > observed.config && path.is_below(&drop_ins);
        foreign.add(&path, later, registries);
    }
    // Another tool may have used the name of image-swap's own file.
    if let Some(before) = changes.before(&observed.config) {
        let text = String::from_utf8_lossy(&before.bytes).into_owned();
        let registries = Toml::parse(&text).ok().and_then(|toml| parse(&toml).ok());
        foreign.add(&observed.config, false, registries.unwrap_or_default());
    }
    Ok(foreign)
}

/// The settings of other files that a drop-in keeps.
struct KeptRegistries<'a, 'd> {
    desired: &'a DesiredConfig<'d>,
    foreign: ForeignRegistries,
    text: &'a str,
}

impl KeptRegistries<'_, '_> {
    /// Returns the text of the drop-in, and the hosts whose certificates are not verified
    /// because of another file.
    fn text(
        &self,
        changes: &mut PlanBuilder<'_>,
    ) -> Result<(String, BTreeSet<String>), PlanRefusal> {
        let mut insecure = BTreeSet::new();
        let Ok(mut document) = self.text.parse::<DocumentMut>() else {
            return Ok((self.text.to_owned(), insecure));
        };
        let mirrors = self.desired.declaration.mirrors();
        let mut edited = false;
        let mut left = Vec::new();
        let tables = document.get_mut("registry").and_then(Item::as_array_of_tables_mut);
        for (number, table) in tables.into_iter().flat_map(|tables| tables.iter_mut()).enumerate() {
            let prefix = table.get("prefix").and_then(Item::as_str);
            let prefix = prefix.unwrap_or_default().to_owned();
            self.refuse_other_files(&prefix, changes)?;
            let is_target = !table.contains_key("mirror");
            let Some((path, registry)) = self.foreign.of(&prefix) else {
                edited |= self.mirrors(table, None, &mut insecure);
                continue;
            };
            let is_rule = prefix.contains('/') || mirrors.hosts().any(|(host, _)| host == prefix);
            if is_target && !is_rule {
                if registry.blocked {
                    let found = format!("{path} blocks the target {prefix}");
                    return Err(condition::REGISTRIES_BLOCKED.refusal(found));
                }
                if registry.insecure {
                    insecure.insert(host_of(&prefix).to_owned());
                }
                // The other file contains all that is declared.
                if !table.contains_key("insecure") {
                    let found = format!("{path} has [[registry]] for {}", registry.prefix);
                    changes.note_case(&condition::REGISTRIES_TARGET, &found);
                    left.push(number);
                    continue;
                }
            }
            if let Some(path) = self.foreign.later(&prefix) {
                let found = format!("{path} has [[registry]] for {prefix}");
                return Err(condition::REGISTRIES_LATER.refusal(found));
            }
            let found = format!("{path} has [[registry]] for {}", registry.prefix);
            changes.note_case(&condition::REGISTRIES_EARLIER, &found);
            if let Some(location) = registry.location_of(&prefix).filter(|to| *to != prefix) {
                table["location"] = value(location);
                edited = true;
            }
            for (key, set) in [("insecure", registry.insecure), ("blocked", registry.blocked)] {
                if set && !table.contains_key(key) {
                    table[key] = value(true);
                    edited = true;
                }
            }
            edited |= self.mirrors(table, Some(registry), &mut insecure);
        }
        if let Some(tables) = document.get_mut("registry").and_then(Item::as_array_of_tables_mut) {
            for number in left.iter().rev() {
                tables.remove(*number);
            }
        }
        let text =
            if edited || !left.is_empty() { document.to_string() } else { self.text.to_owned() };
        Ok((text, insecure))
    }

    /// Keeps `insecure` of the mirrors of image-swap in `table`.
    fn mirrors(
        &self,
        table: &mut Table,
        registry: Option<&RegistryTable>,
        insecure: &mut BTreeSet<String>,
    ) -> bool {
        let mut edited = false;
        let mirrors = table.get_mut("mirror").and_then(Item::as_array_of_tables_mut);
        for mirror in mirrors.into_iter().flat_map(|mirrors| mirrors.iter_mut()) {
            let location = mirror.get("location").and_then(Item::as_str);
            let host = host_of(location.unwrap_or_default()).to_owned();
            let declared = self.desired.declaration.registry.as_ref();
            let has_ca = declared.is_some_and(|it| it.domain == host && !it.ca.is_empty());
            let there = registry.and_then(|registry| {
                registry.mirrors.iter().find(|(location, _)| host_of(location) == host)
            });
            let is_insecure = there.map_or_else(
                || self.foreign.of(&host).is_some_and(|(_, registry)| registry.insecure),
                |(_, insecure)| *insecure,
            );
            if is_insecure && !has_ca && !mirror.contains_key("insecure") {
                mirror["insecure"] = value(true);
                insecure.insert(host);
                edited = true;
            }
        }
        edited
    }

    /// Refuses or reports other files' rules that win over the one for `prefix`.
    fn refuse_other_files(
        &self,
        prefix: &str,
        changes: &mut PlanBuilder<'_>,
    ) -> Result<(), PlanRefusal> {
        let lines = self.text.lines();
        let own: Vec<&str> =
            lines.filter_map(|line| line.strip_prefix("prefix = \"")?.strip_suffix('"')).collect();
        for (path, longer) in self.foreign.longer(prefix, &own) {
            let found = format!("{path} has [[registry]] for {longer}, longer than {prefix}");
            if self.desired.fallback == Fallback::Never {
                return Err(condition::REGISTRIES_LONGER_NEVER.refusal(found));
            }
            changes.note_case(&condition::REGISTRIES_LONGER, &found);
        }
        Ok(())
    }
}

fn parsed<'a>(path: &HostPath, text: &'a str) -> Result<Toml<'a>, PlanRefusal> {
    Toml::parse(text).map_err(|error| condition::UNREADABLE.refusal(format!("{path}: {error}")))
}

/// Refuses to take the place of another administrator's credentials.
fn credentials(observed: &ObservedHost) -> Result<(), PlanRefusal> {
    let drop_ins = HostPath::new(CRIO_DROP_INS);
    let paths = observed.files.paths(&drop_ins).chain([CRIO.into()]);
    for path in paths.filter(|path| path.as_str() != CRIO_OURS) {
        let Some(text) = observed.files.text(&path) else { continue };
        let toml = parsed(&path, text)?;
        let file = toml.str(&["crio", "image", "global_auth_file"]).filter(|file| !file.is_empty());
        if let Some(file) = file {
            let found = format!("{path} sets global_auth_file to {file}");
            return Err(condition::CRIO_AUTH.refusal(found));
        }
    }
    Ok(())
}
