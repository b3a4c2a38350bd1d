//! Blocking requests to registries, with the settings of a host.

use std::{future::Future, io};

use image_swap_core::declaration::Declaration;
use image_swap_registry::{RegistryClient, RegistryTrust, TlsTrust, basic_authorization};
use tokio::runtime::Builder;

use crate::plan::Contact;

/// Returns a client that adds the settings of `contact` to those of `declaration`, as the runtime
/// of a node does.
pub(crate) fn client(
    declaration: &Declaration,
    contact: Contact,
    header_over_http: bool,
) -> RegistryClient {
    let Contact { host: domain, authorities, client, skip_verify, mut headers, users_log_in } =
        contact;
    let registry = declaration.registry.as_ref().filter(|found| found.covers(&domain));
    let plain = declaration.mirrors().scheme(&domain) == "http";
    let trust = if plain {
        RegistryTrust::Plain
    } else {
        let declared = registry.map(|registry| registry.ca.pem().as_bytes());
        let mut tls = TlsTrust::system_and(authorities.iter().map(Vec::as_slice).chain(declared));
        tls.skip_verify = skip_verify || registry.is_some_and(|registry| registry.insecure);
        tls.client = client;
        RegistryTrust::Tls(tls)
    };
    let sends = (!plain || header_over_http) && !users_log_in;
    let is_authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
    let kept = headers.extract_if(.., |name, _| is_authorization(name)).next();
    let declared = registry.filter(|_| sends).and_then(basic_authorization);
    let authorization = declared.or(kept.map(|(_, value)| value));
    RegistryClient { domain, trust, headers, authorization }
}

/// Returns the settings for `host` among `contacts`; without settings if there are none.
pub(crate) fn contact(contacts: &[Contact], host: &str) -> Contact {
    let found = contacts.iter().find(|contact| contact.host == host).cloned();
    found.unwrap_or_else(|| Contact { host: host.to_owned(), ..Contact::default() })
}

/// Waits for `request`.
///
/// # Errors
/// If the kernel refuses to wait for sockets.
pub(crate) fn block_on<T>(request: impl Future<Output = T>) -> io::Result<T> {
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(request))
}
