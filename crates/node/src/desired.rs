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

/// The form of containerd's configuration. A host has one form at a time; other runtimes have
/// one form each, which is [`ConfigForm::CertsD`] too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ConfigForm {
    /// Files below certs.d, which containerd reads at every pull.
    #[default]
    #[serde(rename = "certs-d")]
    CertsD,
    /// The mirrors table of config.toml, with URLs that registries serve.
    #[serde(rename = "mirrors")]
    Mirrors,
    /// The mirrors table in Palette's format, which no standard registry serves.
    #[serde(rename = "page", alias = "palette")]
    #[cfg_attr(feature = "clap", value(alias = "page"))]
    Palette,
}

/// The permission to restart a runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum RestartPolicy {
    /// No restart; a plan that needs one is not applied.
    #[default]
    Never,
    /// One restart if necessary; rolled back if the runtime then does not answer and pull.
    Allow,
}

impl fmt::Display for ConfigForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertsD => "certs-d",
            Self::Mirrors => "mirrors",
            Self::Palette => "palette",
        })
    }
}
