//! `image-swap node` on machines with a real containerd.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod bootstrap;
mod check;
mod containerd_host;
mod cri;
mod earlier;
mod faults;
mod files;
#[path = "../runtimes/images.rs"]
#[expect(dead_code, reason = "what is here for the tests of runtimes too")]
mod images;
mod ordered;
mod other_tools;
mod restart;
mod root;
mod tokens;
mod verify;

use std::{error::Error, path::PathBuf};

use image_swap_lab::{Access, HostOptions, LabHost, Trust};
use image_swap_testbed::Credentials;

use self::images::lab;

type Outcome = Result<(), Box<dyn Error>>;

/// Returns the only credentials that the mirror accepts, if it requires any.
fn robot() -> Credentials {
    Credentials { username: "robot".into(), password: "a-password".into() }
}

/// Writes Palette's declaration for a mirror with `options` to the host, and returns its path.
fn declared(host: &LabHost, options: &HostOptions) -> Result<PathBuf, image_swap_testbed::Error> {
    let mut text =
        include_str!("../../../../tests/testkit/palette/registry-secret.yaml").to_owned();
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
