//! Properties of random manifests: in every style, with anchors, aliases and merge keys, in YAML
//! and in JSON.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _};

use image_swap_text::{
    position::Position,
    yaml::{NodeId, NodeKind, Style, Tree},
};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{tests::rewrite, *};
use crate::rule::{MapForm, RuleSet, parse};

fn rules() -> RuleSet {
    let text = "docker.io::h.example/d\nquay.io::[::1]:5000/q";
    let (rules, unreadable) = parse::rules(text, MapForm::Lines);
    assert!(unreadable.is_empty());
    RuleSet::new(rules)
}

// === Random manifests

/// Decisions by bytes: fewer and smaller bytes result in simpler manifests, so that failures
/// shrink.
struct Choices<'b>(std::slice::Iter<'b, u8>);

impl Choices<'_> {
    fn below(&mut self, end: usize) -> usize {
        usize::from(*self.0.next().unwrap_or(&0)) % end
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == chances - 1
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// The content of a manifest, with anchors and aliases.
enum Yaml {
    Text(String),
    Word(&'static str),
    Sequence(Vec<Yaml>),
    Mapping(Vec<(&'static str, Yaml)>),
    Anchored(String, Box<Yaml>),
    Alias(String),
}

#[derive(Default)]
struct Names {
    count: usize,
    images: Vec<String>,
    containers: Vec<String>,
    lists: Vec<String>,
}

fn text(value: &str) -> Yaml {
    Yaml::Text(value.to_owned())
}

/// Returns `part`, possibly with an anchor, or an alias of a former part.
fn named(
    c: &mut Choices<'_>,
    names: &mut Names,
    kept: fn(&mut Names) -> &mut Vec<String>,
    part: fn(&mut Choices<'_>, &mut Names) -> Yaml,
) -> Yaml {
    match c.below(8) {
        7 if !kept(names).is_empty() => Yaml::Alias(c.of_name(kept(names))),
        5 | 6 => {
            let part = part(c, names);
            names.count += 1;
            let name = format!("n{}", names.count);
            kept(names).push(name.clone());
            Yaml::Anchored(name, Box::new(part))
        }
        _ => part(c, names),
    }
}

fn image(c: &mut Choices<'_>, names: &mut Names) -> Yaml {
    named(
        c,
        names,
        |names| &mut names.images,
        |c, _| match c.below(16) {
            0..6 => text("nginx:1.25"),
            6 => text("org/app"),
            7 => text("quay.io/team/app:2"),
            8 => text("ghcr.io/a/b"),
            9 => text("h.example/d/library/nginx"),
            10 => text("Not A Reference"),
            11 => text("1.5"),
            12 => Yaml::Word("1.5"),
            13 => Yaml::Word("null"),
            14 => text(
                "registry.example:5000/a@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ),
            _ => Yaml::Mapping(vec![("reference", text("nginx"))]),
        },
    )
}

fn containers(c: &mut Choices<'_>, names: &mut Names) -> Yaml {
    let one = |c: &mut _, names: &mut _| named(c, names, |names| &mut names.containers, container);
    Yaml::Sequence((0..=c.below(3)).map(|_| one(c, names)).collect())
}

fn container(c: &mut Choices<'_>, names: &mut Names) -> Yaml {
    let mut fields = vec![("name", text(c.of(&["a", "ä \"b\"", "- c", "it's"])))];
    if !names.containers.is_empty() && c.one_in(4) {
        let mut sources: Vec<_> =
            (0..=c.below(2)).map(|_| Yaml::Alias(c.of_name(&names.containers))).collect();
        let merged = if sources.len() == 1 && c.one_in(2) {
            sources.remove(0)
        } else {
            Yaml::Sequence(sources)
        };
        fields.insert(c.below(2), ("<<", merged));
    }
    if !c.one_in(6) {
        fields.push(("image", image(c, names)));
    }
    if c.one_in(5) {
        fields.push(("imagePullPolicy", text(c.of(&["Never", "Always"]))));
    }
    if c.one_in(4) {
        let value = if c.one_in(3) { image(c, names) } else { text("nginx") };
        fields.push(("env", Yaml::Sequence(vec![Yaml::Mapping(vec![("value", value)])])));
    }
    Yaml::Mapping(fields)
}

impl Choices<'_> {
    fn of_name(&mut self, names: &[String]) -> String {
        names[self.below(names.len())].clone()
    }
}

fn pod(c: &mut Choices<'_>, names: &mut Names) -> Vec<(&'static str, Yaml)> {
    let mut metadata = vec![("name", text("p"))];
    if c.one_in(5) {
        let label = ("k8s.twr.io/imageswap", text(c.of(&["disabled", "enabled"])));
        metadata.push(("labels", Yaml::Mapping(vec![label])));
    }
    if c.one_in(8) {
        metadata.push(("annotations", Yaml::Mapping(vec![("image", image(c, names))])));
    }
    let mut spec = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        if list == "containers" || c.one_in(4) {
            spec.push((list, named(c, names, |names| &mut names.lists, containers)));
        }
    }
    if c.one_in(4) {
        let mut fields = vec![("reference", image(c, names))];
        if c.one_in(4) {
            fields.push(("pullPolicy", text("Never")));
        }
        let volume = Yaml::Mapping(vec![("name", text("v")), ("image", Yaml::Mapping(fields))]);
        spec.push(("volumes", Yaml::Sequence(vec![volume])));
    }
    vec![("metadata", Yaml::Mapping(metadata)), ("spec", Yaml::Mapping(spec))]
}

fn object(c: &mut Choices<'_>, names: &mut Names, depth: usize) -> Yaml {
    let (api_version, kind, path) = c.of::<(&str, &str, &[&str])>(&[
        ("v1", "Pod", &[]),
        ("apps/v1", "Deployment", &["spec", "template"]),
        ("batch/v1", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
        ("v1", "PodTemplate", &["template"]),
        ("example.com/v1", "Pod", &[]),
        ("example.com/v1", "Deployment", &["spec", "template"]),
        ("v1", "List", &["items"]),
    ]);
    let mut fields = vec![("apiVersion", text(api_version)), ("kind", text(kind))];
    if kind == "List" {
        let items = (0..=c.below(2) * usize::from(depth < 2)).map(|_| object(c, names, depth + 1));
        fields.push(("items", Yaml::Sequence(items.collect())));
    } else if let Some((first, rest)) = path.split_first() {
        let template = Yaml::Mapping(pod(c, names));
        let below = rest.iter().rev().fold(template, |below, name| {
            Yaml::Mapping(vec![("extra", text("image: nginx")), (name, below)])
        });
        fields.push((first, below));
    } else {
        fields.extend(pod(c, names));
    }
    // The kind may be in the last place.
    if c.one_in(3) {
        fields.rotate_left(2);
    }
    Yaml::Mapping(fields)
}

// === Writing them down

/// Calls `write!` with a string, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { write!($out, $($text)*).unwrap() };
}

/// Writes `yaml` after a `key:` or a `-` in block style, or anywhere in flow style.
fn write(c: &mut Choices<'_>, yaml: &Yaml, indent: usize, in_flow: bool, out: &mut String) {
    let pad = " ".repeat(indent);
    match yaml {
        Yaml::Alias(name) => put!(out, " *{name} "),
        Yaml::Anchored(name, part) => {
            put!(out, " &{name}");
            write(c, part, indent, in_flow, out);
        }
        Yaml::Word(word) => put!(out, " {word}"),
        Yaml::Text(value) => write_text(c, value, &pad, in_flow, out),
        Yaml::Sequence(items) if in_flow || items.is_empty() || c.one_in(4) => {
            out.push_str(" [");
            for item in items {
                write(c, item, indent + 1, true, out);
                out.push(',');
                write_break(c, &pad, out);
            }
            out.push(']');
        }
        Yaml::Mapping(entries) if in_flow || entries.is_empty() || c.one_in(4) => {
            out.push_str(" {");
            for (key, value) in entries {
                let key = if *key != "<<" && c.one_in(4) {
                    format!("\"{key}\"")
                } else {
                    (*key).to_owned()
                };
                put!(out, "{key}:");
                write(c, value, indent + 1, true, out);
                out.push_str(" ,");
                write_break(c, &pad, out);
            }
            out.push('}');
        }
        Yaml::Sequence(items) => {
            for item in items {
                write_comment(c, &pad, out);
                put!(out, "\n{pad}-");
                write(c, item, indent + 2, false, out);
            }
        }
        Yaml::Mapping(entries) => {
            for (key, value) in entries {
                write_comment(c, &pad, out);
                put!(out, "\n{pad}{key}:");
                let deeper = indent + 1 + c.below(3);
                write(c, value, deeper, false, out);
            }
        }
    }
}

/// Writes an optional line break between the items of a flow collection.
fn write_break(c: &mut Choices<'_>, pad: &str, out: &mut String) {
    if c.one_in(4) {
        put!(out, " # image: nginx\n\n {pad}");
    }
}

/// Writes an optional comment and empty lines at the end of a line in block style.
fn write_comment(c: &mut Choices<'_>, pad: &str, out: &mut String) {
    if c.one_in(6) {
        // A comment directly after a block scalar would be text.
        put!(out, "\n\n{}# ü image: nginx", &pad[..pad.len() / 2]);
    }
}

fn write_text(c: &mut Choices<'_>, value: &str, pad: &str, in_flow: bool, out: &mut String) {
    let is_plain = edit::is_string(value)
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b));
    match c.below(6) {
        0 | 1 if is_plain => put!(out, " {value}"),
        2 => put!(out, " '{}'", value.replace('\'', "''")),
        3 => {
            out.push_str(" \"");
            for letter in value.chars() {
                put!(out, "\\U{:08x}", u32::from(letter));
            }
            out.push('"');
        }
        4 if !in_flow => put!(out, " |-\n {pad} {value}"),
        5 if !in_flow => put!(out, " !!str >-  # image: nginx\n {pad} {value}\n\n"),
        _ => put!(out, " {}", Value::from(value)),
    }
}

/// Generates a stream of random documents.
fn manifest(bytes: &[u8]) -> String {
    let c = &mut Choices(bytes.iter());
    let mut out = String::new();
    let (bom, crlf) = (c.one_in(8), c.one_in(4));
    for _ in 0..=c.below(3) {
        out.push_str("---");
        let object = object(c, &mut Names::default(), 0);
        write(c, &object, 0, false, &mut out);
        out.push('\n');
    }
    if crlf {
        out = out.replace('\n', "\r\n");
    }
    if bom { format!("\u{feff}{out}") } else { out }
}

// === Another reading of the same

/// Returns the document as plain data, with aliases and merge keys resolved.
fn expand(tree: &Tree<'_>, id: NodeId) -> Value {
    let id = tree.resolve(id);
    match &tree.node(id).kind {
        NodeKind::Scalar(..) if tree.is_null(id) => Value::Null,
        NodeKind::Scalar(value, style) => {
            let raw = &tree.source()[..tree.node(id).range.start];
            let number = *style == Style::Plain && !edit::is_string(value);
            if number && !raw.ends_with("!!str ") {
                value.parse::<f64>().map_or(Value::Null, Value::from)
            } else {
                Value::from(value.as_ref())
            }
        }
        NodeKind::Sequence(items) => items.iter().map(|item| expand(tree, *item)).collect(),
        NodeKind::Mapping(entries) => {
            let mut own = Map::new();
            let mut merged = Map::new();
            for (key, value) in entries {
                match tree.scalar(*key) {
                    Some("<<") => match expand(tree, *value) {
                        Value::Array(sources) => {
                            for source in sources.into_iter().rev() {
                                merged.extend(source.as_object().unwrap().clone());
                            }
                        }
                        source => merged.extend(source.as_object().unwrap().clone()),
                    },
                    key => drop(own.insert(key.unwrap().to_owned(), expand(tree, *value))),
                }
            }
            merged.extend(own);
            Value::Object(merged)
        }
        NodeKind::Alias(_) => unreachable!("resolved"),
    }
}

fn expand_all(text: &str) -> Vec<Value> {
    let manifest = Manifest::parse(text).unwrap();
    manifest.tree().documents.iter().map(|id| expand(manifest.tree(), *id)).collect()
}

/// Removes the image of every container and volume in scope from `object`.
fn take_images(object: &mut Value, images: &mut Vec<String>) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let path = match (api_version, object["kind"].as_str().unwrap_or_default()) {
        ("v1", "List") => {
            for item in object["items"].as_array_mut().into_iter().flatten() {
                take_images(item, images);
            }
            return;
        }
        ("v1" | "example.com/v1", "Pod") => "",
        ("v1", "PodTemplate") => "/template",
        ("apps/v1" | "example.com/v1", "Deployment") => "/spec/template",
        ("batch/v1", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return,
    };
    let Some(pod) = object.pointer_mut(path) else { return };
    if pod["metadata"]["labels"]["k8s.twr.io/imageswap"] == "disabled" {
        return;
    }
    let spec = &mut pod["spec"];
    let mut take = |image: Option<&mut Value>| {
        if let Some(image) = image.filter(|image| image.is_string()) {
            images.push(image.take().as_str().unwrap().to_owned());
        }
    };
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if container["imagePullPolicy"] != "Never" {
                take(container.get_mut("image"));
            }
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if volume["image"]["pullPolicy"] != "Never" {
            take(volume.pointer_mut("/image/reference"));
        }
    }
}

/// Blanks out the scalars at `places`.
fn without(text: &str, nodes: &BTreeSet<NodeId>) -> String {
    let manifest = Manifest::parse(text).unwrap();
    let mut out = String::new();
    let mut copied = 0;
    for id in nodes {
        let node = manifest.tree().node(*id);
        out.push_str(&text[copied..node.range.start]);
        out.push_str("<image>");
        // The line breaks that end a block scalar belong to its range.
        copied = node.range.start + text[node.range.clone()].trim_end().len();
    }
    out + &text[copied..]
}

fn check_laws(source: &str) {
    let rules = rules();
    let settings = Settings::default();
    let result = rewrite(source, &rules, &settings).unwrap();

    let again = rewrite(&result.text, &rules, &settings).unwrap();
    assert_eq!(again.text, result.text, "rewriting twice is rewriting once");
    assert!(again.changes.is_empty());
    assert_eq!(matches!(result.text, Cow::Borrowed(_)), result.changes.is_empty());

    let mut before = expand_all(source);
    let mut after = expand_all(&result.text);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for object in &mut before {
        take_images(object, &mut old);
    }
    for object in &mut after {
        take_images(object, &mut new);
    }
    assert_eq!(before, after, "only images change");
    assert_eq!(old.len(), new.len());
    for (old, new) in old.iter().zip(&new) {
        let swapped = rules.swap(old).map_or_else(|_| old.clone(), |d| d.image.into_owned());
        let left = old == new && result.left.iter().any(|left| left.image == *old);
        assert!(*new == swapped || left, "{old} became {new}, not {swapped}");
    }

    let manifest = Manifest::parse(source).unwrap();
    let changed = |place: Position| result.changes.iter().any(|change| change.place == place);
    let nodes = manifest
        .tree()
        .nodes()
        .filter(|(_, node)| matches!(node.kind, NodeKind::Scalar(..)) && changed(node.place));
    let nodes: BTreeSet<_> = nodes.map(|(id, _)| id).collect();
    assert_eq!(nodes.len(), result.changes.len());
    assert_eq!(without(source, &nodes), without(&result.text, &nodes), "every other byte stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // guarantee: 2a, 2b
    #[test]
    fn laws_hold_for_yaml(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_laws(&manifest(&bytes));
    }

    // guarantee: 2a, 2b
    #[test]
    fn laws_hold_for_json(bytes in prop::collection::vec(any::<u8>(), 0..300), pretty: bool) {
        let mut out = String::new();
        for document in expand_all(&manifest(&bytes)) {
            let text = if pretty {
                serde_json::to_string_pretty(&document)
            } else {
                serde_json::to_string(&document)
            };
            out += &text.unwrap();
        }
        check_laws(&out);
    }

    #[test]
    fn damaged_manifest_does_not_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::collection::vec((any::<usize>(), "[\\PC\n\r\t&*<:\\[\\]{}\"'|>!%#, -]?"), 1..4),
    ) {
        let mut text = manifest(&bytes);
        for (at, insert) in damage {
            let from = text.floor_char_boundary(at % text.len());
            let to = text.ceil_char_boundary((from + at % 3).min(text.len()));
            text.replace_range(from..to, &insert);
        }
        if let Ok(result) = rewrite(&text, &rules(), &Settings::default()) {
            let again = rewrite(&result.text, &rules(), &Settings::default()).unwrap();
            prop_assert!(again.changes.is_empty());
        }
    }

    #[test]
    fn arbitrary_text_does_not_panic(text: String) {
        let _ = rewrite(&text, &rules(), &Settings::default());
        let _ = rewrite(&format!("{{\"a\":{text}"), &rules(), &Settings::default());
    }
}
