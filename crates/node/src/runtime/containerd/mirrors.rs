//! The mirrors table of config.toml, with URLs or in Palette's format.

use image_swap_core::{
    mirror::{Endpoint, Fallback},
    render::{CONTAINERD_MIRRORS, ConfigVersion, EndpointForm, OVER_HTTP, Options},
};
use image_swap_text::toml::{Leaves, Toml};

use crate::{
    condition::{self, PlanRefusal},
    desired::{ConfigForm, DesiredConfig},
    observed::ObservedHost,
    plan::HostPlan,
    runtime::{
        containerd::{
            imports::PlanInput,
            main_file::{MainFile, drop_in_refusal},
            migrate,
            registry::EffectiveRegistry,
        },
        kind::Version,
    },
};

/// The versions whose CRI plugin does not start with the table.
const KILLED: [Version; 2] = [Version::new(2, 2, 0), Version::new(2, 2, 1)];
/// The version for which containerd announces its removal (`RELEASES.md` of 2.4.2).
const REMOVED: Version = Version::new(2, 7, 0);

pub(super) fn plan(input: PlanInput<'_, '_>) -> Result<HostPlan, PlanRefusal> {
    let PlanInput { desired, observed, sources, base, mut changes } = input;
    let version = version(desired, observed)?;
    let registry = EffectiveRegistry::new(sources, observed);
    if let Some((value, spot)) = &registry.config_path {
        let found = format!("{} sets config_path to {value}", spot.path);
        return Err(condition::MIRRORS_BESIDE_CONFIG_PATH.refusal(found));
    }
    if let Some(path) = registry.drop_in.as_ref().filter(|_| version.major < 2) {
        return Err(drop_in_refusal(observed, path));
    }
    let mut main = MainFile::new(observed, version, base, sources, &mut changes)?;
    let options = Options {
        endpoint: match desired.form {
            ConfigForm::Palette => EndpointForm::Palette,
            _ => EndpointForm::Url,
        },
        config_version: if main.version == 2 { ConfigVersion::Two } else { ConfigVersion::Three },
        ..desired.options()
    };
    let mut rendered = CONTAINERD_MIRRORS.render(desired.declaration, options);
    // The other notes of the renderer name flags of `render`.
    rendered.notes.retain(|note| *note == OVER_HTTP);
    rendered.notes.push(match desired.form {
        ConfigForm::Palette => {
            "no standard registry serves these endpoints, which lack /v2/; use the form certs-d"
        }
        _ => "containerd requests the registry itself after its mirrors",
    });
    let (block, secret) =
        rendered.files.first().map_or(("", false), |file| (file.text.as_str(), file.secret));
    let wanted = Toml::parse(block).map_err(|error| main.cannot(&error.to_string()))?.leaves();

    let declared = desired.declaration.mirrors();
    for (host, spot) in &registry.mirrors {
        let table = ["plugins", spot.plugin, "registry", "mirrors", host];
        if !wanted.keys().any(|path| path.iter().zip(table).all(|(key, of)| key == of)) {
            continue;
        }
        if spot.path != observed.config {
            return Err(drop_in_refusal(observed, &spot.path));
        }
        migrate::check_schemes(sources, host, spot, declared)?;
        let found = format!("{} has mirrors for {host}", spot.path);
        changes.note_case_for_edit(&spot.path, &condition::MIRRORS_FOREIGN, &found);
        main.edit(|toml| toml.without(&table))?;
    }
    let lost = lost(desired, version);
    if !lost.is_empty() {
        let found = format!("{} cannot express {}", observed.config, lost.join(", "));
        changes.note_case(&condition::MIRRORS_TRUST, &found);
    }
    tables(&mut main, block, &wanted, desired.form)?;
    let (file, base) = main.file(secret)?;
    if base.as_ref().is_none_or(|base| !base.is_like(&file)) {
        changes.edited(observed.config.clone(), file, base);
    }
    let is_unread = changes.depends_on_start();
    let is_read = observed.files.file(&observed.config).is_some() && !is_unread;
    let hosts = declared.hosts().filter(|(_, endpoints)| !endpoints.is_empty());
    let url = |endpoint: &Endpoint| match desired.form {
        ConfigForm::Palette => format!("https://{}/{}", endpoint.host, endpoint.path),
        _ => declared.api_url(endpoint),
    };
    let hosts = hosts.map(|(host, endpoints)| (host, endpoints.iter().map(url).collect()));
    let rows = changes.rows(hosts, is_read, |_| observed.config.clone());
    changes.plan_of(rendered, rows)
}

/// Returns the version of containerd, or a refusal if it does not support the table.
fn version(desired: &DesiredConfig<'_>, observed: &ObservedHost) -> Result<Version, PlanRefusal> {
    if desired.fallback == Fallback::Never {
        let found = format!("the form {} cannot express fallback never", desired.form);
        return Err(condition::MIRRORS_NEVER.refusal(found));
    }
    let Some(version) = observed.version else {
        let found =
            "cannot edit config.toml: the version of containerd is unknown, since it does not run";
        return Err(condition::MIRRORS_UNKNOWN.refusal(found));
    };
    if KILLED.contains(&version) || version >= REMOVED {
        let found = format!("containerd {version} does not support a mirrors table");
        return Err(condition::MIRRORS_KILL.refusal(found));
    }
    Ok(version)
}

/// Returns the declared keys that the table cannot express.
fn lost(desired: &DesiredConfig<'_>, version: Version) -> Vec<&'static str> {
    let Some(registry) = &desired.declaration.registry else { return Vec::new() };
    let is_palette = desired.form == ConfigForm::Palette;
    let all = [
        ("CA_CERT", !registry.ca.is_empty()),
        ("INSECURE", registry.insecure && (is_palette || version.major >= 2)),
        ("USERNAME and PASSWORD", !registry.username.is_empty() && is_palette),
    ];
    all.into_iter().filter(|(_, lost)| *lost).map(|(key, _)| key).collect()
}

/// Adds the tables: in the printed format, or value by value if that would conflict with the
/// present text.
fn tables(
    main: &mut MainFile<'_>,
    block: &str,
    wanted: &Leaves,
    form: ConfigForm,
) -> Result<(), PlanRefusal> {
    let mut expected = main.leaves()?;
    expected.extend(wanted.clone());
    // Palette's documentation has two blank lines before the added ones.
    let blank = if form == ConfigForm::Palette { "\n" } else { "" };
    let toml = Toml::parse(&main.text).map_err(|error| main.cannot(&error.to_string()))?;
    let appended = toml.appended(&[blank, block].concat());
    let as_printed = Toml::parse(&appended).is_ok_and(|toml| covers(&toml.leaves(), &expected));
    if as_printed {
        main.text = appended;
        return Ok(());
    }
    for (path, value) in wanted {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        main.edit(|toml| toml.set(&path, value, &[]))?;
    }
    if covers(&main.leaves()?, &expected) {
        Ok(())
    } else {
        Err(main.cannot("the mirrors table does not have the new values after the edit"))
    }
}

/// Returns true if `found` contains all values of `expected`, apart from empty tables.
fn covers(found: &Leaves, expected: &Leaves) -> bool {
    let is_there =
        |path: &Vec<String>, value: &String| found.get(path) == Some(value) || value == "{}";
    expected.iter().all(|(path, value)| is_there(path, value))
}
