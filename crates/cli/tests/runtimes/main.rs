//! Real container runtimes, configured by this binary, pull through real mirrors. On these machines
//! every public registry is a recorder.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod crash;
mod declared;
mod drop_in;
mod image_tools;
mod images;
mod matrix;
mod node;
mod other_tools;
mod palette;
mod random;
mod rendered;
mod seen;
mod state;
mod strace;

use std::{error::Error, io::Write};

use self::images::{lab, parts};

type Outcome = Result<(), Box<dyn Error>>;

/// Prints past the test harness, which keeps output until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
