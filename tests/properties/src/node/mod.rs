//! Plans for hosts: whatever lies there, what is written is TOML that says what it
//! said beside our edits, a second plan is empty, and restoring gives the very
//! bytes back.
#![expect(clippy::panic, reason = "how a property says that it does not hold")]

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

/// The laws of plans, for the host and the declaration that `data` makes.
///
/// # Panics
/// Where one does not hold.
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
    if !applies(&mut host, &desired) {
        return;
    }
    says_the_same_beside_the_registries(&before, &host);
    let mut theirs = None;
    if c.one_in(3) {
        // Others edit it, too.
        // With a header of their own: what follows ours would else be below ours.
        let more = ["[theirs]\n", &config::text(c, "metrics")].concat();
        let text = [host.text(CONFIG).unwrap_or_default(), "\n", &more].concat();
        if text.parse::<toml_edit::DocumentMut>().is_err() {
            return;
        }
        host.write(CONFIG, &text);
        theirs = Some(more);
    }
    if c.one_in(2) {
        let other = self::declaration(c);
        applies(&mut host, &DesiredConfig { declaration: &other, ..desired });
    }
    if theirs.is_none() && c.one_in(2) && comments(c, &mut host) {
        host.restore();
        let [found, was] = [&host, &before].map(|host| host.text(CONFIG).unwrap_or_default());
        assert_eq!(config::meaning(found), config::meaning(was), "{found:?} {was:?}");
        assert!(found.lines().any(|line| line.trim_end() == THEIRS), "{found:?} {was:?}");
        return;
    }
    host.restore();
    if let Some(theirs) = theirs {
        let text = [before.text(CONFIG).unwrap_or_default(), "\n", &theirs].concat();
        let found = host.text(CONFIG).unwrap_or_default();
        assert_eq!(config::meaning(found), config::meaning(&text), "{found:?} {text:?}");
    } else {
        assert_eq!(host.existing(), before.existing(), "{:?}", before.text(CONFIG));
    }
}

const THEIRS: &str = "# a comment of theirs";

/// Others put a comment on a line of its own somewhere, if that leaves what
/// the text means.
fn comments(c: &mut Choices<'_>, host: &mut Host) -> bool {
    let text = host.text(CONFIG).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(c.below(lines.len() + 1), THEIRS);
    let commented = lines.join(if text.contains("\r\n") { "\r\n" } else { "\n" }) + "\n";
    let says =
        |text: &str| text.parse::<toml_edit::DocumentMut>().is_ok().then(|| config::meaning(text));
    let same = !text.is_empty() && says(&commented) == says(text);
    if same {
        host.write(CONFIG, &commented);
    }
    same
}

/// Applies, if that is planned, and sees that a second plan is empty.
fn applies(host: &mut Host, desired: &DesiredConfig<'_>) -> bool {
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
    // What was done in part is taken back by undoing all of it.
    let mut undone = host.clone();
    plan.undo(&observed).iter().for_each(|step| undone.disk.apply(step));
    assert_eq!(undone.existing(), before.existing(), "{diff}");
    true
}

/// Beside `version` and the tables of the registries nothing changes.
fn says_the_same_beside_the_registries(before: &Host, after: &Host) {
    let rest = |host: &Host| -> BTreeSet<(String, String)> {
        let meaning = config::meaning(host.text(CONFIG).unwrap_or_default());
        let other = meaning.into_iter().filter(|(path, value)| {
            !path.contains("registry") && path != "version" && value != "{}"
        });
        other.collect()
    };
    assert_eq!(rest(after), rest(before), "{:?}", before.text(CONFIG));
}

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
