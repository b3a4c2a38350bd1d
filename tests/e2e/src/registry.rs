//! The company's registry, with the names of Palette's documentation.

use std::fs;

use anyhow::{Context, Result};
use image_swap_testbed::{
    Authority, Credentials, Image, Node, Parts, Registry, RegistryOptions, loopback,
};

use crate::{helm_cluster::HelmCluster, program::Program, release::PALETTE_SECRET};

/// The `endpoint` of Palette's documentation.
pub const HARBOR: &str = "harbor.example.org";
/// The `baseContentPath` of Palette's documentation.
pub const BASE_PATH: &str = "airgap-images";
/// Hosts of public registries: the sources that Palette names, and the real hosts of
/// Docker Hub.
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

/// The registry, and the authority that signed its certificate.
pub(crate) struct Company {
    pub(crate) registry: Registry,
    authority: Authority,
}

impl Company {
    pub(crate) fn start(parts: &Parts, credentials: Option<Credentials>) -> Result<Self> {
        let address = loopback();
        let authority = Authority::new("company")?;
        let options = RegistryOptions {
            tls: Some(authority.server(&[HARBOR, &address.to_string()])?),
            authority: Some(authority.certificate().to_owned()),
            host: Some(HARBOR.to_owned()),
            credentials,
            ..RegistryOptions::default()
        };
        let registry = Registry::start_at(parts, &options, (address, 443).into())?;
        Ok(Self { registry, authority })
    }

    /// Makes the node's containerd trust the registry, by the files that the program
    /// prints for it.
    pub(crate) fn set_up(&self, program: &Program, node: &Node) -> Result<()> {
        let lines = self.authority.certificate().lines().map(|line| format!("    {line}\n"));
        let pem = format!("CA_CERT: |\n{}", lines.collect::<String>());
        let declared = PALETTE_SECRET.replace("CA_CERT: \"\"\n", &pem);
        let file = node.etc_containerd().join("registry-secret.yaml");
        fs::write(&file, declared).with_context(|| file.display().to_string())?;
        let certs = node.etc_containerd().join("certs.d");
        let mut render = program.command(&["render", "containerd", "--fallback", "never"]);
        render.arg("--registry-info").arg(&file).arg("--out").arg(certs);
        let output = render.output().context("run image-swap render")?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "image-swap render: {error}");
        Ok(())
    }
}

impl HelmCluster {
    /// Pushes an image that runs `command` (busybox has it) as `repository:tag` below
    /// Palette's base path, and returns its digest. Another `label` gives another
    /// digest.
    ///
    /// # Errors
    /// The registry refuses it.
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
