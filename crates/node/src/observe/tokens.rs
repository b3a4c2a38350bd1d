//! Finds out if the declared registry takes tokens only.

use image_swap_core::declaration::Registry;
use image_swap_registry::AuthScheme;
use image_swap_text::toml::Toml;

use crate::{
    desired::DesiredConfig,
    observed::ObservedHost,
    registry::{block_on, client, contact},
};

/// The permission to request the declared registry during an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryProbe {
    /// No request: the result of the last apply is used again.
    Skip,
    /// The registry is requested for its authentication schemes.
    Probe,
}

/// Returns true if the registry takes tokens only, and a note if that is unknown.
pub(super) fn bearer_only(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
    probe: RegistryProbe,
) -> (bool, Option<String>) {
    let declared = desired.declaration.registry.as_ref();
    // On other runtimes it makes no difference.
    let declared = declared.filter(|it| observed.drops_headers() && !it.username.is_empty());
    let Some(registry) = declared else { return (false, None) };
    let known = has_added_credential(observed, registry);
    if probe == RegistryProbe::Skip {
        return (known, None);
    }
    let contact = contact(&[], &registry.domain);
    let client = client(desired.declaration, contact, desired.header_over_http);
    let error = match block_on(client.auth_scheme()) {
        Ok(Ok(scheme)) => return (scheme == AuthScheme::BearerOnly, None),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let accepted = if known { "tokens alone, as before" } else { "a password" };
    let domain = &registry.domain;
    let note =
        format!("cannot request {domain}: {error}; image-swap assumes that it accepts {accepted}");
    (known, Some(note))
}

/// Returns true if the last edit of config.toml added the credential.
fn has_added_credential(observed: &ObservedHost, registry: &Registry) -> bool {
    let ledger = observed.ledger().ok().flatten();
    let Some(written) = ledger.as_ref().and_then(|ledger| ledger.files.get(&observed.config))
    else {
        return false;
    };
    let before = written.before.file().is_some_and(|file| has_credential(&file.bytes, registry));
    let after =
        written.contents.last().is_some_and(|content| has_credential(&content.get(), registry));
    after && !before
}

fn has_credential(config: &[u8], registry: &Registry) -> bool {
    let text = std::str::from_utf8(config).unwrap_or_default();
    Toml::parse(text).is_ok_and(|toml| {
        let table = |plugin| ["plugins", plugin, "registry", "configs", &registry.domain, "auth"];
        toml.keys(&["plugins"]).into_iter().any(|plugin| toml.get(&table(plugin)).is_some())
    })
}
