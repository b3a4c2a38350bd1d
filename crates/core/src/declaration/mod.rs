//! Declarations: one registry and one list of rules, in four formats.
//!
//! The formats are the Secret `registry-info`, the chart's values, a list, and an imageswap map
//! file. Each text is read into one [`Declaration`] or rejected as a whole.

mod certificate;
mod checks;
mod credential;
mod documents;
mod error;
mod fields;
mod host;
pub(crate) mod registry;
mod source;

use std::collections::BTreeMap;

use image_swap_text::{
    position::Position,
    yaml::{NodeId, Tree},
};

use self::fields::DeclaredFields;
pub use self::{
    certificate::{Certificates, UnixTime},
    credential::Credential,
    error::DeclarationError,
    host::HostPattern,
    registry::Registry,
    source::DeclarationSource,
};
use crate::{
    diagnostic::{Code, Diagnostic, Severity},
    lint::{Linter, sort_findings},
    mirror::{Capabilities, Fallback, MirrorTable},
    rule::{ImageSwap, MapForm, RuleSet, parse, redact::line_may_hold_secret},
};

/// The registry and the rules that an administrator declared.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The company's registry; `None` if the text contains only rules.
    pub registry: Option<Registry>,
    /// Key of the rules, as in [`Diagnostic::key`].
    key: Option<&'static str>,
    form: MapForm,
    text: String,
    rules: RuleSet,
    mirrors: MirrorTable,
    /// Diagnostics of the reader, without those of the linter.
    read: Vec<Diagnostic>,
    findings: Vec<Diagnostic>,
}

impl Declaration {
    /// Reads `text`. Errors about single rules do not reject it here, but in [`Self::serving`].
    ///
    /// # Errors
    /// Returns the diagnostics if the text is unreadable, differs from `source`, lacks a key
    /// that Palette's format requires, or still has a placeholder of Palette's documentation.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::declaration::{Declaration, DeclarationSource};
    ///
    /// let text = "docker.io::h.io/hub,quay.io::h.io/quay";
    /// let declaration = Declaration::read(DeclarationSource::Mirrors, text, 0)?.serving()?;
    /// assert_eq!(declaration.rules().rules().len(), 2);
    /// assert!(declaration.registry.is_none());
    ///
    /// let incomplete = Declaration::read(DeclarationSource::RegistryInfo, "kind: Secret", 0);
    /// assert!(incomplete.unwrap_err().findings[0].is_error());
    /// # Ok::<(), image_swap_core::declaration::DeclarationError>(())
    /// ```
    pub fn read(
        source: DeclarationSource,
        text: &str,
        now: UnixTime,
    ) -> Result<Self, DeclarationError> {
        let rules = |form| Ok(Self::new(None, None, form, text.to_owned(), Vec::new()));
        let fields = match source {
            DeclarationSource::RegistryInfo => documents::of_secret,
            DeclarationSource::Values => documents::of_values,
            DeclarationSource::Map => return rules(MapForm::Lines),
            DeclarationSource::Mirrors => return rules(MapForm::List),
        };
        let tree = Tree::parse(text).map_err(|error| {
            let message = format!("invalid YAML: {}", error.message);
            Diagnostic::error(Code::Unusable, error.place, message)
        })?;
        Self::from_fields(fields(&tree)?, now)
    }

    /// Reads the object `node` of any declaring kind. These are the Secret, an object with
    /// `ociImageRegistry` (also below `config` or `spec`), and a `ConfigMap` with
    /// `data.mirrorRegistries`, `data.MIRROR_REGISTRIES` or `data.maps`.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::read`].
    pub fn from_node(
        tree: &Tree<'_>,
        node: NodeId,
        now: UnixTime,
    ) -> Result<Self, DeclarationError> {
        let data = tree.get(node, "data").filter(|_| documents::is_kind(tree, node, "ConfigMap"));
        if let Some(data) = data {
            let value = |key| Some(tree.scalar(tree.get(data, key)?)?.to_owned());
            let list = ["mirrorRegistries", "MIRROR_REGISTRIES"];
            if let Some((key, text)) = list.into_iter().find_map(|key| Some((key, value(key)?))) {
                return Ok(Self::new(None, Some(key), MapForm::List, text, Vec::new()));
            }
            if let Some(text) = value("maps") {
                return Ok(Self::new(None, Some("maps"), MapForm::Lines, text, Vec::new()));
            }
        }
        let fields = if documents::is_kind(tree, node, "Secret") {
            documents::of_secret_object(tree, node)
        } else {
            documents::of_values_object(tree, node)
        };
        Self::from_fields(fields?, now)
    }

    /// Reads `data`, the decoded data of the stored Secret `registry-info`, whose type is
    /// `kind`. The position of a diagnostic is in the value of its key.
    ///
    /// # Errors
    /// Returns the diagnostics if the data declares no usable registry.
    pub fn from_data(
        kind: &str,
        data: &BTreeMap<String, Vec<u8>>,
        now: UnixTime,
    ) -> Result<Self, DeclarationError> {
        Self::from_fields(documents::of_data(kind, data)?, now)
    }

    fn from_fields(fields: DeclaredFields, now: UnixTime) -> Result<Self, DeclarationError> {
        let key = fields.mirrors_key();
        let (registry, text, findings) = fields.registry(now)?;
        let mut this = Self::new(Some(registry), Some(key), MapForm::List, text, findings);
        if let Some(registry) = &mut this.registry {
            let mirrors = &this.mirrors;
            registry.plain_http |= mirrors.targets().any(|host| host == registry.domain)
                && mirrors.scheme(&registry.domain) == "http";
        }
        Ok(this)
    }

    fn new(
        registry: Option<Registry>,
        key: Option<&'static str>,
        form: MapForm,
        text: String,
        mut findings: Vec<Diagnostic>,
    ) -> Self {
        let (rules, unreadable) = parse::rules(&text, form);
        let rules = RuleSet::new(rules);
        let mirrors = MirrorTable::new(&rules);
        let lines: Vec<&str> = text.split('\n').collect();
        findings.extend(unreadable.into_iter().map(|mut finding| {
            // Replicas receive the text of the rules, so it must not contain a password.
            if lines.get(finding.place.line - 1).is_some_and(|line| line_may_hold_secret(line)) {
                finding.severity = Severity::Error;
                finding.hint =
                    Some("set the user name and password in USERNAME and PASSWORD instead".into());
            }
            finding.within(key)
        }));
        let mut this =
            Self { registry, key, form, text, rules, mirrors, read: findings, findings: vec![] };
        this.findings = this.with(this.checked().findings());
        this
    }

    /// Returns the linter of this declaration.
    fn checked(&self) -> Linter<'_> {
        Linter {
            rules: &self.rules,
            mirrors: &self.mirrors,
            text: &self.text,
            key: self.key,
            registry: self.registry.as_ref(),
        }
    }

    /// Merges the reader's diagnostics with `checked`, those of the linter. Diagnostics about
    /// the text of the rules come last, in its order.
    fn with(&self, checked: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let is_of_rules = |finding: &&Diagnostic| finding.code == Code::UnreadableLine;
        let (rules, other): (Vec<_>, Vec<_>) = self.read.iter().partition(is_of_rules);
        let mut about_rules: Vec<Diagnostic> = rules.into_iter().cloned().chain(checked).collect();
        sort_findings(&mut about_rules, |finding| (finding.place, None));
        other.into_iter().cloned().chain(about_rules).collect()
    }

    /// Returns the diagnostics for nodes whose format has these `capabilities`, and that
    /// pull from the registry itself if `fallback` allows it. [`Self::findings`] are those for
    /// containerd.
    pub fn lint_for(&self, capabilities: Capabilities, fallback: Fallback) -> Vec<Diagnostic> {
        self.with(self.checked().lint_for(capabilities, fallback))
    }

    /// Returns the declaration itself if the dialect `canonical` can serve it.
    ///
    /// # Errors
    /// Returns the diagnostics if one of them is an error.
    pub fn serving(self) -> Result<Self, DeclarationError> {
        if self.findings.iter().any(Diagnostic::is_error) {
            return Err(DeclarationError { findings: self.findings });
        }
        Ok(self)
    }

    /// Returns the rules in the dialect `canonical`.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Returns the mirrors that nodes use for the rules.
    pub const fn mirrors(&self) -> &MirrorTable {
        &self.mirrors
    }

    /// Returns the rules and drops the rest of the declaration.
    pub fn into_rules(self) -> RuleSet {
        self.rules
    }

    /// Returns the rules in the dialect of imageswap-webhook.
    pub fn imageswap(&self) -> ImageSwap {
        ImageSwap::new(&self.text, self.form)
    }

    /// Returns the diagnostics about the declaration, in the order of the text.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// Returns the diagnostics for imageswap-webhook as the reader of the rules.
    pub fn imageswap_findings(&self) -> Vec<Diagnostic> {
        let mut findings = self.findings.clone();
        let is_known = findings.iter().any(|finding| finding.code == Code::SilentNoOp);
        if self.form == MapForm::Lines && !is_known && !self.imageswap().swaps_anything() {
            let message = "the line `default::` is missing: imageswap then ignores all prefix \
                           rules, and no image is changed";
            let finding = Diagnostic::warning(Code::SilentNoOp, Position::START, message);
            findings.insert(
                0,
                finding.hint("add `default::`, which leaves all other images unchanged"),
            );
        }
        findings
    }

    /// Returns the key whose decoded value contains the rules; `None` for a text of rules
    /// alone.
    pub const fn key(&self) -> Option<&'static str> {
        self.key
    }

    /// Returns the separator of the items in the text of the rules.
    pub const fn form(&self) -> MapForm {
        self.form
    }

    /// Returns the line of the rules' text that contains `place`; `None` beyond its end.
    pub fn line(&self, place: Position) -> Option<&str> {
        self.text.split('\n').nth(place.line - 1).map(|line| line.trim_end_matches('\r'))
    }
}

#[cfg(test)]
mod tests;
