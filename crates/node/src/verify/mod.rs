//! Whether the runtime pulls from the mirrors, as far as that can be known.
//!
//! A runtime does not tell where an image came from. So it is made to pull a
//! reference, and the mirrors are then asked for the same: a mirror that is asked
//! first, and has the very manifest that the runtime now has, is where it came
//! from. What the runtime was told, and whether it reads that, is asked of the
//! plan before.

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

/// How long a pull may take: large images come over slow lines.
const PULL: Duration = Duration::from_mins(10);

/// What became of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullVerdict {
    /// The registry whose references are mirrored.
    pub host: String,
    /// The reference that was pulled, or was to be.
    pub reference: Option<String>,
    /// The digest that it has on the host now.
    pub digest: Option<String>,
    /// Origin of the pulled image.
    pub source: PullOrigin,
    /// How that is known, or why not.
    pub why: String,
}

/// The origin of a pulled image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOrigin {
    /// A mirror.
    Mirror,
    /// Not a mirror.
    NotMirror,
    /// An origin that cannot be determined.
    Unknown,
    /// None: the pull failed.
    Failed,
    /// None: no reference is known to pull.
    Skipped,
}

/// Who is asked.
pub struct Verifier<'a> {
    /// What was declared.
    pub declaration: &'a Declaration,
    /// Whether the registry itself may be asked.
    pub fallback: Fallback,
    /// Whether credentials may travel over plain HTTP.
    pub header_over_http: bool,
    /// Settings of host files for target hosts.
    pub contacts: &'a [Contact],
}

impl Verifier<'_> {
    /// Pulls `candidate` through the runtime, and finds where it came from.
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
            let why = format!("no image of {host} is known on this host; name one with --image");
            let (reference, digest) = (None, None);
            return Ok(PullVerdict { host, reference, digest, source: PullOrigin::Skipped, why });
        };
        let pulled = client.pull(reference, PULL);
        let digest = pulled.as_ref().ok().and_then(|image| digest(reference, image));
        let (source, why) = match (pulled, &digest) {
            (Err(error), _) => (PullOrigin::Failed, error.to_string()),
            (_, Some(digest)) => self.find(reference, candidate, digest)?,
            _ => (PullOrigin::Unknown, "the runtime does not report its digest".to_owned()),
        };
        Ok(PullVerdict { host, reference: Some(reference.clone()), digest, source, why })
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
                    let why = format!("{host} {before}, and has {repository} with this digest");
                    return Ok((PullOrigin::Mirror, why));
                }
                Ok(Lookup::Found(found)) => seen.push(format!("{host} has {found}")),
                Ok(Lookup::NotFound) => seen.push(format!("{host} has no {repository}")),
                Ok(Lookup::Inconclusive(why)) => {
                    certain = false;
                    seen.push(format!("{host}: {why}"));
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

/// The digest that `image` has under the name of `reference`.
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
