//! Renders the mirror table as configuration for container runtimes and image builders.
//!
//! [`FORMATS`] is the table of formats: a new format is one file and one row. Every format
//! prints from [`MirrorTable`] and the declared [`Registry`]. Rules that a format cannot
//! express are in [`Rendered::inexpressible`], and are left out of its files.

pub mod bootstrap;
pub mod cluster_api;

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

/// A format of configuration files for nodes or for tools that configure nodes.
#[derive(Debug)]
pub struct Format {
    /// Name on the command line.
    pub name: &'static str,
    /// Description of the reader.
    pub about: &'static str,
    capabilities: Capabilities,
    print: fn(&RenderContext<'_>, &mut Rendered),
}

/// All formats.
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

/// Options of rendering.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Permission to pull from the registry itself after its mirrors.
    pub fallback: Fallback,
    /// True to print credentials; otherwise each is printed as `<redacted>`.
    pub show_credentials: bool,
    /// Form of the endpoints in containerd's mirrors table.
    pub endpoint: EndpointForm,
    /// Version of containerd's configuration.
    pub config_version: ConfigVersion,
    /// True if credentials are also printed for hosts that use plain HTTP.
    pub header_over_http: bool,
}

/// Form of the endpoints in containerd's mirrors table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointForm {
    /// `https://host/v2/path`, which works with every registry.
    #[default]
    Url,
    /// `host/path`, the form in Spectro Cloud Palette's documentation, "Override Registry
    /// Configuration". Standard registries do not serve it.
    Palette,
}

/// The version of containerd's configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigVersion {
    /// Version 2, for every containerd from 1.3 on.
    #[default]
    Two,
    /// Version 3, for containerd 2.0 and later; version 4 of 2.3 has the same tables.
    Three,
}

/// The result of rendering.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Files, relative to the directory of the format; empty if the format cannot express the
    /// fallback.
    pub files: Vec<RenderedFile>,
    /// Rules that the format cannot express.
    pub inexpressible: Vec<UnsupportedRule>,
    /// Notes for the administrator.
    pub notes: Vec<&'static str>,
}

/// One rendered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Path relative to the directory of the format.
    pub path: String,
    /// Content of the file.
    pub text: String,
    /// True if the file contains a credential, so that only its owner may read it.
    pub secret: bool,
}

impl Rendered {
    /// Adds a file; `secret` is true if it contains a credential.
    fn add(&mut self, path: impl Into<String>, text: impl Into<String>, secret: bool) {
        self.files.push(RenderedFile { path: path.into(), text: text.into(), secret });
    }
}

/// Input of a format's printer.
struct RenderContext<'a> {
    mirrors: &'a MirrorTable,
    rules: &'a RuleSet,
    registry: Option<&'a Registry>,
    options: Options,
}

impl Format {
    /// Returns the format called `name`; `None` if there is none.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Returns the capabilities of the format.
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Prints `declaration` in this format.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::{
    ///     declaration::{Declaration, DeclarationSource},
    ///     render::{Format, Options},
    /// };
    ///
    /// let text = "quay.io::h.io/quay";
    /// let declaration = Declaration::read(DeclarationSource::Mirrors, text, 0)?;
    /// let format = Format::named("containerd").unwrap();
    /// let rendered = format.render(&declaration, Options::default());
    /// let quay = rendered.files.iter().find(|file| file.path == "quay.io/hosts.toml").unwrap();
    /// assert!(quay.text.contains("https://h.io/v2/quay"));
    /// # Ok::<(), image_swap_core::declaration::DeclarationError>(())
    /// ```
    pub fn render(&self, declaration: &Declaration, options: Options) -> Rendered {
        let rules = declaration.rules();
        let registry = declaration.registry.as_ref();
        let context = RenderContext { mirrors: declaration.mirrors(), rules, registry, options };
        let inexpressible =
            self.capabilities.inexpressible(rules, context.mirrors, options.fallback);
        let mut printed = Rendered { inexpressible, ..Rendered::default() };
        // A format that cannot prevent pulls from the registry itself is not written at all.
        if context.never() && self.capabilities.never.is_err() {
            return printed;
        }
        (self.print)(&context, &mut printed);
        if context.omits_credentials() {
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
    /// and `default` for all other hosts. The other hosts of targets have no endpoints, since
    /// nodes pull from them directly.
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
    fn omits_credentials(&self) -> bool {
        let has_login = |host: &str| {
            self.registry_at(host).is_some_and(|registry| !registry.username.is_empty())
        };
        let is_plain = |host: &&str| self.mirrors.scheme(host) == "http";
        !self.options.header_over_http && self.mirrors.targets().filter(is_plain).any(has_login)
    }

    /// Returns the CA certificates for `host`; `None` for those of the system.
    fn ca(&self, host: &str) -> Option<&str> {
        let registry = self.registry_at(host)?;
        (!registry.ca.is_empty()).then(|| registry.ca.pem())
    }

    /// Returns true if certificates of `host` are not verified.
    fn insecure(&self, host: &str) -> bool {
        self.registry_at(host).is_some_and(|registry| registry.insecure)
    }

    /// Returns user name and password for `host`, redacted unless they are to be printed;
    /// `None` if `host` gets none.
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

    /// Returns the value of an Authorization header for `host`, or its redacted form; `None` if
    /// `host` gets no credential.
    fn authorization(&self, host: &str) -> Option<String> {
        let basic = self.basic(host)?;
        Some(if self.options.show_credentials { ["Basic ", &basic].concat() } else { basic })
    }

    /// Returns [`Registry::basic`] for `host`, or its redacted form; `None` if `host` gets no
    /// credential.
    fn basic(&self, host: &str) -> Option<String> {
        self.credentials(host)?;
        if !self.options.show_credentials {
            return Some(quote::REDACTED.to_owned());
        }
        self.registry_at(host)?.basic()
    }

    /// Returns true if the output about `host` contains a credential.
    fn is_secret(&self, host: &str) -> bool {
        self.options.show_credentials && self.credentials(host).is_some()
    }

    const fn never(&self) -> bool {
        matches!(self.options.fallback, Fallback::Never)
    }
}

#[cfg(test)]
mod tests;
