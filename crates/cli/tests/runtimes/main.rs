//! Real container runtimes pull through real mirrors, told by this binary, on
//! machines where every public registry is a recorder.
//!
//! Where a part is missing, CI fails and any other machine is told what was
//! skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod crash;
mod declared;
mod drop_in;
mod image_tools;
mod images;
mod matrix;
mod node;
mod page;
mod random;
mod rendered;
mod seen;
mod state;
mod strace;

use std::{error::Error, io::Write, sync::LazyLock};

use image_swap_lab::Content;
use image_swap_testbed::{Parts, RuntimeParts, or_skip};

type Outcome = Result<(), Box<dyn Error>>;

/// All parts, looked for once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::for_tests(&announce).unwrap());
    &PARTS
}

/// The runtimes and the images for them, or what is missing.
fn lab() -> Result<Option<(&'static RuntimeParts, &'static Content)>, Box<dyn Error>> {
    static CONTENT: LazyLock<Content> = LazyLock::new(|| images::content(parts()).unwrap());
    let Some(runtimes) = or_skip(parts().runtimes())? else { return Ok(None) };
    if or_skip(parts().registry())?.is_none() {
        return Ok(None);
    }
    Ok(Some((runtimes, &CONTENT)))
}

/// Past the test harness, which would keep it until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
