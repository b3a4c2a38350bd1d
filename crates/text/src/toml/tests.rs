use proptest::prelude::*;

use super::{Toml, revert};

const PATH: [&str; 4] = ["plugins", "io.containerd.grpc.v1.cri", "registry", "config_path"];

#[track_caller]
fn set(text: &str, expected: &str) {
    let found = Toml::parse(text).unwrap().set(&PATH, "\"/c\"", &["# why"]).unwrap();
    assert_eq!(found, expected);
    assert_eq!(Toml::parse(&found).unwrap().str(&PATH), Some("/c"));
}

#[test]
fn key_is_added_to_its_table() {
    set(
        "version = 2 # two\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry] # r\n  a = 1\n[x]\n",
        "version = 2 # two\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry] # r\n  # why\n  config_path = \"/c\"\n  a = 1\n[x]\n",
    );
    set(
        "[plugins.\"io.containerd.grpc.v1.cri\".registry]",
        "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n# why\nconfig_path = \"/c\"\n",
    );
}

#[test]
fn missing_table_is_added_at_the_end() {
    let block = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n# why\nconfig_path = \"/c\"\n";
    set("", block);
    set("version = 2", &["version = 2\n\n", block].concat());
    set("[[x]]\na = 1\n\n", &["[[x]]\na = 1\n\n", block].concat());
    set("[plugins]\r\n", &["[plugins]\r\n\r\n", &block.replace('\n', "\r\n")].concat());
}

#[test]
fn table_is_added_before_its_children() {
    set(
        "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"h\".auth]\nusername = \"u\"\n",
        "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n# why\nconfig_path = \"/c\"\n\n\
         [plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"h\".auth]\nusername = \"u\"\n",
    );
}

#[test]
fn value_is_replaced_in_place() {
    set(
        "[plugins.'io.containerd.grpc.v1.cri'.registry]\n\tconfig_path = '/a:/b' # old\n",
        "[plugins.'io.containerd.grpc.v1.cri'.registry]\n\t# why\n\tconfig_path = \"/c\" # old\n",
    );
    set(
        "plugins = {\"io.containerd.grpc.v1.cri\" = {registry={config_path=\"\"}}} # p\n",
        "plugins = {\"io.containerd.grpc.v1.cri\" = {registry={config_path=\"/c\"}}} # p\n",
    );
}

#[test]
fn inline_tables_and_dotted_keys_are_extended() {
    set(
        "plugins = {\"io.containerd.grpc.v1.cri\" = { a = 1 } }\n",
        "plugins = {\"io.containerd.grpc.v1.cri\" = { a = 1, registry = { config_path = \"/c\" } } }\n",
    );
    set(
        "plugins = {}\n",
        "plugins = { \"io.containerd.grpc.v1.cri\" = { registry = { config_path = \"/c\" } } }\n",
    );
    set(
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n  registry.a = 1\n",
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n  # why\n  registry.config_path = \"/c\"\n  registry.a = 1\n",
    );
    set(
        "a = 1\nplugins.\"io.containerd.grpc.v1.cri\".x = 1\n[z]\n",
        "a = 1\n# why\nplugins.\"io.containerd.grpc.v1.cri\".registry.config_path = \"/c\"\n\
         plugins.\"io.containerd.grpc.v1.cri\".x = 1\n[z]\n",
    );
}

#[test]
fn other_values_than_tables_are_rejected() {
    for text in [
        "plugins = 1\n",
        "[[plugins]]\n",
        "plugins.\"io.containerd.grpc.v1.cri\".registry = \"\"\n",
        // No additional line keeps this text valid.
        "[plugins.'io.containerd.grpc.v1.cri'.plugins]\n[plugins]\n'io.containerd.grpc.v1.cri'.a = 1\n",
    ] {
        assert!(Toml::parse(text).unwrap().set(&PATH, "1", &[]).is_err(), "{text}");
    }
    let table = "[plugins.\"io.containerd.grpc.v1.cri\".registry.config_path]\n";
    assert!(Toml::parse(table).unwrap().set(&PATH, "1", &[]).is_err());
}

#[test]
fn root_key_is_added_before_the_first() {
    let set = |text| Toml::parse(text).unwrap().set(&["version"], "2", &[]).unwrap();
    assert_eq!(set("# c\n\nroot = \"/\"\n[a]\n"), "# c\n\nversion = 2\nroot = \"/\"\n[a]\n");
    assert_eq!(set("# c\n[a]\n"), "# c\nversion = 2\n[a]\n");
    assert_eq!(set("# c"), "# c\nversion = 2\n");
}

#[test]
fn removal_changes_only_its_lines() {
    let without = |text, path: &[&str]| Toml::parse(text).unwrap().without(path).unwrap();
    let text = "[a] # a\nx = 1\n# kept\n[a.m.\"d.io\"]\n  e = [\n    1, # one\n  ] # e\n\n[b]\ny = 2\n[a.m.q]\nz = 3\n";
    assert_eq!(without(text, &["a", "m"]), "[a] # a\nx = 1\n# kept\n\n[b]\ny = 2\n");
    assert_eq!(without(text, &["b", "y"]), text.replace("y = 2\n", ""));
    assert_eq!(without("a = { b = 1, c = 2 }\n", &["a", "b"]), "a = { c = 2 }\n");
    assert_eq!(without("a = { b = 1, c = 2 }\n", &["a", "c"]), "a = { b = 1 }\n");
    assert_eq!(without("a.b.c = 1\na.d = 2", &["a", "b"]), "a.d = 2");
    assert_eq!(without("a = 1", &["b", "c"]), "a = 1");
}

// guarantee: 5b
#[test]
fn revert_keeps_edits_of_other_programs() {
    let before = "# head\nversion = 2\n[p.registry]\nconfig_path = \"/a:/b\"\n";
    let edited = "# head\nversion = 2\n[p.registry]\n# edit\nconfig_path = \"/a\"\n[q]\nnew = 1\n";
    let now = "# head\nversion = 2\n[p.registry]\n# edit\nconfig_path = \"/a\"\nmore = 1\n[q]\nnew = 1\n# other\n[r]\n";
    let reverted = revert(before, edited, now).unwrap();
    let expected =
        "# head\nversion = 2\n[p.registry]\nconfig_path = \"/a:/b\"\nmore = 1\n# other\n[r]\n";
    assert_eq!((reverted.text.as_str(), reverted.left.len()), (expected, 0));
    let changed = now.replace("config_path = \"/a\"", "config_path = \"/z\"");
    let reverted = revert(before, edited, &changed).unwrap();
    assert!(reverted.text.contains("config_path = \"/z\"") && !reverted.text.contains("new"));
    assert_eq!(reverted.left, [["p", "registry", "config_path"]]);
}

/// Appends lines like another program. All of their bytes must be kept.
// guarantee: 5b
#[test]
fn lines_added_at_the_end_stay() {
    for (before, edited) in [
        // The edit replaces dotted keys by a value.
        (
            "plugins.'cri'.registry.mirrors.'cri'.'cri' = true # c\n",
            "plugins.'cri'.registry.config_path = \"/c\"\n",
        ),
        // The edit replaces headers by an inline table.
        (
            "[p.registry.mirrors.x]\na = 1\n\n[p.registry.mirrors.y]\n",
            "[p.registry]\nmirrors = {}\nconfig_path = \"/c\"\n",
        ),
        // The edit adds a table, which is empty after the reversal and must be removed.
        ("version = 2\n'cri' = 1\n", "version = 2\n'cri' = 1\n[p.registry]\nmirrors = {}\n"),
        // The last line has no end.
        ("[p]\na = 1", "[p]\na = 1\n\n# edit\n[p.registry]\nconfig_path = \"/c\"\n"),
        ("", "version = 2\n"),
        ("a = 1\r\n[p]", "a = 1\r\n[p]\r\n# edit\r\nconfig_path = \"/c\"\r\n"),
    ] {
        let appended = "\n[other]\nb = 2 # b\n[[other.c]]";
        let reverted = revert(before, edited, &[edited, appended].concat()).unwrap();
        let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        assert_eq!(reverted.text, [before, newline, appended].concat());
        assert!(reverted.left.is_empty());
    }
}

#[test]
fn value_next_to_changed_lines_is_restored() {
    let before = "[p.registry]\nconfig_path = \"/a:/b\"\n";
    let edited = "[p.registry]\nconfig_path = \"/a\"\n[q]\nnew = 1\n";
    let now = "[p.registry]\nconfig_path = \"/a\" # why?\n[q]\nnew = 1\nb = 2\n";
    let reverted = revert(before, edited, now).unwrap();
    assert_eq!(reverted.text, "[p.registry]\nconfig_path = \"/a:/b\" # why?\n[q]\nb = 2\n");
    assert!(reverted.left.is_empty());
}

/// Generates TOML values of every type and spelling.
fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "1",
        "-2.5",
        "true",
        "\"t\"",
        "'l'",
        "\"\"\"\nm\n\"\"\"",
        "1979-05-27",
        "[1, [2]]",
        "[\n  'a', # c\n]",
        "{}",
        "{ a = 1, b = { c = 2 } }",
        "{ a.b = 1, a.c = 'x' }",
    ])
    .prop_map(str::to_owned)
}

/// Generates texts like `config.toml`, all valid.
fn config() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "plugins",
        "'io.containerd.grpc.v1.cri'",
        "registry",
        "mirrors",
        "\"docker.io\"",
        "config_path",
        "a",
        "version",
    ]);
    let path = proptest::collection::vec(name, 1..5).prop_map(|names| names.join("."));
    let blanks = || prop::sample::select(vec!["", "  ", "\t"]);
    let comment = || prop::sample::select(vec!["", " # c", "#"]);
    let line = prop_oneof![
        3 => (blanks(), path.clone(), value(), comment())
            .prop_map(|(blanks, path, value, comment)| [blanks, &path, " = ", &value, comment].concat()),
        3 => (blanks(), path.clone(), comment())
            .prop_map(|(blanks, path, comment)| [blanks, "[", &path, "]", comment].concat()),
        1 => path.prop_map(|path| ["[[", &path, "]]"].concat()),
        1 => comment().prop_map(str::to_owned),
        1 => Just("## template: jinja".to_owned()),
    ];
    let newline = prop_oneof![4 => Just("\n"), 1 => Just("\r\n")];
    (proptest::collection::vec(line, 0..12), newline, any::<bool>()).prop_map(
        |(lines, newline, open)| {
            // Lines that make the text invalid are skipped.
            let mut text = String::new();
            for line in lines {
                let more = [&text, &line.replace('\n', newline), newline].concat();
                if Toml::parse(&more).is_ok() {
                    text = more;
                }
            }
            if open { text.trim_end().to_owned() } else { text }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Checks that an edited text is valid, differs in one value, and has all lines of the
    /// original.
    #[test]
    fn edit_changes_one_value_and_keeps_lines(text in config()) {
        let toml = Toml::parse(&text).unwrap();
        if let Ok(edited) = toml.set(&PATH, "\"/c\"", &["# why"]) {
            let mut expected = toml.leaves();
            let path: Vec<String> = PATH.iter().map(|&key| key.to_owned()).collect();
            // The tables above the value are not empty any more.
            for n in 1..path.len() {
                expected.remove(&path[..n]);
            }
            let replaced = expected.insert(path, "\"/c\"".to_owned()).is_some();
            prop_assert_eq!(Toml::parse(&edited).unwrap().leaves(), expected, "{}", edited);
            if !replaced && !edited.contains("{ ") {
                let mut lines = edited.lines();
                for line in text.lines() {
                    prop_assert!(lines.any(|found| found == line), "{line:?} of {text:?} in {edited:?}");
                }
            }
            let again = Toml::parse(&edited).unwrap().set(&PATH, "\"/c\"", &[]).unwrap();
            prop_assert_eq!(&again, &edited);
            // A reversal restores all values.
            let reverted = revert(&text, &edited, &edited).unwrap();
            prop_assert_eq!(Toml::parse(&reverted.text).unwrap().leaves(), toml.leaves(), "{}", reverted.text);
        }
    }

    #[test]
    fn removal_keeps_other_values(text in config(), n in 1..4_usize) {
        let toml = Toml::parse(&text).unwrap();
        if let Ok(edited) = toml.without(&PATH[..n]) {
            let found = Toml::parse(&edited).unwrap();
            prop_assert!(found.get(&PATH[..n]).is_none(), "{}", edited);
            let below = |path: &Vec<String>| {
                path.len() >= n && path.iter().zip(&PATH[..n]).all(|(a, b)| a == b)
            };
            let expected = toml.leaves().into_iter().filter(|(path, _)| !below(path));
            // The removal may leave an empty table.
            let found = found.leaves().into_iter().filter(|(_, value)| value != "{}");
            let expected = expected.filter(|(_, value)| value != "{}");
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{}", edited);
        }
    }
}
