//! dockerd: mirrors of Docker Hub at the root of their registry, and trust.
//!
//! Source: docs.docker.com, `dockerd`; both keys are read again on SIGHUP.

use image_swap_core::{
    mirror::{Fallback, MirrorTable},
    render::{DOCKER, Options, Rendered},
};
use image_swap_text::{encoding::Encoding, json::edit};

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostFile, HostPath},
    observed::ObservedHost,
    owner,
    plan::{Contact, HostPlan, builder::PlanBuilder},
    runtime::{glob, kind::Version, layout, systemd},
};

const ETC: &str = "/etc/docker";
/// Lists of daemon.json and their flags. dockerd refuses to start if a list is set in both places.
const FLAGS: [(&str, &str); 2] =
    [("registry-mirrors", "--registry-mirror"), ("insecure-registries", "--insecure-registry")];
/// The units of systemd that start dockerd with flags.
const STARTS: [&str; 5] = [
    "/etc/systemd/system/docker.service",
    "/etc/systemd/system/docker.service.d/*.conf",
    "/usr/lib/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.service.d/*.conf",
    "/lib/systemd/system/docker.service",
];
/// Paths that exist if dockerd comes from a snap, which has a `daemon.json` of its own.
const SNAP: [&str; 3] =
    ["/var/snap/docker", "/snap/docker", "/etc/systemd/system/snap.docker.dockerd.service"];
/// The options that name another `daemon.json`.
const CONFIG_FILE: [&str; 2] = ["--config-file", "-config-file"];
/// The files that services of Debian and Fedora read options from.
const DEFAULTS: [&str; 2] = ["/etc/default/docker", "/etc/sysconfig/docker"];
/// The first dockerd that reads an empty file, a byte order mark, and UTF-16.
const ENCODINGS: Version = Version::new(23, 0, 0);

/// Returns the `daemon.json` that dockerd is started with; `None` if nothing names one.
pub(crate) fn config(observed: &ObservedHost) -> Option<HostPath> {
    if let Some(found) = owner::option(&observed.arguments, &CONFIG_FILE) {
        return Some(HostPath::new(found));
    }
    let files = &observed.files;
    let command = systemd::command_line("docker", files, &mut Vec::new());
    if let Some(found) = owner::option(&command, &CONFIG_FILE) {
        return Some(HostPath::new(found));
    }
    // Without a unit, the service is another init system's.
    let variables = if command.is_empty() {
        DEFAULTS.iter().flat_map(|&path| systemd::lines(files, &path.into())).collect()
    } else if command.iter().any(|word| word.contains('$')) {
        systemd::environment("docker", files, &mut Vec::new())
    } else {
        Vec::new()
    };
    // The options are in quotes, with words of their own.
    let words = variables.iter().flat_map(|line| line.split(['"', '\'', '=', ' ', '\t']));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    owner::option(&words, &CONFIG_FILE).map(HostPath::new)
}

/// Refuses a dockerd of a snap, which reads files of its own.
fn refuse_snap(observed: &ObservedHost) -> Result<(), PlanRefusal> {
    let of_process = observed.arguments.first().map(|program| program.starts_with("/snap/"));
    let sign = SNAP.iter().find(|path| observed.files.exists(&(**path).into()));
    match (of_process, sign) {
        (None | Some(true), Some(sign)) => Err(condition::OWNER_SNAP_DOCKER
            .refusal(format!("{sign} shows that docker comes from a snap"))),
        _ => Ok(()),
    }
}

pub(crate) fn plan(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
) -> Result<HostPlan, PlanRefusal> {
    refuse_snap(observed)?;
    let mut changes = PlanBuilder::new(observed, Some(desired.form), desired.restart)?;
    if desired.fallback == Fallback::Never {
        let found = "docker cannot express fallback never";
        return Err(condition::DOCKER_NEVER.refusal(found));
    }
    let rendered = render(desired);
    for file in &rendered.files {
        if file.path != "daemon.json" {
            let directory = HostPath::new(ETC).join(&file.path).parent();
            let directory = directory.unwrap_or_else(|| HostPath::new(ETC));
            let name = layout::name_of_ca(&changes, &directory, file.text.as_bytes());
            changes.whole(directory.join(name), HostFile::public(file.text.clone()));
        } else if file.text.trim() != "{}" {
            daemon_json(observed, &mut changes, &file.text)?;
        }
    }
    for host in desired.declaration.mirrors().targets() {
        let directory = HostPath::new(ETC).join("certs.d").join(host);
        let contact = layout::contact(&changes, observed, &directory, host);
        changes.plan.contacts.push(Contact { users_log_in: true, ..contact });
    }
    let mirrors = desired.declaration.mirrors();
    let hub = mirrors.hosts().filter(|(host, _)| *host == "docker.io");
    let hub = hub.filter_map(|(host, endpoints)| {
        let roots = endpoints.iter().filter(|endpoint| endpoint.path.is_empty());
        let urls: Vec<String> = roots.map(|endpoint| mirrors.api_url(endpoint)).collect();
        (!urls.is_empty()).then(|| (host, [urls, vec![mirrors.registry_url(host)]].concat()))
    });
    let rows = changes.rows(hub, true, |_| observed.config.clone());
    changes.plan_of(rendered, rows)
}

/// Writes the lists of `rendered` to a new file, or in front of the entries of an existing one.
fn daemon_json(
    observed: &ObservedHost,
    changes: &mut PlanBuilder<'_>,
    rendered: &str,
) -> Result<(), PlanRefusal> {
    let path = &observed.config;
    let lists = edit::lists(rendered);
    let edit = |file: &HostFile| {
        let refused =
            |found: String| condition::DAEMON_JSON_ODD.refusal(format!("{path}: {found}"));
        let (encoding, text) = Encoding::decode(&file.bytes)
            .ok_or_else(|| refused("expected UTF-8 or UTF-16, found other bytes".to_owned()))?;
        let is_old = observed.version.is_some_and(|version| version < ENCODINGS);
        if is_old && (encoding != Encoding::Utf8 || text.trim().is_empty()) {
            let found = "expected a JSON object in UTF-8 without a byte order mark: dockerd before 23 reads no other file";
            return Err(refused(found.to_owned()));
        }
        let text = edit::with(&text, &lists).map_err(|error| refused(error.to_string()))?;
        Ok(HostFile { bytes: encoding.encode(&text), mode: file.mode, owner: None })
    };
    if let Some((file, flag)) = flag(observed, &lists) {
        let found = format!("{file} has the flag {flag}, whose list is set in {path} too");
        return Err(condition::DOCKER_FLAGS.refusal(found));
    }
    let base = changes.base(path);
    let file = match &base {
        Some(base) => {
            let found = format!("{path} is of another tool");
            changes.note_case_for_edit(path, &condition::DAEMON_JSON, &found);
            edit(base)?
        }
        None => HostFile::public(rendered),
    };
    // The file may have the same content in another format: keep it.
    let now = observed.files.file(path).filter(|now| edit::same(&now.bytes, &file.bytes));
    changes.edited(path.clone(), now.cloned().unwrap_or(file), base);
    Ok(())
}

/// Returns a flag of dockerd that sets one of the lists, and the file that contains it.
fn flag(observed: &ObservedHost, lists: &edit::Lists) -> Option<(HostPath, &'static str)> {
    let flags = FLAGS.iter().filter(|(key, _)| lists.iter().any(|(list, _)| list == key));
    let flags: Vec<&str> = flags.map(|(_, flag)| *flag).collect();
    starts(observed, &mut Vec::new()).into_iter().find_map(|path| {
        let text = observed.files.text(&path)?;
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
        let found = lines.find_map(|line| flags.iter().find(|flag| line.contains(**flag)))?;
        Some((path, *found))
    })
}

/// Returns the files that contain dockerd's command line.
fn starts(observed: &ObservedHost, unseen: &mut Vec<HostPath>) -> Vec<HostPath> {
    let files = STARTS.iter().chain(&DEFAULTS);
    files.flat_map(|pattern| glob::expand(pattern, &observed.files, unseen)).collect()
}

/// Returns the paths that have to be read.
pub(crate) fn unread_paths(
    desired: Option<&DesiredConfig<'_>>,
    observed: &ObservedHost,
) -> Vec<HostPath> {
    let rendered = desired.map(render).unwrap_or_default();
    let files = rendered.files.iter().map(|file| HostPath::new(ETC).join(&file.path));
    let mut unseen: Vec<HostPath> = files.collect();
    starts(observed, &mut unseen);
    systemd::command_line("docker", &observed.files, &mut unseen);
    systemd::environment("docker", &observed.files, &mut unseen);
    unseen.extend(SNAP.map(HostPath::new));
    let targets = desired.map(|desired| desired.declaration.mirrors());
    for host in targets.into_iter().flat_map(MirrorTable::targets) {
        let directory = HostPath::new(ETC).join("certs.d").join(host);
        unseen.extend(layout::unread_paths(&directory, observed));
    }
    unseen
}

fn render(desired: &DesiredConfig<'_>) -> Rendered {
    let options = Options { show_credentials: true, ..Options::default() };
    DOCKER.render(desired.declaration, options)
}
