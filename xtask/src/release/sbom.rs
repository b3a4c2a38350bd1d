//! The list of components, in `CycloneDX` 1.6 (`bom-1.6.schema.json`).

use serde_json::{Value, json};

use super::metadata::{Crate, Metadata};

/// Returns the document. It has neither a time nor a serial number, so that the same
/// source gives the same bytes.
pub(super) fn document(Metadata(crates): &Metadata) -> Value {
    let (program, linked): (Vec<_>, Vec<_>) =
        crates.iter().partition(|(_, it)| it.name == super::NAME);
    let mut components: Vec<Value> = linked.iter().map(|(id, it)| component(id, it)).collect();
    // Linked into the program, as in the image.
    components.push(json!({
        "type": "library", "bom-ref": "glibc", "name": "glibc",
        "licenses": [{ "expression": "LGPL-2.1-or-later" }],
    }));
    let program = program.first().map(|(id, it)| {
        let mut program = component(id, it);
        program["type"] = "application".into();
        program
    });
    let mut dependencies: Vec<Value> = crates
        .iter()
        .map(|(id, it)| {
            let glibc = (it.name == super::NAME).then(|| "glibc".to_owned());
            let uses: Vec<String> = it.uses.iter().cloned().chain(glibc).collect();
            json!({ "ref": id, "dependsOn": uses })
        })
        .collect();
    dependencies.push(json!({ "ref": "glibc" }));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(id: &str, it: &Crate) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": id, "name": it.name, "version": it.version,
    });
    if !it.licence.is_empty() {
        // Old manifests separate alternatives by a slash.
        let expression = it.licence.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = &it.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        component["purl"] =
            format!("pkg:cargo/{}@{}", it.name, it.version.replace('+', "%2B")).into();
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn component_has_licence_hash_and_address() {
        let it = |name: &str, checksum: Option<&str>, uses: &[&str]| Crate {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT/Apache-2.0".to_owned(),
            folder: "/".into(),
            checksum: checksum.map(str::to_owned),
            uses: uses.iter().map(|&it| it.to_owned()).collect::<BTreeSet<_>>(),
        };
        let crates = BTreeMap::from([
            ("image-swap@1.0.0".to_owned(), it("image-swap", None, &["a@1.0.0"])),
            ("a@1.0.0".to_owned(), it("a", Some("00ff"), &[])),
        ]);
        let document = document(&Metadata(crates));
        assert_eq!(document["metadata"]["component"]["type"], "application");
        assert_eq!(
            document["components"][0],
            json!({
                "type": "library", "bom-ref": "a@1.0.0", "name": "a", "version": "1.0.0",
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "hashes": [{ "alg": "SHA-256", "content": "00ff" }],
                "purl": "pkg:cargo/a@1.0.0",
            })
        );
        assert_eq!(
            document["dependencies"][1],
            json!({ "ref": "image-swap@1.0.0", "dependsOn": ["a@1.0.0", "glibc"] })
        );
    }
}
