//! dockerd: mirrors of Docker Hub at the root of their registry, and trust.
//!
//! Source: docs.docker.com, `dockerd`; both keys are read again on SIGHUP.

use image_swap_core::{
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
};

use crate::{Desired, File, HostPath, Observed, Plan, Refusal, Row, case, json, plan::Changes};

const ETC: &str = "/etc/docker";

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
    let base = changes.base(path);
    let file = match (observed.files.file(path), &base) {
        // It says so already, however somebody else may have written it.
        (Some(now), Some(_)) if edit(now)? == *now => now.clone(),
        (_, Some(base)) => {
            changes.edits(path, &case::DAEMON_JSON, &format!("{path} is somebody else's"));
            edit(base)?
        }
        (_, None) => File::public(rendered),
    };
    changes.edited(path.clone(), file, base);
    Ok(())
}

/// What has to be looked at.
pub(crate) fn unseen(desired: Option<&Desired<'_>>) -> Vec<HostPath> {
    let rendered = desired.map(render).unwrap_or_default();
    rendered.files.iter().map(|file| HostPath::new(ETC).join(&file.path)).collect()
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
