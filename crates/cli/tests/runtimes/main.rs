//! Real container runtimes pull through real mirrors, told by this binary, on
//! machines where every public registry is a recorder.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod crash;
mod declared;
mod drop_in;
mod image_tools;
mod images;
mod matrix;
mod node;
mod other_tools;
mod page;
mod random;
mod rendered;
mod seen;
mod state;
mod strace;

use std::{error::Error, io::Write, sync::LazyLock};

use image_swap_lab::Content;
use image_swap_testbed::{Parts, RuntimeParts};

type Outcome = Result<(), Box<dyn Error>>;

/// Returns all parts, which are found once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

/// Returns the runtimes and the images for them.
fn lab() -> Result<(&'static RuntimeParts, &'static Content), Box<dyn Error>> {
    static CONTENT: LazyLock<Content> = LazyLock::new(|| images::content(parts()).unwrap());
    parts().registry()?;
    Ok((parts().runtimes()?, &CONTENT))
}

/// Prints past the test harness, which keeps output until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
