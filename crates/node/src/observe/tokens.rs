//! Finds out if the declared registry takes tokens only.

use image_swap_core::declaration::Registry;
use image_swap_registry::AuthScheme;
use image_swap_text::toml::{DocumentMut, Item};

use crate::{
    desired::DesiredConfig,
    observed::ObservedHost,
    registry::{block_on, client, contact},
};

/// The permission to request the declared registry during an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskRegistry {
    /// No request: the result of the last apply is used again.
    Nobody,
    /// The registry is requested for its authentication schemes.
    Registry,
}

/// Returns true if the registry takes tokens only, and a note if that is unknown.
pub(super) fn bearer_only(
    desired: &DesiredConfig<'_>,
    observed: &ObservedHost,
    asks: AskRegistry,
) -> (bool, Option<String>) {
    let declared = desired.declaration.registry.as_ref();
    let Some(registry) = declared.filter(|registry| !registry.username.is_empty()) else {
        return (false, None);
    };
    // On other runtimes it makes no difference.
    if !observed.drops_headers() {
        return (false, None);
    }
    let told = was_told(observed, registry);
    if asks == AskRegistry::Nobody {
        return (told, None);
    }
    let contact = contact(&[], &registry.domain);
    let client = client(desired.declaration, contact, desired.header_over_http);
    let scheme = block_on(client.auth_scheme())
        .map_err(|error| error.to_string())
        .and_then(|scheme| scheme.map_err(|error| error.to_string()));
    match scheme {
        Ok(scheme) => (scheme == AuthScheme::BearerOnly, None),
        Err(error) => {
            let taken = if told {
                "as before, that it takes tokens alone"
            } else {
                "that it takes a password"
            };
            (
                told,
                Some(format!("the registry could not be asked, so it is taken {taken}: {error}")),
            )
        }
    }
}

/// True if the last edit of config.toml added the credential.
fn was_told(observed: &ObservedHost, registry: &Registry) -> bool {
    let ledger = observed.ledger().ok().flatten();
    let Some(written) = ledger.as_ref().and_then(|ledger| ledger.files.get(&observed.config))
    else {
        return false;
    };
    let before = written.before.file().is_some_and(|file| has_credential(&file.bytes, registry));
    let ours = written.ours.last().is_some_and(|ours| has_credential(&ours.get(), registry));
    ours && !before
}

fn has_credential(config: &[u8], registry: &Registry) -> bool {
    let text = std::str::from_utf8(config).unwrap_or_default();
    let Ok(document) = text.parse::<DocumentMut>() else { return false };
    let plugins = document.get("plugins").and_then(Item::as_table_like);
    plugins.is_some_and(|plugins| {
        plugins.iter().any(|(_, plugin)| {
            let keys = ["registry", "configs", &registry.domain, "auth"];
            keys.iter().try_fold(plugin, |item, key| item.get(key)).is_some()
        })
    })
}
