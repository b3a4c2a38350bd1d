//! What a host should be like.

use std::fmt;

use image_swap_core::{declaration::Declaration, nodes::Fallback};
use serde::{Deserialize, Serialize};

/// What was declared, and how a host is told.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The registry and its rules.
    pub declaration: &'a Declaration,
    /// How the runtime is told.
    pub form: Form,
    /// Whether the public registry may be asked after the mirrors.
    pub fallback: Fallback,
    /// Whether the runtime may be restarted.
    pub restart: Restart,
    /// Whether credentials may travel over plain HTTP.
    pub header_over_http: bool,
}

/// How containerd is told. A host has one form at a time; other runtimes have
/// one way each, which is [`Form::CertsD`] too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Files below `certs.d`, read at every pull.
    #[default]
    CertsD,
    /// The mirrors table of config.toml, with URLs that registries answer.
    Mirrors,
    /// The mirrors table of config.toml, as the page prints it.
    Page,
}

/// Whether a runtime may be restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restart {
    /// A plan that needs it is not carried out.
    #[default]
    Never,
    /// Once, where a plan needs it.
    Allow,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertsD => "certs-d",
            Self::Mirrors => "mirrors",
            Self::Page => "page",
        })
    }
}
