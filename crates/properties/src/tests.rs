//! The properties under proptest: a number of cases, or, where
//! `PROPERTY_SECONDS` is set, as many as fit into so many seconds.

use std::time::{Duration, Instant};

use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};

/// How many bytes decide about one case, at most.
const BYTES: usize = 400;

fn search(property: fn(&[u8])) {
    let seconds = std::env::var("PROPERTY_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut runs = 0;
    loop {
        let persistence = FileFailurePersistence::SourceParallel("regressions");
        let config = Config {
            cases: 1024,
            source_file: Some(file!()),
            failure_persistence: Some(Box::new(persistence)),
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        runs += 1024;
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

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            search(super::$name);
        })*

        #[test]
        fn every_property_is_searched() {
            assert_eq!(super::ALL.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

tests! { reference map imageswap declaration }
