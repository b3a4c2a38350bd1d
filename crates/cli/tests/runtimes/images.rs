//! The images: one in each registry of Palette's documentation, and the same in the mirror.

use std::sync::LazyLock;

use image_swap_core::reference::Reference;
use image_swap_lab::{Content, MIRROR, UPSTREAM};
use image_swap_testbed::{Error, Image, Parts, RuntimeParts};

/// An image of a public registry.
pub(crate) struct Sample {
    /// The registry, as Palette names it.
    pub(crate) registry: &'static str,
    /// The full name of the image: podman has no default registry.
    pub(crate) name: &'static str,
    /// The repository in the mirror, by Palette's rules.
    pub(crate) mirrored: &'static str,
}

/// One image of each of Palette's seven registries.
pub(crate) const SAMPLES: [Sample; 7] = [
    sample("docker.io", "docker.io/library/nginx", "airgap-images/docker.io/library/nginx"),
    sample("gcr.io", "gcr.io/team/app", "airgap-images/gcr.io/team/app"),
    sample("ghcr.io", "ghcr.io/team/app", "airgap-images/ghcr.io/team/app"),
    sample("k8s.gcr.io", "k8s.gcr.io/pause", "airgap-images/gcr.io/pause"),
    sample("registry.k8s.io", "registry.k8s.io/pause", "airgap-images/k8s.io/pause"),
    sample("quay.io", "quay.io/team/app", "airgap-images/quay.io/team/app"),
    sample(
        "us-east1-docker.pkg.dev",
        "us-east1-docker.pkg.dev/project/team/app",
        "airgap-images/project/team/app",
    ),
];

/// The tag of all samples.
pub(crate) const TAG: &str = "1.25";

const fn sample(registry: &'static str, name: &'static str, mirrored: &'static str) -> Sample {
    Sample { registry, name, mirrored }
}

/// The part of a reference that names an image within its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Tag,
    Digest,
    Both,
}

impl Sample {
    /// Builds the image, whose digest differs for each sample.
    fn image(&self, parts: &Parts) -> Result<Image, Error> {
        Image::busybox(parts.registry()?, self.name, &["true"])
    }

    /// Returns the tag or digest with its separator.
    pub(crate) fn identifier(&self, named: Named, parts: &Parts) -> Result<String, Error> {
        let digest = match named {
            Named::Tag => return Ok(format!(":{TAG}")),
            Named::Digest | Named::Both => self.image(parts)?.digest(),
        };
        let tag = if named == Named::Both { format!(":{TAG}") } else { String::new() };
        Ok(format!("{tag}@{digest}"))
    }

    /// Returns the reference to pull.
    pub(crate) fn reference(&self, named: Named, parts: &Parts) -> Result<String, Error> {
        Ok(format!("{}{}", self.name, self.identifier(named, parts)?))
    }

    /// Returns the reference of the same image in the mirror.
    pub(crate) fn in_mirror(&self, named: Named, parts: &Parts) -> Result<String, Error> {
        Ok(format!("{MIRROR}/{}{}", self.mirrored, self.identifier(named, parts)?))
    }
}

/// Starts a registry with all samples, below the paths of the mirror and the public ones.
pub(crate) fn content(parts: &Parts) -> Result<Content, Error> {
    let content = Content::start(parts)?;
    for sample in &SAMPLES {
        let image = sample.image(parts)?;
        content.push(sample.mirrored, TAG, &image)?;
        let name = Reference::parse(sample.name).map(|reference| reference.path().to_string());
        let public = name.unwrap_or_default();
        content.push(&format!("{UPSTREAM}/{}/{public}", sample.registry), TAG, &image)?;
    }
    Ok(content)
}

/// Returns all parts, which are found once.
pub(crate) fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

/// Returns the runtimes and the images for them.
pub(crate) fn lab() -> Result<(&'static RuntimeParts, &'static Content), Box<dyn std::error::Error>>
{
    static CONTENT: LazyLock<Content> = LazyLock::new(|| content(parts()).unwrap());
    parts().registry()?;
    Ok((parts().runtimes()?, &CONTENT))
}
