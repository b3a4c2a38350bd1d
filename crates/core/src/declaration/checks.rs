//! Checks of the fields of a declaration.

use super::{
    certificate::{Certificates, UnixTime},
    credential::Credential,
    fields::{DeclaredFields, Field, GivenField, TABLE, unusable, warning},
    host::HostPattern,
    registry::Registry,
};
use crate::{
    diagnostic::{Code, Diagnostic, Severity},
    lint::sort_findings,
    reference::{is_domain, is_path},
    rule::Target,
};

impl DeclaredFields {
    /// Checks the fields. Returns the registry, the text of the rules, and the findings.
    pub(super) fn registry(
        mut self,
        now: UnixTime,
    ) -> Result<(Registry, String, Vec<Diagnostic>), Diagnostic> {
        let mut findings = std::mem::take(&mut self.findings);
        for (field, ..) in TABLE.iter().filter(|row| row.3 && self.names.key(row.0).is_some()) {
            self.required(*field)?;
        }
        let (domain, plain_http) = domain(self.required(Field::Domain)?)?;
        let insecure = boolean(self.required(Field::Insecure)?)?;
        let base_path = self.get(Field::BasePath).map(base_path).transpose()?.unwrap_or_default();
        let text = |field| self.get(field).map_or("", |given| given.text);
        let ca = match self.get(Field::CaCert).filter(|given| !given.text.trim().is_empty()) {
            Some(given @ GivenField { key, text: pem, place }) => {
                let ca = Certificates::parse(pem)
                    .map_err(|error| unusable(place, format!("{key}: {error}")))?;
                check_ca(&ca, given, now, insecure, &mut findings);
                ca
            }
            None => Certificates::default(),
        };
        let hosts = self.get(Field::Hosts).map(hosts).transpose()?.unwrap_or_default();
        let password = self.get(Field::Password).map_or("", |it| password(it, &mut findings));
        let username = text(Field::Username).trim();
        if username.is_empty() && !password.is_empty() {
            findings.extend(self.password_without_username());
        }
        let registry = Registry {
            domain,
            name: self.get(Field::Name).map(|given| given.text.to_owned()),
            hosts,
            base_path,
            username: Credential::new(username.to_owned()),
            password: Credential::new(password.to_owned()),
            insecure,
            plain_http,
            ca,
        };
        let mirrors = text(Field::Mirrors).to_owned();
        sort_findings(&mut findings, |finding| (finding.place, None));
        Ok((registry, mirrors, findings))
    }

    /// Returns a warning about the password, which has no effect without a user name.
    fn password_without_username(&self) -> Option<Diagnostic> {
        let GivenField { key, place, .. } = self.get(Field::Password)?;
        let username = self.names.key(Field::Username)?;
        let message = format!("{key} has no effect, because {username} is empty");
        let hint = format!("set {username}; the user name of Amazon ECR is AWS");
        Some(warning(Code::PasswordWithoutUsername, place, message).hint(hint))
    }
}

/// Returns the password without line breaks at its end, and warns of them. `echo` adds one to
/// the input of `base64`, and no registry's password ends in one.
fn password<'t>(given: GivenField<'t>, findings: &mut Vec<Diagnostic>) -> &'t str {
    let GivenField { key, text, place } = given;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.len() < text.len() {
        let message = format!("{key} ends with a line break, which is removed");
        let hint = "encode it without one: printf %s PASSWORD | base64";
        findings.push(warning(Code::TrailingNewline, place, message).hint(hint));
    }
    password
}

/// Returns the hosts besides DOMAIN that the credential is declared for.
fn hosts(given: GivenField<'_>) -> Result<Vec<HostPattern>, Diagnostic> {
    let items = given.text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    let host = |(number, item)| {
        let hint = "write hosts of the declared registry, separated by commas, such as \
                    nexus.example.org:5001,*.registry.example.org";
        let message = || format!("item {number} is not a host");
        HostPattern::parse(item).ok_or_else(|| given.refused(&message()).hint(hint))
    };
    (1..).zip(items).map(host).collect()
}

/// Returns the host, and true if `http://` precedes it.
fn domain(given: GivenField<'_>) -> Result<(String, bool), Diagnostic> {
    let text = given.text.trim();
    let (scheme, host) = text.split_once("://").unwrap_or(("", text));
    let host = host.trim_end_matches('/');
    if is_domain(host) {
        // Targets, which the domain is compared with, are normalised in the same way.
        let domain = Target::parse(host);
        let domain = domain.map_or_else(|_| host.to_owned(), |t| t.domain().to_owned());
        return Ok((domain, scheme.eq_ignore_ascii_case("http")));
    }
    // Some administrators write `user:password@host` here.
    let found = match host {
        host if host.contains('@') => "a value with `@`",
        host if host.contains('/') => "a host with a path",
        _ => "another value",
    };
    let refused = given.refused(&format!("expected a host or host:port, found {found}"));
    Err(refused.hint("user name, password and path have their own keys"))
}

/// Returns the path of the images in the registry, empty for its root.
fn base_path(given: GivenField<'_>) -> Result<String, Diagnostic> {
    let path = given.text.trim().trim_matches('/');
    if path.is_empty() || is_path(path) {
        return Ok(path.to_owned());
    }
    // If a closing quote is missing, this value contains that of the next key.
    let hint = "write a path such as airgap-images: lowercase letters and digits, with . _ - or / \
                between them";
    Err(given.refused("expected a path in the registry, found another value").hint(hint))
}

/// Parses a boolean like Go's `strconv.ParseBool`, without its one-letter forms.
fn boolean(given: GivenField<'_>) -> Result<bool, Diagnostic> {
    match given.text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.refused("expected true or false, found another value")),
    }
}

fn check_ca(
    ca: &Certificates,
    GivenField { key, place, .. }: GivenField<'_>,
    now: UnixTime,
    insecure: bool,
    findings: &mut Vec<Diagnostic>,
) {
    let ends = ca.not_after();
    let is_expired = |(_, end): &(usize, &UnixTime)| **end < now;
    let expired = (1..).zip(ends).filter(is_expired).map(|(number, _)| number.to_string());
    let expired: Vec<String> = expired.collect();
    if !expired.is_empty() {
        let message = format!(
            "{key}: {} of {} certificates expired (number {})",
            expired.len(),
            ends.len(),
            expired.join(", ")
        );
        // While one of the certificates is valid, the registry can still be trusted by it.
        let all = expired.len() == ends.len();
        let severity = if all { Severity::Error } else { Severity::Warning };
        let finding = Diagnostic::new(severity, Code::ExpiredCa, place.position, message);
        findings.push(finding.within(place.key).hint("add the CA's current certificate"));
    }
    if insecure {
        let message = format!("{key} has no effect, because certificates are not verified");
        let finding = warning(Code::InsecureWithCa, place, message);
        findings.push(finding.hint("set INSECURE (insecureSkipVerify) to false"));
    }
}
