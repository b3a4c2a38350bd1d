//! Renders the mirrors as configuration of container runtimes and image builders.
//!
//! [`FORMATS`] is the table of formats: a new one is one file and one row.
//! Everything is printed from [`MirrorTable`] and the declared [`Registry`]; what a
//! format has no words for is in [`Rendered::inexpressible`], and nothing is
//! written that would get it wrong.

mod buildkit;
mod containerd;
mod containerd_mirrors;
mod docker;
mod k3s;
mod openshift;
mod quote;
mod registries_conf;
mod talos;

pub use self::{
    containerd::FORMAT as CONTAINERD, containerd_mirrors::FORMAT as CONTAINERD_MIRRORS,
    docker::FORMAT as DOCKER, k3s::FORMAT as K3S, quote::MARKER,
    registries_conf::FORMAT as REGISTRIES_CONF,
};
use crate::{
    declaration::{Declaration, Registry},
    mirror::{Capabilities, Endpoint, Fallback, MirrorTable, UnsupportedRule},
    rule::RuleSet,
};

/// A format that nodes, or those who configure them, read.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// Who reads it.
    pub about: &'static str,
    capabilities: Capabilities,
    print: fn(&RenderContext<'_>, &mut Rendered),
}

/// The formats.
pub const FORMATS: [Format; 8] = [
    CONTAINERD,
    CONTAINERD_MIRRORS,
    REGISTRIES_CONF,
    K3S,
    DOCKER,
    buildkit::FORMAT,
    talos::FORMAT,
    openshift::FORMAT,
];

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether the registry itself may be asked after its mirrors.
    pub fallback: Fallback,
    /// Whether credentials are printed; else each stands as `<redacted>`.
    pub show_credentials: bool,
    /// How endpoints of containerd's mirrors table are written.
    pub endpoint: EndpointForm,
    /// The version of containerd's configuration.
    pub config_version: ConfigVersion,
    /// Whether credentials may travel over plain HTTP.
    pub header_over_http: bool,
}

/// How endpoints of containerd's mirrors table are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointForm {
    /// `https://host/v2/path`, which every registry answers.
    #[default]
    Url,
    /// `host/path`, as Spectro Cloud Palette's documentation, "Override Registry Configuration",
    /// prints it; standard registries do not answer it.
    Palette,
}

/// The version of containerd's configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigVersion {
    /// Read by every containerd from 1.3 on.
    #[default]
    Two,
    /// Read by containerd 2.0 and later; version 4 of 2.3 has the same tables.
    Three,
}

/// What was printed.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The files, below the directory that the format is kept in.
    pub files: Vec<RenderedFile>,
    /// What the format has no words for.
    pub inexpressible: Vec<UnsupportedRule>,
    /// What a person should know beside it.
    pub notes: Vec<&'static str>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Relative to where the format's files are kept.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether a credential is in it: nobody else may read it then.
    pub secret: bool,
}

impl Rendered {
    /// Adds a file; `secret`: a credential is in it.
    fn add(&mut self, path: impl Into<String>, text: impl Into<String>, secret: bool) {
        self.files.push(RenderedFile { path: path.into(), text: text.into(), secret });
    }
}

/// What a format is printed from.
struct RenderContext<'a> {
    mirrors: &'a MirrorTable,
    rules: &'a RuleSet,
    registry: Option<&'a Registry>,
    options: Options,
}

impl Format {
    /// The format called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Returns its capabilities.
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Prints `declaration` in this format.
    pub fn render(&self, declaration: &Declaration, options: Options) -> Rendered {
        let rules = declaration.rules();
        let registry = declaration.registry.as_ref();
        let told = RenderContext { mirrors: declaration.mirrors(), rules, registry, options };
        let inexpressible = self.capabilities.inexpressible(rules, told.mirrors, options.fallback);
        let mut printed = Rendered { inexpressible, ..Rendered::default() };
        // A format that would ask the registry all the same is not written at all.
        if told.never() && self.capabilities.never.is_err() {
            return printed;
        }
        (self.print)(&told, &mut printed);
        if told.leaves_credentials_out() {
            printed.notes.push(OVER_HTTP);
        }
        printed
    }
}

/// The note on [`Options::header_over_http`].
pub const OVER_HTTP: &str = "user name and password are left out for hosts that use plain HTTP; \
                             serve them over HTTPS, or use --header-over-http";

impl RenderContext<'_> {
    /// Returns each host and its endpoints: the hosts with a rule, the other hosts of targets,
    /// which have no endpoint but themselves, and `default` for all other hosts.
    fn hosts<'h>(&'h self, default: &'h str) -> impl Iterator<Item = (&'h str, &'h [Endpoint])> {
        let has_no_rule = |host: &&str| self.mirrors.host(host).is_none();
        let targets = self.mirrors.targets().filter(has_no_rule).map(|host| (host, &[][..]));
        let elsewhere = Some((default, self.mirrors.elsewhere()));
        let elsewhere = elsewhere.filter(|(_, endpoints)| !endpoints.is_empty());
        self.mirrors.hosts().chain(targets).chain(elsewhere)
    }

    /// Returns the declared registry if `host` is one of its hosts.
    fn registry_at(&self, host: &str) -> Option<&Registry> {
        self.registry.filter(|registry| registry.covers(host))
    }

    /// Returns true if a credential was declared for a host of a target, and is left out
    /// because nodes reach that host by plain HTTP.
    fn leaves_credentials_out(&self) -> bool {
        let has_login = |host: &str| {
            self.registry_at(host).is_some_and(|registry| !registry.username.is_empty())
        };
        let is_plain = |host: &&str| self.mirrors.scheme(host) == "http";
        !self.options.header_over_http && self.mirrors.targets().filter(is_plain).any(has_login)
    }

    /// The CA that signs for `host`.
    fn ca(&self, host: &str) -> Option<&str> {
        let registry = self.registry_at(host)?;
        (!registry.ca.is_empty()).then(|| registry.ca.pem())
    }

    /// Whether certificates of `host` are taken unseen.
    fn insecure(&self, host: &str) -> bool {
        self.registry_at(host).is_some_and(|registry| registry.insecure)
    }

    /// User name and password for `host`, or what stands for them.
    fn credentials(&self, host: &str) -> Option<(&str, &str)> {
        let registry = self.registry_at(host).filter(|registry| !registry.username.is_empty())?;
        if self.mirrors.scheme(host) == "http" && !self.options.header_over_http {
            return None;
        }
        Some(if self.options.show_credentials {
            (registry.username.expose(), registry.password.expose())
        } else {
            (quote::REDACTED, quote::REDACTED)
        })
    }

    /// The value of an Authorization header for `host`.
    fn authorization(&self, host: &str) -> Option<String> {
        let basic = self.basic(host)?;
        Some(if self.options.show_credentials { ["Basic ", &basic].concat() } else { basic })
    }

    /// [`Registry::basic`] for `host`, or what stands for it.
    fn basic(&self, host: &str) -> Option<String> {
        self.credentials(host)?;
        if !self.options.show_credentials {
            return Some(quote::REDACTED.to_owned());
        }
        self.registry_at(host)?.basic()
    }

    /// Whether what is printed about `host` holds a credential.
    fn is_secret(&self, host: &str) -> bool {
        self.options.show_credentials && self.credentials(host).is_some()
    }

    const fn never(&self) -> bool {
        matches!(self.options.fallback, Fallback::Never)
    }
}

#[cfg(test)]
mod tests;
