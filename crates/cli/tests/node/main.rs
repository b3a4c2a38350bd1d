//! `image-swap node` on machines with a real containerd.
//!
//! Where a part is missing, CI fails and any other machine is told what was
//! skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cri;
mod faults;
mod files;
#[path = "../runtimes/images.rs"]
#[expect(dead_code, reason = "what is here for the tests of runtimes too")]
mod images;
mod restart;
mod root;
mod stage;
mod tokens;
mod verify;

use std::{error::Error, io::Write, path::PathBuf, sync::LazyLock};

use image_swap_lab::{Access, Content, Host, HostOptions, Trust};
use image_swap_testbed::{Containerd, Credentials, Parts, or_skip};

type Outcome = Result<(), Box<dyn Error>>;
type Lab = (&'static [Containerd], &'static Content);

/// All parts, looked for once.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::for_tests(&announce).unwrap());
    &PARTS
}

/// The containerds, oldest first, and the images for them, or what is missing.
fn lab() -> Result<Option<Lab>, Box<dyn Error>> {
    static CONTENT: LazyLock<Content> = LazyLock::new(|| images::content(parts()).unwrap());
    let Some(runtimes) = or_skip(parts().runtimes())? else { return Ok(None) };
    if or_skip(parts().registry())?.is_none() {
        return Ok(None);
    }
    Ok(Some((&runtimes.containerds, &CONTENT)))
}

/// Who may use the mirror, where not everyone may.
fn robot() -> Credentials {
    Credentials { username: "robot".into(), password: "a-password".into() }
}

/// The page's declaration for a mirror like this, written where the host reads it.
fn declared(host: &Host, options: &HostOptions) -> Result<PathBuf, image_swap_testbed::Error> {
    let mut text = include_str!("../../../../examples/registry-secret.yaml").to_owned();
    if let Access::Basic(robot) | Access::Bearer(robot) = &options.access {
        text = text
            .replace("USERNAME: \"\"", &format!("USERNAME: \"{}\"", robot.username))
            .replace("PASSWORD: \"\"", &format!("PASSWORD: \"{}\"", robot.password));
    }
    if options.trust == Trust::Private {
        let pem = host.private_authority().replace('\n', "\\n");
        text = text.replace("CA_CERT: \"\"", &format!("CA_CERT: \"{pem}\""));
    }
    host.write("/registry-info.yaml", &text)
}

/// Past the test harness, which would keep it until the test fails.
fn announce(step: &str) {
    let _ = writeln!(std::io::stderr(), "{step}");
}
