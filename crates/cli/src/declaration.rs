//! Where the declaration comes from: the same four flags for every verb.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use image_swap_core::declaration::{Declaration, DeclarationError, DeclarationSource, UnixTime};
use image_swap_text::yaml::Tree;

use crate::{failure::Failure, output, text};

/// The failure of a call without a declaration.
pub(crate) const NO_DECLARATION: &str = "expected a declaration, found none; give --registry-info \
                                         FILE, --values FILE, --map FILE or --mirrors LIST";

/// The heading of these flags, and of no other, in help texts.
const HEADING: &str = "Declaration (one of)";

/// The declaration: give one of these.
#[derive(Debug, Clone, Args)]
#[group(id = "declaration", multiple = false)]
pub(crate) struct DeclarationArgs {
    /// The Secret registry-info as YAML; `-` is standard input.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    registry_info: Option<PathBuf>,
    /// Values of the Helm chart, with ociImageRegistry at top level or under config.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    values: Option<PathBuf>,
    /// An imageswap map file.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    map: Option<PathBuf>,
    /// A list such as `docker.io::harbor.example.org/docker.io,gcr.io::harbor.example.org/gcr.io`.
    #[arg(long, value_name = "LIST", help_heading = HEADING)]
    mirrors: Option<String>,
}

/// How the rules are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// The dialect the webhook serves.
    #[default]
    Canonical,
    /// What imageswap-webhook makes of the same text.
    Imageswap,
}

impl DeclarationArgs {
    /// Returns true if none of the flags was given.
    pub(crate) fn is_absent(&self) -> bool {
        self.source().is_err()
    }

    /// The file to read and to watch; `None` with `--mirrors`.
    pub(crate) fn path(&self) -> Option<&Path> {
        let file = self.registry_info.as_ref().or(self.values.as_ref()).or(self.map.as_ref());
        file.map(PathBuf::as_path)
    }

    fn source(&self) -> Result<DeclarationSource, Failure> {
        let flags = [
            (self.registry_info.is_some(), DeclarationSource::RegistryInfo),
            (self.values.is_some(), DeclarationSource::Values),
            (self.map.is_some(), DeclarationSource::Map),
            (self.mirrors.is_some(), DeclarationSource::Mirrors),
        ];
        let given = flags.into_iter().find(|(is_given, _)| *is_given);
        given.map(|(_, source)| source).ok_or_else(|| Failure::Unusable(NO_DECLARATION.to_owned()))
    }

    /// The text of the declaration.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        self.source()?;
        let Some(path) = self.path() else {
            return Ok(self.mirrors.clone().unwrap_or_default());
        };
        let bytes = text::read(path)
            .map_err(|error| Failure::Unusable(Failure::file("read", path, &error)))?;
        let unusable = |why: &str| Failure::Unusable(format!("{}: {why}", path.display()));
        if text::is_utf16(&bytes) {
            return Err(unusable(text::UTF_16));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to() + 1;
            unusable(&format!("expected UTF-8, found another byte at {at}; save as UTF-8"))
        })
    }

    /// Reads `text` as what the flag says it is.
    pub(crate) fn read(&self, text: &str) -> Result<Declaration, Failure> {
        let source = self.source()?;
        if let Some(found) = what_it_is(text, source) {
            let path = self.path().map_or_else(Cow::default, Path::to_string_lossy);
            let (_, expected) = flag_of(source);
            return Err(Failure::Unusable(format!("{path}: expected {expected}, found {found}")));
        }
        Declaration::read(source, text, now()).map_err(|error| refused(&self.name(), &error, None))
    }

    /// The declaration, as it is.
    pub(crate) fn load(&self) -> Result<Declaration, Failure> {
        self.read(&self.text()?)
    }

    /// The declaration as `dialect` can use it; warnings go to standard error.
    pub(crate) fn load_for(&self, dialect: Dialect) -> Result<Declaration, Failure> {
        let declaration = self.load()?;
        if dialect == Dialect::Canonical {
            return serving(&self.name(), declaration);
        }
        warn(&declaration);
        Ok(declaration)
    }

    /// The declaration in `text`, if the webhook can serve it.
    pub(crate) fn accept(
        &self,
        text: &str,
        now: UnixTime,
    ) -> Result<Declaration, DeclarationError> {
        let source = self.source().unwrap_or(DeclarationSource::RegistryInfo);
        Declaration::read(source, text, now)?.serving()
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

/// Returns `declaration`, which messages call `name`, if the webhook can serve it. Warnings go
/// to standard error.
pub(crate) fn serving(name: &str, declaration: Declaration) -> Result<Declaration, Failure> {
    let shown = declaration.clone();
    let usable = declaration.serving().map_err(|error| refused(name, &error, Some(&shown)))?;
    warn(&usable);
    Ok(usable)
}

/// Prints the findings about `declaration` on standard error.
fn warn(declaration: &Declaration) {
    if !declaration.findings().is_empty() {
        output::note(&output::findings(declaration.findings(), Some(declaration)));
    }
}

/// Returns the failure of a declaration that is refused, which messages call `name`.
pub(crate) fn refused(
    name: &str,
    error: &DeclarationError,
    declaration: Option<&Declaration>,
) -> Failure {
    let errors = error.findings.iter().filter(|finding| finding.is_error());
    let why = output::findings(errors, declaration);
    Failure::Unusable(format!("{name} is refused as a whole, and changes nothing\n{why}"))
}

/// The flag for a text that declares, and the name of such a text.
const fn flag_of(source: DeclarationSource) -> (&'static str, &'static str) {
    match source {
        DeclarationSource::RegistryInfo => ("--registry-info", "the Secret registry-info"),
        DeclarationSource::Values => ("--values", "Helm values"),
        DeclarationSource::Map => ("--map", "an imageswap map"),
        DeclarationSource::Mirrors => ("--mirrors", "a list"),
    }
}

/// Returns what `text` is, and what to do with it, if it certainly is none of `source`.
fn what_it_is(text: &str, source: DeclarationSource) -> Option<String> {
    /// Longer texts are written by programs, and take time to read.
    const LOOKED_AT: usize = 1 << 20;
    if source == DeclarationSource::Mirrors || text.len() > LOOKED_AT {
        return None;
    }
    let tree = Tree::parse(text).ok();
    let root = tree.as_ref().and_then(|tree| Some((tree, *tree.documents.first()?)));
    let of_key = |path: &[&str]| {
        let (tree, root) = root?;
        path.iter().try_fold(root, |node, key| tree.get(node, key))
    };
    let kind = of_key(&["kind"]).and_then(|id| root?.0.scalar(id));
    let has_values =
        of_key(&["ociImageRegistry"]).or_else(|| of_key(&["config", "ociImageRegistry"]));
    let is_mapping = root.is_some_and(|(tree, root)| !tree.entries(root).is_empty());
    let found = match kind {
        Some("Secret") => DeclarationSource::RegistryInfo,
        _ if has_values.is_some() => DeclarationSource::Values,
        Some(kind) if source == DeclarationSource::Map && of_key(&["apiVersion"]).is_some() => {
            let kind: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
            return Some(format!("a {kind} of Kubernetes; write its map to a file"));
        }
        _ => {
            let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            let first = lines.find(|line| !line.is_empty())?;
            if is_mapping || !first.contains("::") {
                return None;
            }
            DeclarationSource::Map
        }
    };
    let (flag, name) = flag_of(found);
    (found != source).then(|| format!("{name}: use {flag}"))
}

/// The time by this machine's clock.
pub(crate) fn now() -> UnixTime {
    // Before 1970 no certificate has expired.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
