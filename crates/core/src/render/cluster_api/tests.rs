//! Entries, components and patches.

use image_swap_text::base64;
use json_patch::Patch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{files::CONTENT_MAX, *};
use crate::{
    mirror::Fallback,
    render::{
        bootstrap::{NO_CREDENTIALS, has_template_mark},
        tests::{CA_ONE, declared_with_marks},
    },
};

/// Returns the entries of `provider` for one rule.
fn entries(provider: BootstrapProvider) -> MachineEntries {
    provider.entries(&declared_with_marks("quay.io::h.io/d", CA_ONE), Options::default(), None)
}

/// Returns entries with short content.
fn short() -> MachineEntries {
    let script = RenderedFile { path: NAME.to_owned(), text: "exit 0\n".to_owned(), secret: false };
    script_entries(Rendered { files: vec![script], ..Rendered::default() })
}

/// Returns the bytes that a provider writes for entry `file`.
fn content(file: &Value) -> Vec<u8> {
    let content = file["content"].as_str().unwrap();
    assert!(!has_template_mark(content));
    match file["encoding"].as_str() {
        Some("base64") => base64::decode(content).unwrap(),
        None => {
            // Cluster API writes a block of YAML, whose indentation is that of its first line.
            assert!(!content.starts_with([' ', '\n']) && content.ends_with('\n'), "{content}");
            content.as_bytes().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the script that the command of `entries` runs.
fn script_of(entries: &MachineEntries) -> String {
    let command = entries.command.as_ref().unwrap();
    let mut script = Vec::new();
    for file in &entries.files {
        assert_eq!((&file["owner"], &file["permissions"]), (&json!("root:root"), &json!("0600")));
        assert!(command.contains(file["path"].as_str().unwrap()), "{command}");
        assert!(file["content"].as_str().unwrap().len() <= CONTENT_MAX);
        script.extend(content(file));
    }
    String::from_utf8(script).unwrap()
}

#[test]
fn small_script_is_one_file_that_a_command_runs() {
    let entries = entries(BootstrapProvider::Kubeadm);
    assert_eq!(entries.command.as_deref(), Some("sh /etc/image-swap/bootstrap.sh || true"));
    assert_eq!(entries.files.len(), 1);
    assert_eq!(script_of(&entries), entries.rendered.files[0].text);
    assert_eq!(entries.rendered.notes, [NO_CREDENTIALS]);
}

#[test]
fn large_script_is_several_files() {
    let authorities = CA_ONE.repeat(12);
    let declaration = declared_with_marks("quay.io::h.io/d", &authorities);
    let entries = BootstrapProvider::Kubeadm.entries(&declaration, Options::default(), None);
    assert!(entries.files.len() > 1, "{}", entries.rendered.files[0].text.len());
    let expected = "sh -c \"$(cat /etc/image-swap/bootstrap.sh.1 /etc/image-swap/bootstrap.sh.2";
    assert!(entries.command.as_ref().unwrap().starts_with(expected), "{:?}", entries.command);
    assert_eq!(script_of(&entries), entries.rendered.files[0].text);
}

#[test]
fn rke2_and_k3s_get_their_registries_file() {
    for (provider, path) in [
        (BootstrapProvider::Rke2, "/etc/rancher/rke2/registries.yaml"),
        (BootstrapProvider::K3s, "/etc/rancher/k3s/registries.yaml"),
    ] {
        let MachineEntries { files, command, .. } = entries(provider);
        let [ca, registries] = &files[..] else { panic!("{files:?}") };
        assert_eq!(
            (ca["path"].as_str(), command),
            (Some("/etc/rancher/k3s/image-swap-ca.crt"), None)
        );
        assert_eq!(registries["path"], path);
        let text = String::from_utf8(content(registries)).unwrap();
        assert!(text.contains("/etc/rancher/k3s/image-swap-ca.crt") && !text.contains("robot"));
    }
}

// guarantee: 6b
#[test]
fn credentials_are_left_out_unless_requested_and_no_template_reads_them() {
    let declaration = declared_with_marks("quay.io::h.io/d", "");
    for provider in [BootstrapProvider::Kubeadm, BootstrapProvider::K3s] {
        let all = |options| {
            let entries = provider.entries(&declaration, options, None);
            let texts = entries.files.iter().map(|file| String::from_utf8(content(file)).unwrap());
            texts.collect::<String>()
        };
        assert!(!all(Options::default()).contains("Basic "));
        assert!(!all(Options::default()).contains("{{word"));
        let shown = all(Options { show_credentials: true, ..Options::default() });
        assert!(shown.contains("Basic ") || shown.contains("{{word"), "{shown}");
    }
}

#[test]
fn unsupported_fallback_has_no_files() {
    let options = Options { fallback: Fallback::Never, ..Options::default() };
    let entries =
        BootstrapProvider::K3s.entries(&declared_with_marks("quay.io::h.io/d", ""), options, None);
    assert!(!entries.has_files() && !entries.rendered.inexpressible.is_empty());
    assert_eq!(component(&[(&MACHINE_KINDS[5], &entries)]), "");
}

#[test]
fn component_adds_entries_to_every_kind() {
    let kubeadm = short();
    let rke2 = MachineEntries { command: None, ..short() };
    let kinds = [0, 1, 3].map(|at| &MACHINE_KINDS[at]);
    insta::assert_snapshot!(component(&[
        (kinds[0], &kubeadm),
        (kinds[1], &kubeadm),
        (kinds[2], &rke2)
    ]));
}

/// Returns the targets of a class with these lists missing.
fn targets(missing: &[ClassList]) -> ClassTargets {
    ClassTargets {
        version: "v1beta2".to_owned(),
        control_plane: true,
        machine_deployments: vec!["*".to_owned()],
        machine_pools: Vec::new(),
        missing: missing.to_vec(),
    }
}

#[test]
fn class_patch_selects_control_plane_and_workers() {
    insta::assert_snapshot!(class_component(&short(), &targets(&[])));
}

#[test]
fn class_patch_adds_to_lists_that_exist_or_not() {
    let all = [
        ClassList::ControlPlaneFiles,
        ClassList::ControlPlaneCommands,
        ClassList::WorkerFiles,
        ClassList::WorkerCommands,
    ];
    let file = json!({ "path": "/a" });
    let full = json!({ "files": [file], "preKubeadmCommands": ["a"] });
    let entries = short();
    let command = entries.command.as_deref().unwrap();
    for (missing, fields, expected) in [
        (&[][..], full, [json!([file, entries.files[0]]), json!([command, "a"])]),
        (&all[..], json!({}), [json!(entries.files), json!([command])]),
    ] {
        let patch = class_patch(&entries, &targets(missing));
        let of = |number: usize| -> Patch {
            serde_json::from_value(patch["definitions"][number]["jsonPatches"].clone()).unwrap()
        };
        let [files, commands] = expected;
        let expected = json!({ "files": files, "preKubeadmCommands": commands });
        let mut control_plane =
            json!({ "spec": { "template": { "spec": { "kubeadmConfigSpec": fields } } } });
        json_patch::patch(&mut control_plane, &of(0)).unwrap();
        assert_eq!(control_plane["spec"]["template"]["spec"]["kubeadmConfigSpec"], expected);
        let mut worker = json!({ "spec": { "template": { "spec": fields } } });
        json_patch::patch(&mut worker, &of(1)).unwrap();
        assert_eq!(worker["spec"]["template"]["spec"], expected);
    }
}

#[test]
fn class_patch_names_only_the_chosen_classes() {
    let chosen = ClassTargets {
        version: "v1beta1".to_owned(),
        control_plane: false,
        machine_deployments: Vec::new(),
        machine_pools: vec!["pool".to_owned()],
        missing: Vec::new(),
    };
    let patch = class_patch(&short(), &chosen);
    let definitions = patch["definitions"].as_array().unwrap();
    assert_eq!(definitions.len(), 1);
    let selector = &definitions[0]["selector"];
    assert_eq!(selector["apiVersion"], "bootstrap.cluster.x-k8s.io/v1beta1");
    assert_eq!(selector["matchResources"], json!({ "machinePoolClass": { "names": ["pool"] } }));
}

/// Returns a few characters, repeated to at most `longest` bytes. Independent characters would take
/// seconds to choose.
fn repeated(longest: usize) -> impl Strategy<Value = String> {
    ("[a-z {]{1,8}", 0..=longest).prop_map(|(text, length)| text.repeat(length / text.len()))
}

proptest! {
    #[test]
    fn parts_are_the_script(
        lines in prop::collection::vec(repeated(3000), 0..12),
        long in repeated(25_000),
    ) {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        for text in [[&text, "x\n"].concat(), [&text, &*long, "\n"].concat()] {
            let script = RenderedFile { path: NAME.to_owned(), text, secret: false };
            let rendered = Rendered { files: vec![script], ..Rendered::default() };
            let entries = script_entries(rendered);
            prop_assert_eq!(script_of(&entries), entries.rendered.files[0].text.as_str());
        }
    }

    #[test]
    fn every_file_is_written_as_it_is(text in "[ -~é\r\n\t]{0,40}(\\{\\{|\\{%)?\n{0,2}") {
        let entry = files::entry("/a", "0600", &text);
        prop_assert_eq!(content(&entry), text.into_bytes());
    }
}
