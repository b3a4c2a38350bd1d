//! Searches by proptest for input that violates a property: a fixed number of cases, or as many
//! as fit into `PROPERTY_SECONDS`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestRunner},
};

/// Upper bound of the bytes that generate one case.
const BYTES: usize = 400;
/// Number of cases of one search, and between two reads of the clock.
const CASES: u32 = 1024;

/// Calls `property` with random bytes. Panics with the smallest failure.
fn search(property: fn(&[u8])) {
    let seconds = std::env::var("PROPERTY_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut runs = 0;
    loop {
        let config = Config { cases: CASES, source_file: Some(file!()), ..Config::default() };
        let mut runner = TestRunner::new(config);
        runs += CASES;
        let result = runner.run(&vec(any::<u8>(), 0..BYTES), |bytes| {
            property(&bytes);
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        if end.is_none_or(|end| Instant::now() >= end) {
            println!("{runs} runs");
            return;
        }
    }
}

// guarantee: 2a, 2b, 2c
#[test]
fn admission() {
    search(super::admission);
}

#[test]
fn reference() {
    search(super::reference);
}

// guarantee: 2a
#[test]
fn map() {
    search(super::map);
}

#[test]
fn imageswap() {
    search(super::imageswap);
}

// guarantee: 3a, 6b
#[test]
fn declaration() {
    search(super::declaration);
}

// guarantee: 2a
#[test]
fn manifest() {
    search(super::manifest);
}

// guarantee: 5a, 5b, 6b
#[test]
fn node() {
    search(super::node);
}

/// Returns the properties that the tests of this file search.
fn names() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("tests.rs").lines();
    lines.filter_map(|line| line.trim().strip_prefix("search(super::")?.strip_suffix(");"))
}

#[test]
fn every_property_has_a_fuzz_target() {
    let targets = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets"));
    let targets = targets.unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let expected = names().map(|name| format!("{name}.rs"));
    assert_eq!(targets.collect::<BTreeSet<_>>(), expected.collect());
}
