//! The rendered patches, read back as YAML and applied as JSON patches.

use image_swap_testkit::registry_info;
use image_swap_text::yaml::{NodeId, Tree};
use json_patch::Patch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    ClassTarget, ClusterApiVersion, MachineContent, MachineDistribution, MachineSetup, SECRET,
    TemplateTarget, yaml::Yaml, yaml::map,
};
use crate::{
    declaration::{Declaration, DeclarationSource},
    render::{Options, bootstrap},
};

const DISTRIBUTIONS: [MachineDistribution; 3] =
    [MachineDistribution::Kubeadm, MachineDistribution::Rke2, MachineDistribution::K3s];

fn declared(password: &str) -> Declaration {
    let text = registry_info(&[
        ("DOMAIN", "h.io"),
        ("BASE_PATH", "d"),
        ("USERNAME", "robot"),
        ("PASSWORD", password),
        ("INSECURE", "false"),
        ("CA_CERT", include_str!("../../../tests/data/ca-one.pem")),
        ("MIRROR_REGISTRIES", "docker.io::h.io/d,gcr.io::h.io/g"),
    ]);
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap()
}

fn setup(distribution: MachineDistribution) -> MachineSetup {
    let options = Options { show_credentials: true, ..Options::default() };
    MachineSetup::render(&declared("a word"), options, None, distribution).0
}

/// Returns the value of a node: numbers and booleans stay texts.
fn value(tree: &Tree<'_>, id: NodeId) -> Value {
    if let Some(text) = tree.scalar(id) {
        return json!(text);
    }
    let entries = tree.entries(id);
    if entries.is_empty() {
        return tree.items(id).iter().map(|&item| value(tree, item)).collect();
    }
    let entry =
        |&(key, item): &(NodeId, NodeId)| (tree.scalar(key).unwrap().to_owned(), value(tree, item));
    entries.iter().map(entry).collect::<serde_json::Map<String, Value>>().into()
}

/// Reads the only document of a text.
fn read(text: &str) -> Value {
    let tree = Tree::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    value(&tree, tree.documents[0])
}

/// Returns a template of `target`'s kind, with its lists.
fn template(target: &TemplateTarget) -> Value {
    let mut lists = json!({});
    if target.has_files {
        lists["files"] = json!([{"path": "/own"}]);
    }
    if target.has_commands {
        lists["preKubeadmCommands"] = json!(["own"]);
    }
    target.kind.keys.iter().rev().fold(lists, |below, key| json!({ *key: below }))
}

/// Returns the lists of a template.
fn lists<'t>(target: &TemplateTarget, template: &'t Value) -> &'t Value {
    target.kind.keys.iter().fold(template, |above, key| &above[key])
}

fn targets(distribution: MachineDistribution) -> Vec<TemplateTarget> {
    let all = [(false, false), (false, true), (true, false), (true, true)];
    let kinds = distribution.kinds().iter();
    let target = |kind| all.map(|(has_files, has_commands)| (kind, has_files, has_commands));
    let target = kinds.flat_map(target);
    let target = target.map(|(&kind, has_files, has_commands)| TemplateTarget {
        kind,
        name: None,
        has_files,
        has_commands,
    });
    target.collect()
}

#[test]
fn patches_keep_present_entries_of_lists() {
    for distribution in DISTRIBUTIONS {
        let setup = setup(distribution);
        for target in targets(distribution) {
            for content in [MachineContent::Inline, MachineContent::Secret("own")] {
                let component = read(&setup.component(content, std::slice::from_ref(&target)));
                let patch = read(component["patches"][0]["patch"].as_str().unwrap());
                let patch: Patch = serde_json::from_value(patch).unwrap();
                let mut patched = template(&target);
                json_patch::patch(&mut patched, &patch).unwrap();
                let lists = lists(&target, &patched);
                let files = lists["files"].as_array().unwrap();
                let own = usize::from(target.has_files);
                assert_eq!(files.len(), own + setup.files.len(), "{patched}");
                for (found, file) in files[own..].iter().zip(&setup.files) {
                    assert_eq!(found["path"], file.path);
                    match content {
                        MachineContent::Inline => assert_eq!(found["content"], file.text),
                        MachineContent::Secret(name) => {
                            let of = &found["contentFrom"]["secret"];
                            assert_eq!(*of, json!({"name": name, "key": file.key}));
                        }
                    }
                }
                let is_kubeadm = distribution == MachineDistribution::Kubeadm;
                let commands = lists["preKubeadmCommands"].as_array().map_or(0, Vec::len);
                let own = usize::from(target.has_commands);
                assert_eq!(commands, own + usize::from(is_kubeadm), "{patched}");
            }
        }
    }
}

#[test]
fn secret_holds_the_files_and_moves() {
    for distribution in DISTRIBUTIONS {
        let setup = setup(distribution);
        let secret = read(&setup.secret(SECRET, Some("clusters")));
        assert_eq!(secret["metadata"]["namespace"], "clusters");
        assert_eq!(secret["metadata"]["labels"]["clusterctl.cluster.x-k8s.io/move"], "");
        for file in &setup.files {
            assert_eq!(secret["stringData"][&file.key], file.text);
        }
        assert!(!setup.is_empty());
    }
}

// guarantee: 6b
#[test]
fn credentials_are_left_out_unless_requested() {
    for distribution in DISTRIBUTIONS {
        let declaration = declared("hunter2");
        let (setup, rendered) =
            MachineSetup::render(&declaration, Options::default(), None, distribution);
        assert_eq!(rendered.notes, [bootstrap::NO_CREDENTIALS]);
        let text = setup.secret(SECRET, None);
        assert!(!text.contains("hunter2") && !text.contains("Authorization"), "{text}");
        assert!(!text.contains("robot") && !text.contains("redacted"), "{text}");
    }
}

#[test]
fn template_mark_in_password_is_encoded() {
    let options = Options { show_credentials: true, ..Options::default() };
    let declaration = declared("{{ secret }}");
    let (setup, _) = MachineSetup::render(&declaration, options, None, MachineDistribution::Rke2);
    let target = &targets(MachineDistribution::Rke2)[3];
    let text = setup.component(MachineContent::Inline, std::slice::from_ref(target));
    assert!(!bootstrap::has_template_mark(&text), "{text}");
    assert!(text.contains("encoding: base64\n"), "{text}");
}

#[test]
fn class_patch_names_the_secret_by_variable() {
    for (version, has) in [(ClusterApiVersion::Beta1, false), (ClusterApiVersion::Beta2, true)] {
        let setup = setup(MachineDistribution::Kubeadm);
        let all = targets(MachineDistribution::Kubeadm);
        let of_class = |target: &&TemplateTarget| {
            target.kind.is_of_class && (target.has_files, target.has_commands) == (has, has)
        };
        let templates: Vec<TemplateTarget> = all.iter().filter(of_class).cloned().collect();
        assert_eq!(templates.len(), 2);
        let class = ClassTarget { name: None, has_variables: has, has_patches: has };
        let text = setup.cluster_class_component(version, &class, &templates, SECRET);
        let component = read(&text);
        let patch = read(component["patches"][0]["patch"].as_str().unwrap());
        let mut patched = json!({"spec": {}});
        if has {
            patched["spec"] = json!({"variables": [1], "patches": [1]});
        }
        let patch: Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
        let added = &patched["spec"]["patches"][usize::from(has)];
        assert_eq!(added["enabledIf"], "{{ if .imageSwapSecret }}true{{ end }}");
        for definition in added["definitions"].as_array().unwrap() {
            let api_version = definition["selector"]["apiVersion"].as_str().unwrap();
            assert!(api_version.ends_with(version.as_str()));
            let patches = definition["jsonPatches"].as_array().unwrap();
            let template = patches[0]["valueFrom"]["template"].as_str().unwrap();
            let filled = template.replace("{{ .imageSwapSecret }}", "own");
            let file = read(&filled);
            let file = if has { &file } else { &file[0] };
            assert_eq!(file["contentFrom"]["secret"]["name"], "own", "{text}");
        }
        insta::assert_snapshot!(format!("class_{}", version.as_str()), text);
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~\n\té\r]{0,30}", "([a-z#:'\"-]{1,8}\n){1,4}", Just("true".to_owned())]
}

fn values() -> impl Strategy<Value = Yaml> {
    let leaf = texts().prop_map(|text| Yaml::text(&text));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Yaml::List),
            prop::collection::vec((0..4, inner), 1..4).prop_map(|entries| {
                let entries = entries.into_iter().enumerate();
                let entries =
                    entries.map(|(number, (key, value))| (format!("k{number}-{key}"), value));
                let entries: Vec<(String, Yaml)> = entries.collect();
                map(entries.iter().map(|(key, value)| (key.as_str(), value.clone())))
            }),
        ]
    })
}

fn expected(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Text(text) => json!(text),
        Yaml::Bool(value) => json!(value.to_string()),
        Yaml::List(items) => items.iter().map(expected).collect(),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), expected(value)));
            entries.collect::<serde_json::Map<String, Value>>().into()
        }
    }
}

proptest! {
    #[test]
    fn yaml_is_read_back(yaml in values()) {
        let yaml = Yaml::List(vec![yaml]);
        prop_assert_eq!(read(&yaml.document()), expected(&yaml));
    }
}
