//! The declaration of a test, and its URLs and rendered files.

use std::{fs, path::Path, process::Command};

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    reference::Reference,
};
use image_swap_lab::{Access, HostOptions, LabHost, MIRROR, Trust};
use image_swap_testbed::Credentials;

/// The example of the Secret `registry-info` in Palette's documentation.
const PALETTE: &str = include_str!("../../../../tests/testkit/palette/registry-secret.yaml");

/// A declaration that fits a mirror.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    text: String,
    scheme: &'static str,
}

/// Returns the only credentials that the mirror accepts, if it requires any.
pub(crate) fn robot() -> Credentials {
    Credentials { username: "robot$node".into(), password: "a password".into() }
}

impl Declared {
    /// Returns Palette's declaration for a mirror with these options on this host.
    pub(crate) fn palette(host: &LabHost, mirror: &HostOptions) -> Self {
        let mut text = PALETTE.to_owned();
        if let Access::Basic(Credentials { username, password })
        | Access::Bearer(Credentials { username, password }) = &mirror.access
        {
            text = text
                .replace("USERNAME: \"\"", &format!("USERNAME: \"{username}\""))
                .replace("PASSWORD: \"\"", &format!("PASSWORD: \"{password}\""));
        }
        match mirror.trust {
            Trust::Public => {}
            Trust::Private => {
                let pem = host.private_authority().replace('\n', "\\n");
                text = text.replace("CA_CERT: \"\"", &format!("CA_CERT: \"{pem}\""));
            }
            Trust::SelfSigned => {
                text = text.replace("INSECURE: \"false\"", "INSECURE: \"true\"");
            }
            Trust::Plain => {
                text = text.replace(&format!("::{MIRROR}"), &format!("::http://{MIRROR}"));
            }
        }
        let scheme = if mirror.trust == Trust::Plain { "http" } else { "https" };
        Self { text, scheme }
    }

    /// Replaces the rules of the declaration.
    pub(crate) fn with_rules(mut self, rules: &str) -> Self {
        let kept = self.text.lines().map(|line| match line.split_once("MIRROR_REGISTRIES: ") {
            Some((indent, _)) => format!("{indent}MIRROR_REGISTRIES: \"{rules}\"\n"),
            None => format!("{line}\n"),
        });
        self.text = kept.collect();
        self
    }

    /// Returns the Secret.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the URL by which the swapped reference is pulled: the API of its own host, without
    /// any mirror.
    pub(crate) fn swapped_url(&self, image: &str) -> String {
        let declaration =
            Declaration::read(DeclarationSource::RegistryInfo, &self.text, 0).unwrap();
        let swapped = declaration.serving().unwrap().rules().swap(image).unwrap().image.to_string();
        self.url(&swapped)
    }

    /// Returns the URL by which a reference is pulled from its own host.
    pub(crate) fn url(&self, image: &str) -> String {
        let reference = Reference::parse(image).unwrap();
        let (domain, path) = (reference.domain(), reference.path());
        format!("{}://{domain}/v2/{path}/manifests/{}", self.scheme, reference.identifier())
    }

    /// Writes the declaration to the host, and returns its path on this machine.
    pub(crate) fn write(&self, host: &LabHost) -> String {
        let path = host.write("/registry-info.yaml", &self.text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs `image-swap render FORMAT --out DIRECTORY`.
    pub(crate) fn render(&self, host: &LabHost, format: &str, directory: &str, options: &[&str]) {
        let out = host.root().join(directory.trim_start_matches('/'));
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
        command.args(["render", format, "--registry-info", &self.write(host), "--out"]);
        // Plain HTTP with credentials is a choice that these tests make.
        command.arg(&out).arg("--header-over-http").args(options);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {stderr}");
        assert!(fs::read_dir(Path::new(&out)).unwrap().next().is_some());
    }
}
