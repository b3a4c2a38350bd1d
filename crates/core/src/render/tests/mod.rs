mod files;
mod read_back;

use image_swap_testkit::registry_info;

use super::{FORMATS, Format, Options, Rendered, RenderedFile};
use crate::declaration::{Declaration, DeclarationSource};

/// Returns the Secret of Palette's documentation with credentials, a CA and these rules.
fn declared(rules: &str) -> Declaration {
    declared_for("", rules)
}

/// Returns such a declaration with further hosts of the registry.
fn declared_for(hosts: &str, rules: &str) -> Declaration {
    let ca = include_str!("../../../tests/data/ca-one.pem");
    let text = registry_info(&[
        ("DOMAIN", "h.io"),
        ("BASE_PATH", "d"),
        ("USERNAME", "robot"),
        ("PASSWORD", "pass\"word"),
        ("INSECURE", "false"),
        ("CREDENTIAL_HOSTS", hosts),
        ("CA_CERT", ca),
        ("MIRROR_REGISTRIES", rules),
    ]);
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
