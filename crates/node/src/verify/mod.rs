//! Determines the source of the images that a runtime pulls, as far as it can be known.
//!
//! A runtime does not report the source of an image. So it pulls a reference, and then image-swap
//! requests the same reference from the mirrors. The first mirror that has the manifest of the
//! pulled image is its source. A plan shows beforehand if the runtime reads its configuration.

pub(crate) mod check;
mod choose;

use std::time::Duration;

use image_swap_core::{
    declaration::Declaration,
    mirror::{Endpoint, Fallback},
    reference::Reference,
};
use image_swap_registry::Lookup;

use crate::{
    cri,
    plan::Contact,
    registry::{block_on, client, contact},
};

pub use self::choose::{Candidate, candidates};

/// The time for a pull: large images may come over slow lines.
const PULL: Duration = Duration::from_mins(10);

/// The result for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullVerdict {
    /// The registry whose references are mirrored.
    pub host: String,
    /// The reference that was pulled; `None` if none is known.
    pub reference: Option<String>,
    /// The digest of the pulled image; `None` if it is unknown.
    pub digest: Option<String>,
    /// Origin of the pulled image.
    pub source: PullOrigin,
    /// The reason for the origin.
    pub reason: String,
}

/// The origin of a pulled image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOrigin {
    /// The image came from a mirror.
    Mirror,
    /// The image did not come from a mirror.
    NotMirror,
    /// An origin that cannot be determined.
    Unknown,
    /// The pull failed, so there is no origin.
    Failed,
    /// No reference to pull is known, so there is no origin.
    Skipped,
}

/// The settings of a verification.
pub struct Verifier<'a> {
    /// The declaration whose mirrors are verified.
    pub declaration: &'a Declaration,
    /// The requests to the public registry after the mirrors.
    pub fallback: Fallback,
    /// True if credentials may travel over plain HTTP.
    pub header_over_http: bool,
    /// Settings of host files for target hosts.
    pub contacts: &'a [Contact],
}

impl Verifier<'_> {
    /// Pulls `candidate` through the runtime, and determines its source.
    ///
    /// # Errors
    /// The machine refuses to wait for sockets.
    pub fn verify(
        &self,
        client: &mut cri::CriClient,
        candidate: &Candidate,
    ) -> std::io::Result<PullVerdict> {
        let host = candidate.host.clone();
        let Some(reference) = &candidate.reference else {
            let reason = format!("no image of {host} is known on this host; name one with --image");
            let (reference, digest) = (None, None);
            return Ok(PullVerdict {
                host,
                reference,
                digest,
                source: PullOrigin::Skipped,
                reason,
            });
        };
        let pulled = client.pull(reference, PULL);
        let digest = pulled.as_ref().ok().and_then(|image| digest(reference, image));
        let (source, reason) = match (pulled, &digest) {
            (Err(error), _) => (PullOrigin::Failed, error.to_string()),
            (_, Some(digest)) => self.find(reference, candidate, digest)?,
            _ => (PullOrigin::Unknown, "the runtime does not report its digest".to_owned()),
        };
        Ok(PullVerdict { host, reference: Some(reference.clone()), digest, source, reason })
    }

    fn find(
        &self,
        reference: &str,
        candidate: &Candidate,
        digest: &str,
    ) -> std::io::Result<(PullOrigin, String)> {
        let Ok(parsed) = Reference::parse(reference) else {
            return Ok((PullOrigin::Unknown, "the reference is invalid".to_owned()));
        };
        let mut seen = Vec::new();
        let mut certain = true;
        for Endpoint { host, path } in &candidate.endpoints {
            let below = [path.as_str(), if path.is_empty() { "" } else { "/" }].concat();
            let repository = [&below, &*parsed.path().to_string()].concat();
            let contact = contact(self.contacts, host);
            let mirror = client(self.declaration, contact, self.header_over_http);
            match block_on(mirror.manifest(&repository, parsed.identifier()))? {
                Ok(Lookup::Found(found)) if found == digest => {
                    let before =
                        if seen.is_empty() { "is requested first" } else { "is requested next" };
                    let reason = format!("{host} {before}, and has {repository} with this digest");
                    return Ok((PullOrigin::Mirror, reason));
                }
                Ok(Lookup::Found(found)) => seen.push(format!("{host} has {found}")),
                Ok(Lookup::NotFound) => seen.push(format!("{host} has no {repository}")),
                Ok(Lookup::Inconclusive(reason)) => {
                    certain = false;
                    seen.push(format!("{host}: {reason}"));
                }
                Err(error) => {
                    certain = false;
                    seen.push(error.to_string());
                }
            }
        }
        seen.extend(match (certain, self.fallback) {
            (_, Fallback::Upstream) => None,
            (true, _) => Some(
                "the image was on the host before, or the runtime has another configuration"
                    .to_owned(),
            ),
            (false, _) => {
                Some("fallback is never: the runtime requests no other registry".to_owned())
            }
        });
        let origin = if certain { PullOrigin::NotMirror } else { PullOrigin::Unknown };
        Ok((origin, seen.join("; ")))
    }
}

/// Returns the digest of `image` under the name of `reference`.
fn digest(reference: &str, image: &cri::LocalImage) -> Option<String> {
    let reference = Reference::parse(reference).ok()?;
    if let Some(digest) = reference.digest() {
        return Some(digest.to_owned());
    }
    let name = reference.name();
    image.digests.iter().find_map(|digest| {
        let (of, digest) = digest.split_once('@')?;
        (of == name).then(|| digest.to_owned())
    })
}
