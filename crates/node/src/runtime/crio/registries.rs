//! The `[[registry]]` tables of registries.conf that other tools wrote.

use image_swap_text::toml::{Item, TableLike, Toml};

use crate::files::HostPath;

/// A `[[registry]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistryTable {
    /// The references that it is for: a host with a path, or `*.` and a domain.
    pub(crate) prefix: String,
    /// The text in place of the prefix; empty to keep the prefix.
    location: String,
    /// True if plain HTTP and unverified certificates are accepted.
    pub(crate) insecure: bool,
    /// True if pulls from the location are refused.
    pub(crate) blocked: bool,
    /// The locations of its mirrors; true for an insecure one.
    pub(crate) mirrors: Vec<(String, bool)>,
}

/// The registries of all files but image-swap's own.
#[derive(Debug, Default)]
pub(crate) struct ForeignRegistries(Vec<PrefixRule>);

/// A registry of a file. `later` is true if the file is read after image-swap's own.
#[derive(Debug)]
struct PrefixRule {
    path: HostPath,
    later: bool,
    registry: RegistryTable,
}

impl RegistryTable {
    /// Returns the location of the references that begin with `prefix`; `None` if the registry
    /// does not move them.
    pub(crate) fn location_of(&self, prefix: &str) -> Option<String> {
        let rest = prefix.strip_prefix(&self.prefix);
        match rest {
            _ if self.location.is_empty() => None,
            Some(rest) => Some([&self.location, rest].concat()),
            // A wildcard: the location replaces the host.
            None => Some([&self.location, &prefix[host_of(prefix).len()..]].concat()),
        }
    }

    /// Returns true if the rule is for every reference that begins with `prefix`.
    fn covers(&self, prefix: &str) -> bool {
        match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let (domain, path) = domain.split_once('/').unwrap_or((domain, ""));
                let host = host_of(prefix);
                host.ends_with(domain) && host.len() > domain.len() && path.is_empty()
            }
            None => is_below(prefix, &self.prefix),
        }
    }

    /// Returns true if the rule is for some references only of those that begin with `prefix`, and
    /// wins for them.
    fn wins_below(&self, prefix: &str) -> bool {
        let longer = self.prefix.len() > prefix.len();
        let overlaps = match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let (domain, _) = domain.split_once('/').unwrap_or((domain, ""));
                host_of(prefix).ends_with(domain)
            }
            None => is_below(&self.prefix, prefix),
        };
        longer && overlaps
    }
}

impl ForeignRegistries {
    /// Adds the registries of a file; each replaces an earlier one with its prefix.
    pub(crate) fn add(&mut self, path: &HostPath, later: bool, registries: Vec<RegistryTable>) {
        for registry in registries {
            self.0.retain(|rule| rule.registry.prefix != registry.prefix || (later && !rule.later));
            self.0.push(PrefixRule { path: path.clone(), later, registry });
        }
    }

    /// Returns the file after image-swap's own that has a rule for exactly `prefix`.
    pub(crate) fn later(&self, prefix: &str) -> Option<&HostPath> {
        let rule = self.0.iter().find(|rule| rule.later && rule.registry.prefix == prefix);
        rule.map(|rule| &rule.path)
    }

    /// Returns the rule in force for references that begin with `prefix`, and its file.
    pub(crate) fn of(&self, prefix: &str) -> Option<(&HostPath, &RegistryTable)> {
        let rules = self.0.iter().filter(|rule| rule.registry.covers(prefix));
        let rule = rules.max_by_key(|rule| rule.registry.prefix.len())?;
        Some((&rule.path, &rule.registry))
    }

    /// Returns the rules that win over the one for `prefix` for some of its references, but
    /// for those of image-swap's `own` prefixes.
    pub(crate) fn longer<'a>(
        &'a self,
        prefix: &'a str,
        own: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a HostPath, &'a str)> {
        let rules = self.0.iter().filter(move |rule| {
            let found = rule.registry.prefix.as_str();
            rule.registry.wins_below(prefix) && !own.contains(&found)
        });
        rules.map(|rule| (&rule.path, rule.registry.prefix.as_str()))
    }
}

/// Reads the registries of a file.
///
/// # Errors
/// Anything for which containers/image refuses the file, and with it every pull.
pub(crate) fn parse(toml: &Toml<'_>) -> Result<Vec<RegistryTable>, String> {
    let modes = ["disabled", "enforcing", "permissive"];
    let mode = toml.get(&["short-name-mode"]).map(|item| item.as_str().unwrap_or_default());
    if let Some(mode) = mode.filter(|mode| !mode.is_empty() && !modes.contains(mode)) {
        return Err(format!("expected a short-name-mode of {}, found {mode}", modes.join(", ")));
    }
    for name in toml.strings(&["unqualified-search-registries"]) {
        without_scheme("unqualified-search-registries", name)?;
    }
    tables(toml.get(&["registry"]), "registry")?.into_iter().map(registry).collect()
}

/// Returns the host of a prefix or a location.
pub(crate) fn host_of(location: &str) -> &str {
    location.split('/').next().unwrap_or_default()
}

fn registry(table: &dyn TableLike) -> Result<RegistryTable, String> {
    let (prefix, location) = (text(table, "prefix")?, text(table, "location")?);
    let wildcard = prefix.starts_with("*.");
    if prefix.is_empty() && location.is_empty() {
        return Err("a [[registry]] has no location".to_owned());
    }
    if location.is_empty() && !wildcard {
        return Err(format!("the [[registry]] for {prefix} has no location"));
    }
    if prefix.contains('*') && !(wildcard && prefix.matches('*').count() == 1) {
        return Err(format!("expected a wildcard at the start of a prefix, found {prefix}"));
    }
    let mut mirrors = Vec::new();
    for mirror in tables(table.get("mirror"), "registry.mirror")? {
        let location = text(mirror, "location")?;
        if location.is_empty() {
            return Err("a [[registry.mirror]] has no location".to_owned());
        }
        let from = text(mirror, "pull-from-mirror")?;
        if !["", "all", "digest-only", "tag-only"].contains(&&*from) {
            let expected = "expected pull-from-mirror of all, digest-only or tag-only";
            return Err(format!("{expected}, found {from}"));
        }
        mirrors.push((location, flag(mirror, "insecure")?));
    }
    flag(table, "mirror-by-digest-only")?;
    Ok(RegistryTable {
        prefix: if prefix.is_empty() { location.clone() } else { prefix },
        location,
        insecure: flag(table, "insecure")?,
        blocked: flag(table, "blocked")?,
        mirrors,
    })
}

/// Returns the tables of an array, written with headers or in brackets.
fn tables<'t>(item: Option<&'t Item>, name: &str) -> Result<Vec<&'t dyn TableLike>, String> {
    let Some(item) = item else { return Ok(Vec::new()) };
    if let Some(tables) = item.as_array_of_tables() {
        return Ok(tables.iter().map(|table| table as &dyn TableLike).collect());
    }
    let odd = || format!("expected [[{name}]] tables, found another value");
    let values = item.as_array().ok_or_else(odd)?.iter();
    values
        .map(|value| value.as_inline_table().map(|table| table as &dyn TableLike).ok_or_else(odd))
        .collect()
}

fn text(table: &dyn TableLike, key: &str) -> Result<String, String> {
    let Some(item) = table.get(key) else { return Ok(String::new()) };
    let text =
        item.as_str().ok_or_else(|| format!("expected a text as {key}, found another value"))?;
    without_scheme(key, text)?;
    Ok(text.trim_end_matches('/').to_owned())
}

fn flag(table: &dyn TableLike, key: &str) -> Result<bool, String> {
    let Some(item) = table.get(key) else { return Ok(false) };
    item.as_bool().ok_or_else(|| format!("expected true or false as {key}, found another value"))
}

fn without_scheme(key: &str, text: &str) -> Result<(), String> {
    match text.split_once("://") {
        // The whole text is not shown, since it may contain a credential.
        Some((scheme @ ("http" | "https"), _)) => {
            Err(format!("expected a host without scheme as {key}, found {scheme}://"))
        }
        _ => Ok(()),
    }
}

/// Returns true if `prefix` is `of`, or a part of it.
fn is_below(prefix: &str, of: &str) -> bool {
    prefix.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<RegistryTable>, String> {
        parse(&Toml::parse(text).unwrap())
    }

    #[test]
    fn invalid_registries_are_refused() {
        for text in [
            "[[registry]]\nlocation = \"https://m.io\"",
            "[[registry]]\nprefix = \"http://m.io\"\nlocation = \"m.io\"",
            "[[registry]]\nlocation = \"m.io\"\n[[registry.mirror]]\nlocation = \"https://k.io\"",
            "[[registry]]\nlocation = \"m.io\"\n[[registry.mirror]]\ninsecure = true",
            "[[registry]]\nprefix = \"m.io\"",
            "[[registry]]\ninsecure = true",
            "[[registry]]\nlocation = \"m.io\"\nblocked = \"yes\"",
            "[[registry]]\nprefix = \"m.*.io\"\nlocation = \"m.io\"",
            "registry = \"m.io\"",
            "unqualified-search-registries = [\"https://docker.io\"]",
            "short-name-mode = \"strict\"",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("registry = [{ location = \"m.io/\" }]").unwrap()[0].prefix, "m.io");
    }

    #[test]
    fn longest_prefix_is_in_force() {
        let mut foreign = ForeignRegistries::default();
        let text = "[[registry]]\nprefix = \"*.example.org\"\n\
                    [[registry]]\nprefix = \"docker.io/library\"\nlocation = \"m.io/l\"\n\
                    [[registry]]\nlocation = \"docker.io\"\ninsecure = true\n";
        foreign.add(&"/etc/a".into(), false, read(text).unwrap());
        let of = |prefix: &str| foreign.of(prefix).map(|(_, registry)| registry.prefix.clone());
        assert_eq!(of("docker.io").as_deref(), Some("docker.io"));
        assert_eq!(of("docker.io/library/a").as_deref(), Some("docker.io/library"));
        assert_eq!(of("h.example.org/x").as_deref(), Some("*.example.org"));
        assert_eq!(of("example.org"), None);
        let longer = |prefix: &str| foreign.longer(prefix, &[]).count();
        assert_eq!(
            [longer("docker.io"), longer("docker.io/library"), longer("quay.io")],
            [1, 0, 0]
        );
        let (_, registry) = foreign.of("docker.io/library/a").unwrap();
        assert_eq!(registry.location_of("docker.io/library/a").as_deref(), Some("m.io/l/a"));
    }
}
