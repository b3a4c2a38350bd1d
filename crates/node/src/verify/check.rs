//! Requests to the declared registry before a host is changed.

use std::fs;

use image_swap_core::declaration::{Certificates, Credential, Declaration};
use image_swap_registry::{Error, Serves};

use crate::{
    desired::{ConfigForm, DesiredConfig},
    observe::HostObservation,
    plan::HostPlan,
    registry::{block_on, client, contact},
    runtime::kind::ContainerRuntime,
};

/// A target that the runtime could not pull from.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The host cannot be reached, its certificate is not trusted, or its answer is an error.
    #[error(
        "cannot use {host} as a mirror: {source}; correct the declaration (CA_CERT and INSECURE are \
         for the host DOMAIN), or skip this request with --no-check"
    )]
    Fails {
        /// Host, with a port if the rules name one.
        host: String,
        /// The error of the registry's client.
        source: Error,
    },
    /// The host requires a credential, or refuses the declared one.
    #[error(
        "cannot use {host} as a mirror: it refuses {sent}; declare USERNAME and PASSWORD for it, or \
         skip this request with --no-check"
    )]
    Unauthorized {
        /// Host, with a port if the rules name one.
        host: String,
        /// The credential that it got, in words.
        sent: &'static str,
    },
    /// The machine refuses to wait for sockets.
    #[error("cannot request {host}: {source}")]
    Io {
        /// Host, with a port if the rules name one.
        host: String,
        /// The error of the kernel.
        source: std::io::Error,
    },
}

/// Requests every declared target with the certificates and the credential that the runtime will
/// use after `plan`. Returns notes about targets whose answers show nothing.
///
/// # Errors
/// If the runtime could not pull from a target.
pub fn check(
    desired: &DesiredConfig<'_>,
    plan: &HostPlan,
    seen: &HostObservation,
) -> Result<Vec<String>, CheckError> {
    let mut notes = Vec::new();
    let declaration = expressible_part(desired, seen);
    let mirrors = declaration.mirrors();
    for host in mirrors.targets() {
        let contact = contact(&plan.contacts, host);
        let users_log_in = contact.users_log_in;
        let declared = declaration.registry.as_ref().filter(|registry| registry.covers(host));
        let declared = declared.is_some_and(|registry| !registry.username.is_empty());
        let endpoints = mirrors.hosts().flat_map(|(_, endpoints)| endpoints);
        let mut endpoints = endpoints.chain(mirrors.elsewhere());
        let path = endpoints.find(|endpoint| endpoint.host == host).map(|it| it.path.as_str());
        let path = path.filter(|path| !path.is_empty()).unwrap_or("library");
        let repository = [path, "/image-swap"].concat();
        let host = host.to_owned();
        let client = client(&declaration, contact, desired.header_over_http);
        let serves = block_on(client.serves(&repository))
            .map_err(|source| CheckError::Io { host: host.clone(), source })?;
        match serves {
            Ok(Serves::Yes) => {}
            Ok(Serves::Unauthorized) if users_log_in => {}
            Ok(Serves::Unauthorized) => {
                let sent =
                    if declared { "the declared credential" } else { "requests without one" };
                return Err(CheckError::Unauthorized { host, sent });
            }
            Ok(Serves::Unknown(reason)) => {
                notes.push(format!("cannot determine if {host} serves images: {reason}"));
            }
            Err(source @ (Error::Unresolved { .. } | Error::Unreachable { .. }))
                if uses_proxy(seen) =>
            {
                notes.push(format!(
                    "{host} was not checked, since the runtime uses a proxy and image-swap does not: {source}"
                ));
            }
            Err(source) => return Err(CheckError::Fails { host, source }),
        }
    }
    Ok(notes)
}

/// Returns the declaration without the parts that the form cannot express.
fn expressible_part(desired: &DesiredConfig<'_>, seen: &HostObservation) -> Declaration {
    let mut declaration = desired.declaration.clone();
    let tables =
        seen.observed.runtime == ContainerRuntime::Containerd && desired.form != ConfigForm::CertsD;
    if let Some(registry) = declaration.registry.as_mut().filter(|_| tables) {
        registry.ca = Certificates::default();
        let merges = seen.observed.version.is_none_or(|version| version.major >= 2);
        registry.insecure &= desired.form == ConfigForm::Mirrors && !merges;
        if desired.form == ConfigForm::Palette {
            registry.username = Credential::default();
        }
    }
    declaration
}

/// Returns true if the process of the runtime has a proxy in its environment.
fn uses_proxy(seen: &HostObservation) -> bool {
    let environment = seen.daemon.pid.and_then(|pid| fs::read(format!("/proc/{pid}/environ")).ok());
    let environment = environment.unwrap_or_default().to_ascii_lowercase();
    environment.split(|byte| *byte == 0).any(|variable| {
        let variable = String::from_utf8_lossy(variable);
        let proxy = variable.split_once('=').filter(|(_, value)| !value.is_empty());
        proxy.is_some_and(|(name, _)| ["https_proxy", "http_proxy", "all_proxy"].contains(&name))
    })
}
