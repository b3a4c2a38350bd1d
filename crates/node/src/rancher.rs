//! k3s and RKE2: `registries.yaml`, from which they write containerd's files
//! themselves whenever the agent starts.
//!
//! Source: k3s, `pkg/agent/containerd`; docs.k3s.io, docs.rke2.io.

use image_swap_core::{
    nodes::{Fallback, Mirrors},
    render::{Format, Options, Rendered},
    yaml::Tree,
};

use crate::{
    Desired, File, HostPath, Observed, Plan, Refusal, Row, case,
    plan::{Changes, is_marked},
};

/// What ends the fallback; on the command line too, where nobody sees it from here.
const FLAG: &str = "disable-default-registry-endpoint";
/// Where the rendered file looks for the CA, whichever of the two reads it.
const CA: &str = "/etc/rancher/k3s";

pub(crate) fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    let mut changes = Changes::new(observed, desired)?;
    let there = observed.files.file(&observed.config);
    let is_foreign = there.is_some_and(|there| !is_marked(&there.bytes));
    if is_foreign && !changes.is_known(&observed.config) {
        let found = format!("{} is somebody else's", observed.config);
        return Err(Refusal::new(&case::REGISTRIES_YAML, found));
    }
    if desired.fallback == Fallback::Never && !never_asks(observed) {
        let found =
            format!("expected {FLAG} in {}, found that it is not set", config_yaml(observed));
        return Err(Refusal::new(&case::RANCHER_NEVER, found));
    }
    let rendered = render(desired);
    for file in &rendered.files {
        let bytes = file.text.clone().into_bytes();
        let path = match file.path.as_str() {
            "registries.yaml" => observed.config.clone(),
            path => HostPath::new(CA).join(path),
        };
        changes.whole(path, if file.secret { File::secret(bytes) } else { File::public(bytes) });
    }
    let rows = rows(desired, observed, &changes);
    changes.plan_of(rendered, rows)
}

/// What has to be looked at.
pub(crate) fn unseen(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let main = config_yaml(observed);
    let drop_ins = HostPath::new(&[main.as_str(), ".d"].concat());
    let mut paths: Vec<HostPath> =
        observed.files.names(&drop_ins).iter().map(|name| drop_ins.join(name)).collect();
    paths.extend([main, drop_ins]);
    let rendered = desired.map(render).unwrap_or_default();
    paths.extend(rendered.files.iter().map(|file| HostPath::new(CA).join(&file.path)));
    paths
}

fn render(desired: &Desired<'_>) -> Rendered {
    // Whether the registry itself is asked is said elsewhere.
    let options = Options {
        fallback: Fallback::Upstream,
        show_credentials: true,
        header_over_http: desired.header_over_http,
        ..Options::default()
    };
    Format::named("k3s")
        .map(|format| format.render(desired.declaration, options))
        .unwrap_or_default()
}

/// `config.yaml` beside `registries.yaml`.
fn config_yaml(observed: &Observed) -> HostPath {
    observed.config.parent().unwrap_or_else(|| HostPath::new("/")).join("config.yaml")
}

/// Whether the host's configuration ends the fallback.
fn never_asks(observed: &Observed) -> bool {
    let main = config_yaml(observed);
    let drop_ins = HostPath::new(&[main.as_str(), ".d"].concat());
    let names = observed.files.names(&drop_ins).iter().map(|name| drop_ins.join(name));
    let mut paths = [main].into_iter().chain(names);
    paths.any(|path| {
        let Some(tree) = observed.files.text(&path).and_then(|text| Tree::parse(text).ok()) else {
            return false;
        };
        let mut roots = tree.documents.iter();
        roots.any(|&root| {
            tree.get(root, FLAG)
                .and_then(|value| tree.scalar(value))
                .is_some_and(|text| text == "true")
        })
    })
}

fn rows(desired: &Desired<'_>, observed: &Observed, changes: &Changes<'_>) -> Vec<Row> {
    let mirrors = Mirrors::new(desired.declaration.rules());
    let default = (!mirrors.elsewhere().is_empty()).then(|| ("_default", mirrors.elsewhere()));
    let hosts = mirrors.hosts().chain(default).map(|(host, endpoints)| {
        let mut urls: Vec<String> =
            endpoints.iter().map(|endpoint| mirrors.api_url(endpoint)).collect();
        if host != "_default" && (urls.is_empty() || desired.fallback == Fallback::Upstream) {
            urls.push(mirrors.registry_url(host));
        }
        let path = observed.config.clone();
        Row { host: host.to_owned(), state: changes.state(&path, true), path, urls }
    });
    hosts.collect()
}
