//! Which containerd, and whether its files fit it.

use super::{
    registry::{CRI, IMAGES},
    sources::Source,
};
use crate::{Observed, Refusal, Version, case, plan::Changes};

/// The first version with `override_path`.
const FIRST: Version = Version::new(1, 6, 0);
/// The first version that nobody has tried.
const UNTRIED: Version = Version::new(2, 4, 0);

/// Refuses what cannot be told at all.
pub(super) fn check(
    observed: &Observed,
    sources: &[Source<'_>],
    changes: &mut Changes<'_>,
) -> Result<(), Refusal> {
    let version = observed.version;
    if let Some(version) = version.filter(|version| *version < FIRST) {
        let found = format!("expected containerd {FIRST} or later, found {version}");
        return Err(Refusal::new(&case::RUNTIME_TOO_OLD, found));
    }
    if let Some(version) = version.filter(|version| *version >= UNTRIED) {
        changes.met(&case::RUNTIME_NEW, &format!("containerd {version}"));
    }
    let Some((main, imports)) =
        sources.split_first().filter(|(main, _)| main.path == observed.config)
    else {
        return Ok(());
    };
    let is_one = version.is_some_and(|version| version.major < 2);
    if let Some(found) = main.version.filter(|&found| is_one && found > 2) {
        let found = format!("{}: expected configuration version 2, found {found}", main.path);
        return Err(Refusal::new(&case::CONFIG_VERSION_UNKNOWN, found));
    }
    for source in sources {
        let disabled = source.toml.strings(&["disabled_plugins"]);
        if let Some(found) = disabled.into_iter().find(|name| ["cri", CRI, IMAGES].contains(name)) {
            let found = format!(
                "{}: expected the CRI plugin in use, found {found} among disabled_plugins",
                source.path
            );
            return Err(Refusal::new(&case::CRI_DISABLED, found));
        }
    }
    let main_version = main.version.unwrap_or(1);
    for import in imports {
        // An older file below a newer one is migrated by containerd 2.
        let Some(found) = import.version else { continue };
        if found > main_version || (is_one && found != main_version) {
            let found = format!(
                "{}: expected configuration version {main_version} as in {}, found {found}",
                import.path, main.path
            );
            return Err(Refusal::new(&case::DROP_IN_VERSION, found));
        }
    }
    Ok(())
}
