//! The declaration of a command: the flags that name it, and the warnings that concern the command.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use image_swap_core::{
    declaration::{Declaration, DeclarationError, DeclarationSource, UnixTime},
    diagnostic::{Code, Diagnostic},
};
use image_swap_text::yaml::Tree;

use crate::{failure::Failure, output, text};

/// The error of a call without a declaration.
pub(crate) const NO_DECLARATION: &str = "no declaration is given: use -f FILE, --registry-info \
                                         FILE, --values FILE, --map FILE or --mirrors LIST";

/// The heading of these flags in help texts.
const HEADING: &str = "Declaration (one of)";

/// The flags that name the declaration: at most one is given.
#[derive(Debug, Clone, Args)]
#[group(id = "declaration", multiple = false)]
pub(crate) struct DeclarationArgs {
    /// Any of the next three files: the kind is recognised. `-` is standard input.
    #[arg(short = 'f', long, value_name = "FILE", help_heading = HEADING)]
    filename: Option<PathBuf>,
    /// The Secret registry-info, YAML or JSON.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    registry_info: Option<PathBuf>,
    /// Helm values with ociImageRegistry at top level or under config.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    values: Option<PathBuf>,
    /// An imageswap map.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    map: Option<PathBuf>,
    /// A list such as `docker.io::harbor.example.org/docker.io,gcr.io::harbor.example.org/gcr.io`.
    #[arg(long, value_name = "LIST", help_heading = HEADING)]
    mirrors: Option<String>,
}

/// The dialect of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// The dialect of this program.
    #[default]
    Canonical,
    /// The dialect of imageswap-webhook.
    Imageswap,
}

/// The use of a declaration. It determines the warnings that concern a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeclarationUse {
    /// Swapping images.
    Images,
    /// Configuring container runtimes, whose limits the command reports itself.
    Nodes,
}

impl DeclarationUse {
    /// Returns true if `finding` concerns commands with this purpose. Errors concern all.
    pub(crate) fn concerns(self, finding: &Diagnostic) -> bool {
        let of_nodes = matches!(
            finding.code,
            Code::CredentialOverHttp
                | Code::InsecureWithCa
                | Code::OutsideDomain
                | Code::PasswordWithoutUsername
                | Code::SchemeDiffers
                | Code::ShortNames
                | Code::TrailingNewline
        );
        let is_other = match self {
            Self::Images => of_nodes || finding.code == Code::NodeInexpressible,
            Self::Nodes => finding.code == Code::NodeInexpressible,
        };
        finding.is_error() || !is_other
    }
}

impl DeclarationArgs {
    /// Returns true if none of the flags was given.
    pub(crate) fn is_absent(&self) -> bool {
        self.path().is_none() && self.mirrors.is_none()
    }

    /// Returns the file to read and to watch; `None` with `--mirrors`.
    pub(crate) fn path(&self) -> Option<&Path> {
        let files = [&self.filename, &self.registry_info, &self.values, &self.map];
        files.into_iter().find_map(Option::as_deref)
    }

    /// Returns the kind of declaration that the flag names; `None` with `--filename`.
    fn source(&self) -> Option<DeclarationSource> {
        let flags = [
            (self.registry_info.is_some(), DeclarationSource::RegistryInfo),
            (self.values.is_some(), DeclarationSource::Values),
            (self.map.is_some(), DeclarationSource::Map),
            (self.mirrors.is_some(), DeclarationSource::Mirrors),
        ];
        flags.into_iter().find_map(|(is_given, source)| is_given.then_some(source))
    }

    /// Returns the kind of declaration in `text`.
    ///
    /// # Errors
    /// `text` is certainly of another kind than the flag requires, or of no known kind.
    fn source_of(&self, text: &str) -> Result<DeclarationSource, String> {
        /// Longer texts are written by programs, and take time to parse.
        const LONG: usize = 1 << 20;
        match self.source() {
            Some(source) if source == DeclarationSource::Mirrors || text.len() > LONG => Ok(source),
            Some(source) => match recognised(text) {
                Some(TextKind::Declaration(found)) if found != source => {
                    let ((_, expected), (flag, name)) = (flag_of(source), flag_of(found));
                    Err(format!("expected {expected}, found {name}: use {flag}"))
                }
                Some(TextKind::Object(kind)) if source == DeclarationSource::Map => Err(format!(
                    "expected an imageswap map, found a {kind} of Kubernetes; write its map to a \
                     file"
                )),
                _ => Ok(source),
            },
            None => match recognised(text) {
                Some(TextKind::Declaration(source)) => Ok(source),
                Some(TextKind::Object(kind)) => Err(format!(
                    "expected the Secret registry-info, Helm values or an imageswap map, found a \
                     {kind} of Kubernetes"
                )),
                None => Err("neither the Secret registry-info, nor Helm values with \
                             ociImageRegistry, nor an imageswap map (source::target); name its \
                             kind with --registry-info, --values or --map"
                    .to_owned()),
            },
        }
    }

    /// Reads the text of the declaration.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        let Some(path) = self.path() else {
            let list = self.mirrors.clone();
            return list.ok_or_else(|| Failure::Unusable(NO_DECLARATION.to_owned()));
        };
        let bytes = text::read(path)
            .map_err(|error| Failure::Unusable(Failure::file("read", path, &error)))?;
        let unusable = |reason: &str| Failure::Unusable(format!("{}: {reason}", path.display()));
        if text::is_utf16(&bytes) {
            return Err(unusable(text::UTF_16));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to() + 1;
            unusable(&format!("byte {at} is not valid UTF-8; save the file as UTF-8"))
        })
    }

    /// Reads the declaration, and nothing else of it.
    pub(crate) fn load(&self) -> Result<Declaration, Failure> {
        let text = self.text()?;
        let source = self
            .source_of(&text)
            .map_err(|reason| Failure::Unusable(format!("{}: {reason}", self.name())))?;
        Declaration::read(source, &text, now()).map_err(|error| refused(&self.name(), &error, None))
    }

    /// Reads a declaration that `dialect` can use. Prints the warnings that concern `purpose`.
    pub(crate) fn load_for(
        &self,
        dialect: Dialect,
        purpose: DeclarationUse,
    ) -> Result<Declaration, Failure> {
        let declaration = self.load()?;
        if dialect == Dialect::Canonical {
            return serving(&self.name(), declaration, purpose);
        }
        warn(&declaration, purpose);
        Ok(declaration)
    }

    /// Parses `text` as a declaration that the webhook can serve.
    pub(crate) fn accept(&self, text: &str, now: UnixTime) -> Result<Declaration, AcceptError> {
        let source = self.source_of(text).map_err(AcceptError::Kind)?;
        let declaration = Declaration::read(source, text, now).and_then(Declaration::serving);
        declaration.map_err(AcceptError::Content)
    }

    /// Returns the name of the declaration in messages.
    fn name(&self) -> Cow<'_, str> {
        match self.path() {
            Some(path) if text::is_stdin(path) => "the declaration on standard input".into(),
            Some(path) => path.to_string_lossy(),
            None => "--mirrors".into(),
        }
    }
}

/// A reason why a text cannot be served.
pub(crate) enum AcceptError {
    /// The kind of the text: the reason.
    Kind(String),
    /// The declaration in it.
    Content(DeclarationError),
}

/// Returns `declaration`, called `name` in messages, if the webhook can serve it. Prints the
/// warnings that concern `purpose`.
pub(crate) fn serving(
    name: &str,
    declaration: Declaration,
    purpose: DeclarationUse,
) -> Result<Declaration, Failure> {
    let shown = declaration.clone();
    let usable = declaration.serving().map_err(|error| refused(name, &error, Some(&shown)))?;
    warn(&usable, purpose);
    Ok(usable)
}

/// Prints the findings about `declaration` that concern `purpose` on standard error.
fn warn(declaration: &Declaration, purpose: DeclarationUse) {
    if output::is_quiet() {
        return;
    }
    let findings = declaration.findings().iter().filter(|finding| purpose.concerns(finding));
    let text = output::findings(findings, Some(declaration));
    if !text.is_empty() {
        output::note(&text);
    }
}

/// Returns the failure of a declaration that is rejected, called `name` in messages.
pub(crate) fn refused(
    name: &str,
    error: &DeclarationError,
    declaration: Option<&Declaration>,
) -> Failure {
    let errors = error.findings.iter().filter(|finding| finding.is_error());
    let reason = output::findings(errors, declaration);
    Failure::Unusable(format!("{name}: invalid, nothing was applied\n{reason}"))
}

/// Returns the flag and the name of a kind of declaration.
const fn flag_of(source: DeclarationSource) -> (&'static str, &'static str) {
    match source {
        DeclarationSource::RegistryInfo => ("--registry-info", "the Secret registry-info"),
        DeclarationSource::Values => ("--values", "Helm values"),
        DeclarationSource::Map => ("--map", "an imageswap map"),
        DeclarationSource::Mirrors => ("--mirrors", "a list"),
    }
}

/// The kind of a text.
enum TextKind {
    /// A declaration of this kind, perhaps invalid.
    Declaration(DeclarationSource),
    /// Another object of Kubernetes: its kind.
    Object(String),
}

/// Returns the kind of `text`; `None` if it is unknown.
fn recognised(text: &str) -> Option<TextKind> {
    use TextKind::{Declaration as Found, Object};

    let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let first_is_rule = || {
        let mut lines = lines().filter(|line| !line.is_empty());
        lines.next().is_some_and(|line| line.contains("::"))
    };
    let tree = Tree::parse(text).ok();
    let root = tree.as_ref().and_then(|tree| Some((tree, *tree.documents.first()?)));
    let Some((tree, root)) = root else {
        // Invalid YAML has marks of its kind, so that an error can name the place in it.
        let has = |mark: &str| lines().any(|line| line.starts_with(mark));
        return if has("ociImageRegistry:") {
            Some(Found(DeclarationSource::Values))
        } else if has("stringData:") || has("kind: Secret") {
            Some(Found(DeclarationSource::RegistryInfo))
        } else {
            first_is_rule().then_some(Found(DeclarationSource::Map))
        };
    };
    let of_key = |path: &[&str]| path.iter().try_fold(root, |node, key| tree.get(node, key));
    let kind = of_key(&["kind"]).and_then(|id| tree.scalar(id));
    let values = of_key(&["ociImageRegistry"]).or_else(|| of_key(&["config", "ociImageRegistry"]));
    match kind {
        Some("Secret") => Some(Found(DeclarationSource::RegistryInfo)),
        _ if values.is_some() => Some(Found(DeclarationSource::Values)),
        Some(kind) if of_key(&["apiVersion"]).is_some() => {
            Some(Object(kind.chars().filter(char::is_ascii_alphanumeric).collect()))
        }
        _ if tree.entries(root).is_empty() && first_is_rule() => {
            Some(Found(DeclarationSource::Map))
        }
        _ => None,
    }
}

/// Returns the time by the clock of this machine.
pub(crate) fn now() -> UnixTime {
    // Before 1970 no certificate has expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
