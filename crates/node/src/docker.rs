//! dockerd: mirrors of Docker Hub at the root of their registry, and trust.
//!
//! Source: docs.docker.com, `dockerd`; both keys are read again on SIGHUP.

use image_swap_core::{
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
};

use crate::{
    Desired, File, HostPath, Observed, Plan, Refusal, Row, case, glob, json, plan::Changes,
};

const ETC: &str = "/etc/docker";
/// What dockerd takes from daemon.json or as flags: with both it does not start.
const FLAGS: [(&str, &str); 2] =
    [("registry-mirrors", "--registry-mirror"), ("insecure-registries", "--insecure-registry")];
/// Where its flags are given: systemd's units, and what they read on Debian and Fedora.
const STARTS: [&str; 7] = [
    "/etc/systemd/system/docker.service",
    "/etc/systemd/system/docker.service.d/*.conf",
    "/usr/lib/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.service.d/*.conf",
    "/lib/systemd/system/docker.service",
    "/etc/default/docker",
    "/etc/sysconfig/docker",
];

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    let mut changes = Changes::new(observed, desired)?;
    if desired.fallback == Fallback::Never {
        let found = "expected fallback upstream for docker, found never";
        return Err(Refusal::new(&case::DOCKER_NEVER, found));
    }
    let rendered = render(desired);
    for file in &rendered.files {
        if file.path != "daemon.json" {
            changes.whole(HostPath::new(ETC).join(&file.path), File::public(file.text.clone()));
        } else if file.text.trim() != "{}" {
            daemon_json(observed, &mut changes, &file.text)?;
        }
    }
    let rows = rows(desired, observed, &changes);
    changes.plan_of(rendered, rows)
}

/// The lists of `rendered`, in a file of their own or in front of what is there.
fn daemon_json(
    observed: &Observed,
    changes: &mut Changes<'_>,
    rendered: &str,
) -> Result<(), Refusal> {
    let path = &observed.config;
    let ours = json::lists(rendered);
    let edit = |file: &File| {
        let refused =
            |found: String| Refusal::new(&case::DAEMON_JSON_ODD, format!("{path}: {found}"));
        let text = std::str::from_utf8(&file.bytes).map_err(|error| refused(error.to_string()))?;
        let text = json::with(text, &ours).map_err(|error| refused(error.to_string()))?;
        Ok(File { bytes: text.into_bytes(), mode: file.mode })
    };
    if let Some((file, flag)) = flag(observed, &ours) {
        let found = format!("{file}: expected no {flag} beside {path}, found it");
        return Err(Refusal::new(&case::DOCKER_FLAGS, found));
    }
    let base = changes.base(path);
    let file = match &base {
        Some(base) => {
            changes.edits(path, &case::DAEMON_JSON, &format!("{path} is somebody else's"));
            edit(base)?
        }
        None => File::public(rendered),
    };
    // It may say so already, however somebody else has written it.
    let now = observed.files.file(path).filter(|now| json::same(&now.bytes, &file.bytes));
    changes.edited(path.clone(), now.cloned().unwrap_or(file), base);
    Ok(())
}

/// A flag of dockerd for one of the lists, and the file that gives it.
fn flag(observed: &Observed, lists: &json::Lists) -> Option<(HostPath, &'static str)> {
    let flags = FLAGS.iter().filter(|(key, _)| lists.iter().any(|(list, _)| list == key));
    let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
    starts(observed, &mut Vec::new()).into_iter().find_map(|path| {
        let text = observed.files.text(&path)?;
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
        let found = lines.find_map(|line| flags.iter().find(|flag| line.contains(**flag)))?;
        Some((path, *found))
    })
}

/// The files that say how dockerd is started.
fn starts(observed: &Observed, unseen: &mut Vec<HostPath>) -> Vec<HostPath> {
    let files = STARTS.iter();
    files.flat_map(|pattern| glob::expand(pattern, &observed.files, unseen)).collect()
}

/// What has to be looked at.
pub(crate) fn unseen(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let rendered = desired.map(render).unwrap_or_default();
    let files = rendered.files.iter().map(|file| HostPath::new(ETC).join(&file.path));
    let mut unseen = files.collect();
    starts(observed, &mut unseen);
    unseen
}

fn render(desired: &Desired<'_>) -> Rendered {
    let options = Options { show_credentials: true, ..Options::default() };
    let format = Format::named("docker");
    format.map(|format| format.render(desired.declaration, options)).unwrap_or_default()
}

fn rows(desired: &Desired<'_>, observed: &Observed, changes: &Changes<'_>) -> Vec<Row> {
    let mirrors = Mirrors::new(desired.declaration.rules());
    let hub = mirrors.hosts().filter(|(host, _)| *host == "docker.io");
    let rows = hub.filter_map(|(host, endpoints)| {
        let roots = endpoints.iter().filter(|endpoint| endpoint.path.is_empty());
        let mut urls: Vec<String> = roots.map(|endpoint| mirrors.api_url(endpoint)).collect();
        if urls.is_empty() {
            return None;
        }
        urls.push(mirrors.registry_url(host));
        let path = observed.config.clone();
        Some(Row { host: host.to_owned(), state: changes.state(&path, true), path, urls })
    });
    rows.collect()
}
