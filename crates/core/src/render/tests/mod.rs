mod files;
mod read_back;

use image_swap_testkit::registry_info;

use super::{FORMATS, Format, Options, Rendered, RenderedFile};
use crate::declaration::{Declaration, DeclarationSource};

pub(super) const CA_ONE: &str = include_str!("../../../tests/data/ca-one.pem");

/// Returns the Secret of Palette's documentation with credentials, a CA and these rules.
fn declared(rules: &str) -> Declaration {
    declared_for("", rules)
}

/// Returns such a declaration with further hosts of the registry.
fn declared_for(hosts: &str, rules: &str) -> Declaration {
    read(&[("PASSWORD", "pass\"word"), ("CREDENTIAL_HOSTS", hosts), ("CA_CERT", CA_ONE)], rules)
}

/// Returns a declaration with these rules, whose password is a text that shells and templates
/// change.
pub(super) fn declared_with_marks(rules: &str, ca: &str) -> Declaration {
    read(&[("PASSWORD", "pass'{{word"), ("CA_CERT", ca)], rules)
}

/// Returns a declaration with a user name, the keys `more` and these rules.
fn read(more: &[(&str, &str)], rules: &str) -> Declaration {
    let keys = [("DOMAIN", "h.io"), ("BASE_PATH", "d"), ("USERNAME", "robot")];
    let last = [("INSECURE", "false"), ("MIRROR_REGISTRIES", rules)];
    let text = registry_info(&[&keys[..], more, &last[..]].concat());
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap()
}

fn render(format: &str, rules: &str, options: Options) -> Rendered {
    Format::named(format).unwrap().render(&declared(rules), options)
}

fn file<'a>(rendered: &'a Rendered, path: &str) -> &'a RenderedFile {
    rendered.files.iter().find(|file| file.path == path).unwrap_or_else(|| {
        panic!(
            "{path} among {:?}",
            rendered.files.iter().map(|file| &file.path).collect::<Vec<_>>()
        )
    })
}

#[test]
fn names_of_formats_are_unique() {
    for format in &FORMATS {
        assert_eq!(Format::named(format.name).map(|found| found.about), Some(format.about));
    }
    assert!(Format::named("unknown").is_none());
}
