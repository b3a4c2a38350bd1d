//! CRI-O and podman: a drop-in of registries.conf, CAs below certs.d, and for
//! CRI-O a file of credentials.
//!
//! Source: containers-registries.conf(5), containers-registries.conf.d(5),
//! containers-certs.d(5), crio.conf(5). A drop-in replaces what earlier files say of
//! a prefix, and is replaced by later ones.

use std::collections::BTreeSet;

use image_swap_core::{
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
};
use toml_edit::{Item, TableLike};

use crate::{
    Desired, File, HostPath, Observed, Plan, Refusal, Row, Runtime, case, glob,
    plan::Changes,
    toml::{Toml, string},
};

const MAIN: &str = "/etc/containers/registries.conf";
const DROP_INS: &str = "/etc/containers/registries.conf.d";
const CONTAINERS: &str = "/etc/containers";
const CRIO: &str = "/etc/crio/crio.conf";
const CRIO_DROP_INS: &str = "/etc/crio/crio.conf.d";
const CRIO_OURS: &str = "/etc/crio/crio.conf.d/50-image-swap.conf";
const AUTH: &str = "/etc/crio/image-swap-auth.json";

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    let mut changes = Changes::new(observed, desired)?;
    let rendered = render(desired);
    for file in &rendered.files {
        let bytes = file.text.clone().into_bytes();
        match file.path.as_str() {
            "registries.conf" => {
                others(observed, &file.text, &mut changes)?;
                changes.whole(observed.config.clone(), File::public(bytes));
            }
            "auth.json" if observed.runtime == Runtime::Crio => {
                credentials(observed)?;
                let text = format!(
                    "# Written by image-swap from the declared registry; changes are overwritten.\n\
                     [crio.image]\nglobal_auth_file = {}\n",
                    string(AUTH)
                );
                changes.whole(AUTH.into(), File::secret(bytes));
                changes.whole(CRIO_OURS.into(), File::public(text));
            }
            "auth.json" => {
                changes
                    .notes
                    .push("podman takes credentials from its users: podman login".to_owned());
            }
            path => changes.whole(HostPath::new(CONTAINERS).join(path), File::public(bytes)),
        }
    }
    let rows = rows(desired, observed, &changes);
    changes.plan_of(rendered, rows)
}

/// What has to be looked at.
pub(crate) fn unseen(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let files = &observed.files;
    let mut paths: Vec<HostPath> =
        [MAIN, DROP_INS, CRIO, CRIO_DROP_INS, CRIO_OURS, AUTH].map(HostPath::new).into();
    for directory in [DROP_INS, CRIO_DROP_INS].map(HostPath::new) {
        paths.extend(files.names(&directory).iter().map(|name| directory.join(name)));
    }
    let rendered = desired.map(render).unwrap_or_default();
    paths.extend(rendered.files.iter().map(|file| HostPath::new(CONTAINERS).join(&file.path)));
    paths
}

fn render(desired: &Desired<'_>) -> Rendered {
    let options = Options {
        fallback: desired.fallback,
        show_credentials: true,
        header_over_http: desired.header_over_http,
        ..Options::default()
    };
    let format = Format::named("registries-conf");
    format.map(|format| format.render(desired.declaration, options)).unwrap_or_default()
}

/// What other files say of the same prefixes.
fn others(observed: &Observed, ours: &str, changes: &mut Changes<'_>) -> Result<(), Refusal> {
    let main = HostPath::new(MAIN);
    let drop_ins = HostPath::new(DROP_INS);
    let pattern = [DROP_INS, "/*.conf"].concat();
    let found = glob::expand(&pattern, &observed.files, &mut Vec::new());
    let paths = [main].into_iter().chain(found);
    let ours = prefixes(&parsed(&observed.config, ours)?);
    for path in paths.filter(|path| *path != observed.config) {
        let Some(text) = observed.files.text(&path) else { continue };
        let toml = parsed(&path, text)?;
        let old = ["search", "insecure", "block"];
        if let Some(key) = old.into_iter().find(|key| toml.get(&["registries", key]).is_some()) {
            let found = format!("{path}: expected [[registry]] tables, found registries.{key}");
            return Err(Refusal::new(&case::REGISTRIES_ONE, found));
        }
        let theirs = prefixes(&toml);
        let both: Vec<&str> = theirs.intersection(&ours).map(String::as_str).collect();
        if both.is_empty() {
            continue;
        }
        let found = format!("{path} has [[registry]] for {}", both.join(", "));
        if path > observed.config && path.is_below(&drop_ins) {
            return Err(Refusal::new(&case::REGISTRIES_LATER, found));
        }
        changes.met(&case::REGISTRIES_EARLIER, &found);
    }
    Ok(())
}

fn parsed<'a>(path: &HostPath, text: &'a str) -> Result<Toml<'a>, Refusal> {
    Toml::parse(text).map_err(|error| Refusal::new(&case::UNREADABLE, format!("{path}: {error}")))
}

/// The prefixes of the `[[registry]]` tables.
fn prefixes(toml: &Toml<'_>) -> BTreeSet<String> {
    let tables = toml.get(&["registry"]).and_then(Item::as_array_of_tables);
    let prefix = |table: &dyn TableLike| {
        let text = |key| table.get(key).and_then(Item::as_str).filter(|text| !text.is_empty());
        text("prefix").or(text("location")).map(str::to_owned)
    };
    tables.into_iter().flatten().filter_map(|table| prefix(table)).collect()
}

/// Refuses to take the place of somebody else's credentials.
fn credentials(observed: &Observed) -> Result<(), Refusal> {
    let drop_ins = HostPath::new(CRIO_DROP_INS);
    let names = observed.files.names(&drop_ins).iter().map(|name| drop_ins.join(name));
    for path in names.chain([CRIO.into()]).filter(|path| path.as_str() != CRIO_OURS) {
        let Some(text) = observed.files.text(&path) else { continue };
        let toml = parsed(&path, text)?;
        let file = toml.str(&["crio", "image", "global_auth_file"]).filter(|file| !file.is_empty());
        if let Some(file) = file {
            let found = format!("{path}: expected no global_auth_file, found {file}");
            return Err(Refusal::new(&case::CRIO_AUTH, found));
        }
    }
    Ok(())
}

fn rows(desired: &Desired<'_>, observed: &Observed, changes: &Changes<'_>) -> Vec<Row> {
    let mirrors = Mirrors::new(desired.declaration.rules());
    let hosts = mirrors.hosts().map(|(host, endpoints)| {
        let mut urls: Vec<String> =
            endpoints.iter().map(|endpoint| mirrors.api_url(endpoint)).collect();
        if urls.is_empty() || desired.fallback == Fallback::Upstream {
            urls.push(mirrors.registry_url(host));
        }
        let path = observed.config.clone();
        Row { host: host.to_owned(), state: changes.state(&path, true), path, urls }
    });
    hosts.collect()
}
