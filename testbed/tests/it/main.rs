//! The parts themselves, run for real. Where one is missing, CI fails and any
//! other machine is told what was skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod control_plane;
mod end;
mod node;
mod registry;

use std::{error::Error, io::Write, sync::LazyLock};

use image_swap_testbed::Parts;

type Outcome = Result<(), Box<dyn Error>>;

/// All parts, looked for once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::for_tests(&announce).unwrap());
    &PARTS
}

/// Past the test harness, which would keep it until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
