//! A company's registry, as the page names it.

use std::fs;

use anyhow::{Context, Result};
use image_swap_testbed::{Authority, Image, Node, Parts, Registry, RegistryOptions, loopback};

use crate::{program::Program, release::PAGE_SECRET, stage::Stage};

/// The page's `endpoint`.
pub const HARBOR: &str = "harbor.example.org";
/// The page's `baseContentPath`.
pub const BASE_PATH: &str = "airgap-images";
/// Hosts that nobody may ask: the page's sources, and where Docker Hub really is.
pub const PUBLIC: [&str; 11] = [
    "registry-1.docker.io",
    "auth.docker.io",
    "index.docker.io",
    "docker.io",
    "k8s.gcr.io",
    "gcr.io",
    "ghcr.io",
    "registry.k8s.io",
    "quay.io",
    "us-east1-docker.pkg.dev",
    "production.cloudflare.docker.com",
];

/// The registry, and who signed its certificate.
pub(crate) struct Company {
    pub(crate) registry: Registry,
    authority: Authority,
}

impl Company {
    pub(crate) fn found(parts: &Parts) -> Result<Self> {
        let address = loopback();
        let authority = Authority::new("company")?;
        let options = RegistryOptions {
            tls: Some(authority.server(&[HARBOR, &address.to_string()])?),
            authority: Some(authority.certificate().to_owned()),
            host: Some(HARBOR.to_owned()),
            credentials: None,
        };
        let registry = Registry::start_at(parts, &options, (address, 443).into())?;
        Ok(Self { registry, authority })
    }

    /// PEM.
    pub(crate) fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// Tells the node's containerd of the registry and its certificate, by what
    /// the program prints for it. Nothing is restarted.
    pub(crate) fn be_trusted(&self, program: &Program, node: &Node) -> Result<()> {
        let lines = self.authority().lines().map(|line| format!("    {line}\n"));
        let pem = format!("CA_CERT: |\n{}", lines.collect::<String>());
        let declared = PAGE_SECRET.replace("CA_CERT: \"\"\n", &pem);
        let file = node.etc_containerd().join("registry-secret.yaml");
        fs::write(&file, declared).with_context(|| file.display().to_string())?;
        let certs = node.etc_containerd().join("certs.d");
        let mut render = program.command(&["render", "containerd", "--fallback", "never"]);
        render.arg("--registry-info").arg(&file).arg("--out").arg(certs);
        let output = render.output().context("run image-swap render")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "image-swap render: {said}");
        Ok(())
    }
}

impl Stage {
    /// Puts an image that runs `command` (busybox has it) into the registry, as
    /// `repository:tag` below the page's base path; its digest. `label` tells
    /// images apart.
    ///
    /// # Errors
    /// The registry refused it.
    pub fn publish(
        &self,
        repository: &str,
        tag: &str,
        label: &str,
        command: &[&str],
    ) -> Result<String> {
        let image = Image::busybox(self.parts.registry()?, label, command)?;
        self.registry.push(&format!("{BASE_PATH}/{repository}"), tag, &image)?;
        Ok(image.digest())
    }
}
