//! Properties of manifests. A rewritten manifest is valid, and a second rewrite changes nothing.

use std::borrow::Cow;

use image_swap_core::{
    manifest::{Manifest, Settings},
    rule::{RuleSet, parse},
};

use crate::{choices::Choices, map::generated::GeneratedMap};

/// Objects with images in every place and every style of YAML.
const OBJECTS: [&str; 11] = [
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: a\n    image: IMAGE\n  - image: \"IMAGE\" # nginx\n",
    "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      initContainers: [{image: 'IMAGE'}, {image: IMAGE}]\n      containers:\n        - image: >-\n            IMAGE\n          imagePullPolicy: Never\n",
    "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"image\": \"IMAGE\"}, {\"image\": 1.5}]}}]}",
    "kind: CronJob\napiVersion: batch/v1\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: IMAGE}]}}}}}\n",
    "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - &c\n    image: &i IMAGE\n    env: [{value: *i}]\n  - *c\n  - <<: *c\n    image: IMAGE\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {labels: {k8s.twr.io/imageswap: disabled}}\nspec:\n  containers: &l\n  - image: &i !!str IMAGE\n  initContainers: *l\n  ephemeralContainers: [{image: *i}]\n",
    "apiVersion: v1\nkind: Pod\nspec:\n  volumes:\n  - name: v\n    image:\n      reference: |-\n        IMAGE\n  containers:\n  - image:\n      IMAGE\n",
    "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n  template:\n    spec:\n      containers:\n      - {image: IMAGE, args: [-, --image=IMAGE, --x-image, 'IMAGE']}\n      - env: &e [{name: A_IMAGE, value: IMAGE}]\n  other: *e\n",
    "apiVersion: kafka.strimzi.io/v1beta2\nkind: Kafka\nmetadata:\n  annotations:\n    note: 'first\n  second'\nspec: {\n\tkafka: {image: &k IMAGE}, zookeeper: {image: *k}}# c\n",
    "apiVersion: v1\nkind: Template\nobjects:\n- {apiVersion: v1, kind: Pod, spec: {containers: [{<<: {image: IMAGE}}]}, status: {image: IMAGE}}\n- <<: {apiVersion: v1, kind: Pod, spec: {containers: [{image: \"IMAGE\"}]}}\n",
    "# only\nkind: ConfigMap\napiVersion: v1\ndata:\n  a: |\n    image: IMAGE\n",
];

/// Checks the properties of rewriting for manifests and a map, both generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn manifest(data: &[u8]) {
    let c = &mut Choices::new(data);
    let map = GeneratedMap::new(c);
    let rules = RuleSet::new(parse::rules(&map.text, map.form).0);
    let source = source(c, &map);
    let (env, args) = (c.one_in(2), c.one_in(2));
    let settings = Settings { env, args, ..Settings::default() };
    let Ok(manifest) = Manifest::parse(&source) else { return };
    let once = manifest.rewrite(&rules, &settings);

    assert_eq!(once.changes.is_empty(), once.text == source, "{source:?}: {:?}", once.changes);
    assert_eq!(once.changes.is_empty(), matches!(once.text, Cow::Borrowed(_)), "{source:?}");
    for change in &once.changes {
        let swapped = rules.swap(&change.from).map(|decision| decision.image);
        assert_eq!(swapped.as_deref(), Ok(change.to.as_str()), "{source:?}");
    }
    let lines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    assert!(lines(&once.text) <= lines(&source), "{source:?} became {:?}", once.text);

    let twice = Manifest::parse(&once.text).map(|twice| twice.rewrite(&rules, &settings));
    let again = twice.map(|twice| (twice.text.into_owned(), twice.changes.len()));
    let expected = Ok((once.text.clone().into_owned(), 0));
    assert_eq!(again, expected, "{source:?} under {:?}", map.text);
}

/// Generates manifests.
fn source(c: &mut Choices<'_>, map: &GeneratedMap) -> String {
    if c.one_in(8) {
        return c.rest();
    }
    let mut source = String::new();
    for nth in 0..=c.below(3) {
        let object = c.of(&OBJECTS).replace("IMAGE", "\u{0}");
        for (at, part) in object.split('\u{0}').enumerate() {
            if at > 0 {
                source.push_str(&map.image(c));
            }
            source.push_str(part);
        }
        if nth < 2 {
            source.push_str(c.of(&["---\n", "\n---\n", "...\n---\n# next\n"]));
        }
    }
    if c.one_in(6) {
        source = source.replace('\n', "\r\n");
    }
    let marks = [':', ' ', '\n', '"', '\'', '{', '}', '[', ']', '-', '|', '#', '&', '*', '!', 'ü'];
    c.damage(&mut source, &marks);
    source
}
