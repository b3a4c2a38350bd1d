//! Properties of plans for hosts. A changed file is valid TOML whose other values are unchanged; a
//! second plan is empty; `restore` returns the original bytes.
#![expect(clippy::panic, reason = "a property that does not hold panics")]

mod config;
mod host;

use std::collections::BTreeSet;

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
};
use image_swap_node::{ConfigForm, DesiredConfig, ObservedHost, PlanOutcome, RestartPolicy};

use self::host::{CONFIG, Host};
use crate::choices::Choices;

/// Checks the properties of plans for a host and a declaration, both generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn node(data: &[u8]) {
    let c = &mut Choices::new(data);
    let before = Host::new(c);
    let declaration = declaration(c);
    let desired = DesiredConfig {
        declaration: &declaration,
        form: c.of(&[
            ConfigForm::CertsD,
            ConfigForm::CertsD,
            ConfigForm::Mirrors,
            ConfigForm::Palette,
        ]),
        fallback: c.of(&[Fallback::Upstream, Fallback::Never]),
        restart: c.of(&[RestartPolicy::Allow, RestartPolicy::Allow, RestartPolicy::Never]),
        header_over_http: c.one_in(4),
    };
    let mut host = before.clone();
    if !apply(&mut host, &desired) {
        return;
    }
    assert_other_values_unchanged(&before, &host);
    let mut appended = None;
    if c.one_in(3) {
        // Another program edits the file, too. Its lines begin with a header, because they would
        // otherwise belong to the last table of image-swap.
        let more = ["[theirs]\n", &config::text(c, "metrics")].concat();
        let text = [host.text(CONFIG).unwrap_or_default(), "\n", &more].concat();
        if text.parse::<toml_edit::DocumentMut>().is_err() {
            return;
        }
        host.write(CONFIG, &text);
        appended = Some(more);
    }
    if c.one_in(2) {
        let other = self::declaration(c);
        apply(&mut host, &DesiredConfig { declaration: &other, ..desired });
    }
    if appended.is_none() && c.one_in(2) && add_comment(c, &mut host) {
        host.restore();
        let [found, was] = [&host, &before].map(|host| host.text(CONFIG).unwrap_or_default());
        assert_eq!(config::meaning(found), config::meaning(was), "{found:?} {was:?}");
        assert!(found.lines().any(|line| line.trim_end() == COMMENT), "{found:?} {was:?}");
        return;
    }
    host.restore();
    if let Some(appended) = appended {
        let text = [before.text(CONFIG).unwrap_or_default(), "\n", &appended].concat();
        let found = host.text(CONFIG).unwrap_or_default();
        assert_eq!(config::meaning(found), config::meaning(&text), "{found:?} {text:?}");
    } else {
        assert_eq!(host.existing(), before.existing(), "{:?}", before.text(CONFIG));
    }
}

/// A comment of another program.
const COMMENT: &str = "# a comment of another program";

/// Inserts a comment on a line of its own. Returns false, and changes nothing, if that would
/// change a value.
fn add_comment(c: &mut Choices<'_>, host: &mut Host) -> bool {
    let text = host.text(CONFIG).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(c.below(lines.len() + 1), COMMENT);
    let commented = lines.join(if text.contains("\r\n") { "\r\n" } else { "\n" }) + "\n";
    let meaning =
        |text: &str| text.parse::<toml_edit::DocumentMut>().is_ok().then(|| config::meaning(text));
    let same = !text.is_empty() && meaning(&commented) == meaning(text);
    if same {
        host.write(CONFIG, &commented);
    }
    same
}

/// Applies the plan for `desired`, and checks that a second plan is empty. Returns false if there
/// is no plan, or it needs a restart.
fn apply(host: &mut Host, desired: &DesiredConfig<'_>) -> bool {
    let observed: ObservedHost = host.observe(Some(desired));
    let Ok(plan) = image_swap_node::plan(desired, &observed) else { return false };
    let diff = plan.diff(&observed);
    for secret in ["s3cret", "cm9ib3Q6czNjcmV0"] {
        assert!(!diff.contains(secret), "{diff}");
    }
    if plan.outcome() == PlanOutcome::NeedsRestart {
        return false;
    }
    let before = host.clone();
    plan.steps.iter().for_each(|step| host.disk.apply(step));
    let again = image_swap_node::plan(desired, &host.observe(Some(desired)));
    let again = again.unwrap_or_else(|refusal| panic!("{refusal} after {diff}"));
    assert_eq!(again.steps, [], "{} after {diff}", again.diff(&host.observe(Some(desired))));
    // A plan that was applied in part is rolled back by undoing all of its steps.
    let mut undone = host.clone();
    plan.undo(&observed).iter().for_each(|step| undone.disk.apply(step));
    assert_eq!(undone.existing(), before.existing(), "{diff}");
    true
}

/// Asserts that only `version` and the tables of registries differ.
fn assert_other_values_unchanged(before: &Host, after: &Host) {
    let rest = |host: &Host| -> BTreeSet<(String, String)> {
        let meaning = config::meaning(host.text(CONFIG).unwrap_or_default());
        let other = meaning.into_iter().filter(|(path, value)| {
            !path.contains("registry") && path != "version" && value != "{}"
        });
        other.collect()
    };
    assert_eq!(rest(after), rest(before), "{:?}", before.text(CONFIG));
}

/// Generates a declaration.
fn declaration(c: &mut Choices<'_>) -> Declaration {
    let rules: Vec<String> = (0..=c.below(3))
        .map(|_| {
            let from = c.of(&["docker.io", "quay.io:8443", "default", "gcr.io/a", "ghcr.io"]);
            let to = c.of(&["h.io/d", "http://h.io/d", "k.io:5000", "h.io", ""]);
            [from, "::", to].concat()
        })
        .collect();
    let user = c.of(&["robot", ""]);
    let password = if user.is_empty() { "" } else { "s3cret" };
    let insecure = c.of(&["false", "true"]);
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: registry-info, namespace: jet-system}}\nstringData:\n  \
         DOMAIN: h.io\n  BASE_PATH: d\n  USERNAME: '{user}'\n  PASSWORD: '{password}'\n  INSECURE: '{insecure}'\n  \
         MIRROR_REGISTRIES: '{}'\n",
        rules.join(",")
    );
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0)
        .unwrap_or_else(|refused| panic!("{text}: {:?}", refused.findings))
}
