//! k3s and RKE2: `registries.yaml`, from which they write containerd's files
//! themselves whenever the agent starts.
//!
//! Source: k3s, `pkg/agent/containerd`; docs.k3s.io, docs.rke2.io.

use image_swap_core::{
    mirror::Fallback,
    render::{K3S, Options, Rendered},
};
use image_swap_text::yaml::Tree;

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostFile, HostPath},
    observed::ObservedHost,
    owner::{option, value},
    plan::{HostPlan, builder::PlanBuilder},
    runtime::{kind::ContainerRuntime, systemd},
};

/// The option that disables the fallback. On the command line it is invisible to image-swap.
const FLAG: &str = "disable-default-registry-endpoint";
/// The name of the file of registries.
const NAME: &str = "registries.yaml";
/// The options that name another file of registries.
const PRIVATE_REGISTRY: [&str; 2] = ["--private-registry", "-private-registry"];
/// The options that name another `config.yaml`.
const CONFIG: [&str; 3] = ["--config", "-config", "-c"];
/// The keys of another tool that one message names.
const KEYS: usize = 5;
/// The directory of the CA in the rendered file, for k3s and RKE2 alike.
const CA: &str = "/etc/rancher/k3s";

pub(crate) fn plan(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
) -> Result<HostPlan, PlanRefusal> {
    let mut changes = PlanBuilder::new(observed, Some(desired.form), desired.restart)?;
    private_registry(observed).map_err(|found| condition::PRIVATE_REGISTRY.refusal(found))?;
    let rendered = render(desired);
    let text = rendered.files.iter().find(|file| file.path == NAME).map(|file| file.text.as_str());
    let merged = merged(observed, &mut changes, text.unwrap_or_default())?;
    let ends_fallback = configured(observed, FLAG).is_some_and(|(_, value)| value == "true");
    if desired.fallback == Fallback::Never && !ends_fallback {
        let found = format!("{} does not set {FLAG}", config_yaml(observed));
        return Err(condition::RANCHER_NEVER.refusal(found));
    }
    for file in &rendered.files {
        let (path, text) = match file.path.as_str() {
            NAME => (observed.config.clone(), &merged),
            path => (HostPath::new(CA).join(path), &file.text),
        };
        changes.whole(path, HostFile::new(text.as_str(), file.secret));
    }
    let is_read = rendered.files.is_empty() || !changes.depends_on_start();
    let rows = changes.rows(desired.urls(|_| None), is_read, |_| observed.config.clone());
    changes.plan_of(rendered, rows)
}

fn render(desired: &DesiredConfig<'_>) -> Rendered {
    // The fallback is configured elsewhere.
    let options = Options { fallback: Fallback::Upstream, ..desired.options() };
    K3S.render(desired.declaration, options)
}

/// Returns the paths that have to be read.
pub(crate) fn unread_paths(
    desired: Option<&DesiredConfig<'_>>,
    observed: &ObservedHost,
) -> Vec<HostPath> {
    let main = config_yaml(observed);
    let drop_ins = HostPath::new(&[main.as_str(), ".d"].concat());
    let mut paths: Vec<HostPath> = observed.files.paths(&drop_ins).collect();
    paths.extend([main, drop_ins]);
    for service in services(observed.runtime) {
        systemd::command_line(service, &observed.files, &mut paths);
    }
    let rendered = desired.map(render).unwrap_or_default();
    paths.extend(rendered.files.iter().map(|file| HostPath::new(CA).join(&file.path)));
    paths
}

/// Returns the files that k3s or RKE2 reads when it starts.
pub(crate) fn paths_at_start(observed: &ObservedHost) -> Vec<HostPath> {
    let main = config_yaml(observed);
    let drop_ins = HostPath::new(&[main.as_str(), ".d"].concat());
    let own = [observed.config.clone(), main.clone()];
    own.into_iter().chain(observed.files.paths(&drop_ins)).collect()
}

/// Returns the file of registries that k3s or RKE2 is configured to read; `None` if that is
/// the default one.
pub(crate) fn config(observed: &ObservedHost) -> Option<HostPath> {
    private_registry(observed).ok().flatten()
}

/// Returns the value of `private-registry`, of the command line or else of the configuration.
///
/// # Errors
/// If it is not one absolute path.
fn private_registry(observed: &ObservedHost) -> Result<Option<HostPath>, String> {
    let named = commands(observed).into_iter().filter_map(|(service, words)| {
        Some((format!("the unit {service}"), value(&words, &PRIVATE_REGISTRY)?.to_owned()))
    });
    let named: Vec<(String, String)> = named.collect();
    let found = match named.split_first() {
        Some(((source, first), others)) => {
            if let Some((other, value)) = others.iter().find(|(_, value)| value != first) {
                return Err(format!(
                    "private-registry has several values: {first} in {source} and {value} in {other}"
                ));
            }
            Some((source.clone(), first.clone()))
        }
        None => configured(observed, "private-registry"),
    };
    match found {
        None => Ok(None),
        Some((_, value)) if value.starts_with('/') => Ok(Some(HostPath::new(&value))),
        Some((source, value)) => {
            Err(format!("{source}: expected an absolute path as private-registry, found {value}"))
        }
    }
}

/// Returns the services of a runtime.
const fn services(runtime: ContainerRuntime) -> [&'static str; 2] {
    match runtime {
        ContainerRuntime::Rke2 => ["rke2-server", "rke2-agent"],
        _ => ["k3s", "k3s-agent"],
    }
}

/// Returns the command line of each service that there is.
fn commands(observed: &ObservedHost) -> Vec<(&'static str, Vec<String>)> {
    let services = services(observed.runtime).into_iter();
    let commands = services
        .map(|service| (service, systemd::command_line(service, &observed.files, &mut Vec::new())));
    commands.filter(|(_, words)| !words.is_empty()).collect()
}

/// Returns the file of options.
fn config_yaml(observed: &ObservedHost) -> HostPath {
    let mut named = commands(observed).into_iter();
    let named = named.find_map(|(_, words)| option(&words, &CONFIG).map(HostPath::new));
    let default = observed.runtime.config().parent().unwrap_or_else(|| HostPath::new("/"));
    named.unwrap_or_else(|| default.join("config.yaml"))
}

/// Returns the value of `key` in the files of options, and its file; the last file wins.
fn configured(observed: &ObservedHost, key: &str) -> Option<(String, String)> {
    let main = config_yaml(observed);
    let drop_ins = HostPath::new(&[main.as_str(), ".d"].concat());
    let is_yaml = |path: &HostPath| [".yaml", ".yml"].iter().any(|end| path.name().ends_with(end));
    let drop_ins: Vec<HostPath> = observed.files.paths(&drop_ins).filter(is_yaml).collect();
    let mut found = [main].into_iter().chain(drop_ins).filter_map(|path| {
        let tree = Tree::parse(observed.files.text(&path)?).ok()?;
        let value = tree.documents.iter().find_map(|&root| tree.scalar(tree.get(root, key)?))?;
        Some((path.to_string(), value.to_owned()))
    });
    found.next_back()
}

/// Returns `text`, the rendered file, with the registries of another administrator's file that
/// have no mirror: k3s shares their images between nodes.
///
/// # Errors
/// If that file holds more.
fn merged(
    observed: &ObservedHost,
    changes: &mut PlanBuilder<'_>,
    text: &str,
) -> Result<String, PlanRefusal> {
    let path = &observed.config;
    let Some(before) = changes.before(path) else { return Ok(text.to_owned()) };
    let refusal = |found: &str| {
        condition::REGISTRIES_YAML.refusal(format!("{path} of another tool contains {found}"))
    };
    let before =
        String::from_utf8(before.bytes).map_err(|_| refusal("bytes that are not UTF-8"))?;
    let names = shared(&before).map_err(|found| refusal(&found))?;
    let found = format!("{path} names no mirror");
    changes.note_case_for_edit(path, &condition::REGISTRIES_YAML_EMPTY, &found);
    let mirrors = Tree::parse(text).ok();
    let is_there = |name: &str| {
        let tree = mirrors.as_ref()?;
        tree.get(tree.get(*tree.documents.first()?, "mirrors")?, name)
    };
    let lines = names.iter().filter(|name| is_there(name).is_none());
    let lines = lines.map(|name| format!("  {}:\n", serde_json::Value::from(name.as_str())));
    let lines: String = lines.collect();
    Ok(text.replacen("mirrors:\n", &["mirrors:\n", &lines].concat(), 1))
}

/// Returns the registries that `text` names without a mirror.
///
/// # Errors
/// The keys of anything else that it holds.
fn shared(text: &str) -> Result<Vec<String>, String> {
    let tree = Tree::parse(text).map_err(|_| "text that is not YAML".to_owned())?;
    let is_empty = |value| {
        tree.is_null(value)
            || tree.scalar(value).is_none()
                && tree.items(value).is_empty()
                && tree.entries(value).is_empty()
    };
    let mut names = Vec::new();
    let mut others = Vec::new();
    for &root in tree.documents.iter().filter(|root| !is_empty(**root)) {
        if tree.entries(root).is_empty() {
            return Err("something other than a mapping".to_owned());
        }
        for &(key, value) in tree.entries(root).iter().filter(|(_, value)| !is_empty(*value)) {
            let key = tree.scalar(key).unwrap_or_default();
            if tree.entries(value).is_empty() {
                others.push(key.to_owned());
            }
            for &(name, value) in tree.entries(value) {
                let name = tree.scalar(name).unwrap_or_default();
                if key == "mirrors" && !name.is_empty() && is_empty(value) {
                    names.push(name.to_owned());
                } else {
                    others.push(format!("{key}.\"{name}\""));
                }
            }
        }
    }
    if others.is_empty() {
        return Ok(names);
    }
    let more = others.len().saturating_sub(KEYS);
    others.truncate(KEYS);
    let more = if more == 0 { String::new() } else { format!(" and {more} more keys") };
    Err(format!("{}{more}", others.join(", ")))
}
