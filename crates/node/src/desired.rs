//! The desired configuration of a host.

use std::fmt;

use image_swap_core::{declaration::Declaration, mirror::Fallback, render::Options};
use serde::{Deserialize, Serialize};

/// A declaration, and the way in which a host is configured by it.
#[derive(Clone, Copy, Debug)]
pub struct DesiredConfig<'a> {
    /// The registry and its rules.
    pub declaration: &'a Declaration,
    /// The form of the configuration.
    pub form: ConfigForm,
    /// The requests to the public registry after the mirrors.
    pub fallback: Fallback,
    /// The permission for a restart.
    pub restart: RestartPolicy,
    /// True if credentials may travel over plain HTTP.
    pub header_over_http: bool,
}

impl DesiredConfig<'_> {
    /// Returns the options by which files of a host are rendered.
    pub(crate) fn options(&self) -> Options {
        Options {
            fallback: self.fallback,
            show_credentials: true,
            header_over_http: self.header_over_http,
            ..Options::default()
        }
    }

    /// Returns each registry host, `_default` for all others, and the URLs that are requested
    /// for it, in order. The registry itself is the last one, if it is requested: by the URL
    /// that `upstream` returns, or else by its own.
    pub(crate) fn urls(
        &self,
        upstream: impl Fn(&str) -> Option<String>,
    ) -> impl Iterator<Item = (&str, Vec<String>)> {
        let mirrors = self.declaration.mirrors();
        let default = (!mirrors.elsewhere().is_empty()).then(|| ("_default", mirrors.elsewhere()));
        mirrors.hosts().chain(default).map(move |(host, endpoints)| {
            let mut urls: Vec<String> =
                endpoints.iter().map(|endpoint| mirrors.api_url(endpoint)).collect();
            if host != "_default" && (urls.is_empty() || self.fallback == Fallback::Upstream) {
                urls.push(upstream(host).unwrap_or_else(|| mirrors.registry_url(host)));
            }
            (host, urls)
        })
    }
}

/// How containerd is told. A host has one form at a time; other runtimes have
/// one way each, which is [`ConfigForm::CertsD`] too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ConfigForm {
    /// Files below certs.d, read at every pull.
    #[default]
    CertsD,
    /// The mirrors table of config.toml, with URLs that registries answer.
    Mirrors,
    /// The mirrors table as the page prints it; no standard registry answers it.
    Page,
}

/// The permission to restart a runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum RestartPolicy {
    /// Changes that need a restart are skipped.
    #[default]
    Never,
    /// Once, if need be; taken back if the runtime then does not answer and pull.
    Allow,
}

impl fmt::Display for ConfigForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertsD => "certs-d",
            Self::Mirrors => "mirrors",
            Self::Page => "page",
        })
    }
}
