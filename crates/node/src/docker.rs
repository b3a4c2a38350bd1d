//! dockerd: mirrors of Docker Hub at the root of their registry, and trust.
//!
//! Source: docs.docker.com, `dockerd`; both keys are read again on SIGHUP.

use image_swap_core::{
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
};

use crate::{Desired, File, HostPath, Observed, Plan, Refusal, Row, case, plan::Changes};

const ETC: &str = "/etc/docker";

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    let mut changes = Changes::new(observed, desired)?;
    if desired.fallback == Fallback::Never {
        let found = "expected fallback upstream for docker, found never";
        return Err(Refusal::new(&case::DOCKER_NEVER, found));
    }
    let rendered = render(desired);
    for file in &rendered.files {
        let bytes = file.text.clone().into_bytes();
        if file.path != "daemon.json" {
            changes.whole(HostPath::new(ETC).join(&file.path), File::public(bytes));
        } else if file.text.trim() != "{}" {
            let there = observed.files.file(&observed.config);
            if there.is_some_and(|there| there.bytes != bytes)
                && !changes.is_known(&observed.config)
            {
                let keys = file.text.split_whitespace().collect::<Vec<_>>().join(" ");
                let found = format!("{} is somebody else's, and lacks {keys}", observed.config);
                return Err(Refusal::new(&case::DAEMON_JSON, found));
            }
            changes.whole(observed.config.clone(), File::public(bytes));
        }
    }
    let rows = rows(desired, observed, &changes);
    changes.plan_of(rendered, rows)
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
