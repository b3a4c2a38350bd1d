//! Rotates the serving certificate, and returns the CAs that API servers have to trust.

use std::collections::BTreeMap;

use image_swap_core::{
    control::certificates::{
        Authority, AuthorityId, Leaf, RotationStep, Validity, next, trusted, trusted_while_changing,
    },
    declaration::UnixTime,
};
use image_swap_text::base64;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tracing::info;

use super::{
    context::Controller,
    snapshot::{Snapshot, found},
    state::ReconcileState,
    steps::StepErrors,
};
use crate::{
    error::Error,
    pki::{self, Pair, blocks},
    secret::{self, text},
};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// The data key of the authority that signed the certificate of the same Secret.
const ISSUER: &str = "ca.crt";
/// The data key of the former authority.
const PREVIOUS: &str = "previous.crt";
/// The limit of steps in one reconciliation. A rotation has fewer, so more of them would be a loop.
const STEPS: usize = 4;

/// The validity of the authority and of the serving certificate, for the report.
pub(super) struct ServingCertificates {
    pub(super) authority: Option<Validity>,
    pub(super) leaf: Option<Validity>,
}

impl Controller {
    /// Takes the steps that are due. Returns the authorities to publish; none if no certificate can
    /// be served yet. A failed step is noted in `steps`.
    ///
    /// # Errors
    /// The stored certificates cannot be read.
    pub(super) async fn reconcile_certificates(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
        now: UnixTime,
    ) -> Result<(ServingCertificates, Vec<AuthorityId>), Error> {
        let published = published(found(&snapshot.registration)?);
        if memory.published.ids != published {
            memory.published.ids = published;
            memory.published.since = now;
        }
        let certificate = found(&snapshot.certificate)?;
        if self.settings.tls_existing_secret.is_some() {
            return Ok(kept_elsewhere(certificate, memory, now));
        }
        let names = self.settings.release.names(&self.settings.service);
        let authority = found(&snapshot.authority)?.cloned();
        let mut stored = Stored { authority, leaf: certificate.cloned() };
        for _ in 0..STEPS {
            let (authority, leaf) = (stored.authority(), stored.leaf(&names));
            let Some(step) = next(now, authority.as_ref(), leaf.as_ref(), &memory.published) else {
                break;
            };
            let taken = self.step(snapshot, memory, &mut stored, step, now).await;
            if steps.take("certificates", taken).is_none() {
                break;
            }
            info!(?step, "{}", completed(step));
        }
        let (authority, leaf) = (stored.authority(), stored.leaf(&names));
        let ids =
            if leaf.is_some() { trusted(authority.as_ref(), leaf.as_ref()) } else { Vec::new() };
        let lifetimes = ServingCertificates {
            authority: authority.map(|it| it.validity),
            leaf: leaf.map(|it| it.validity),
        };
        Ok((lifetimes, ids))
    }

    async fn step(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        stored: &mut Stored,
        step: RotationStep,
        now: UnixTime,
    ) -> Result<(), Error> {
        let release = &self.settings.release;
        let (place, name, data) = match step {
            RotationStep::NewAuthority => {
                let Pair { certificate, key } = pki::authority(now)?;
                let mut data = BTreeMap::from([(CERTIFICATE, certificate), (KEY, key)]);
                if let Some(old) = stored.authority().filter(|it| it.validity.holds(now)) {
                    data.insert(PREVIOUS, old.id);
                }
                (&mut stored.authority, release.authority(), data)
            }
            RotationStep::ForgetPrevious => {
                let Some(pair) = stored.pair() else { return Ok(()) };
                let data = BTreeMap::from([(CERTIFICATE, pair.certificate), (KEY, pair.key)]);
                (&mut stored.authority, release.authority(), data)
            }
            RotationStep::NewLeaf => {
                let Some(authority) = stored.pair() else { return Ok(()) };
                let names = release.names(&self.settings.service);
                let leaf = pki::leaf(&authority, &names, now)?;
                let data = BTreeMap::from([
                    (CERTIFICATE, leaf.certificate),
                    (KEY, leaf.key),
                    (ISSUER, authority.certificate),
                ]);
                (&mut stored.leaf, release.certificate(), data)
            }
        };
        let before = place.as_ref();
        let mut object = secret::object(release, &snapshot.owner, &name, &json!({}), &data);
        // A leader that has lost its Lease without noticing must not undo the work of the
        // next one.
        if let Some(version) = before.and_then(|it| it.metadata.resource_version.as_ref()) {
            object["metadata"]["resourceVersion"] = version.as_str().into();
        }
        // A new certificate has new bytes: every write but the first counts as a repair.
        *place = Some(self.store(memory, before, &name, object, String::new(), now).await?);
        Ok(())
    }
}

/// Returns the log message for a step that was taken.
const fn completed(step: RotationStep) -> &'static str {
    match step {
        RotationStep::NewAuthority => "created a new CA",
        RotationStep::ForgetPrevious => "removed the previous CA",
        RotationStep::NewLeaf => "issued a serving certificate",
    }
}

/// The present Secrets of the authority and of the serving certificate.
struct Stored {
    authority: Option<Secret>,
    leaf: Option<Secret>,
}

impl Stored {
    /// Returns the authority; `None` if it is absent or cannot sign.
    fn authority(&self) -> Option<Authority> {
        let secret = self.authority.as_ref()?;
        let pair = self.pair()?;
        Some(Authority {
            validity: pki::validity(&pair.certificate)?,
            id: pair.certificate,
            previous: text(secret, PREVIOUS).and_then(|pem| blocks(pem).pop()),
        })
    }

    fn pair(&self) -> Option<Pair> {
        let secret = self.authority.as_ref()?;
        let certificate = blocks(text(secret, CERTIFICATE)?).into_iter().next()?;
        let key = text(secret, KEY)?.to_owned();
        pki::is_pair(&certificate, &key).then_some(Pair { certificate, key })
    }

    fn leaf(&self, names: &[String]) -> Option<Leaf> {
        let secret = self.leaf.as_ref()?;
        let certificate = text(secret, CERTIFICATE)?;
        let issuer = blocks(text(secret, ISSUER)?).into_iter().next()?;
        Some(Leaf {
            validity: pki::validity(certificate)?.within(pki::validity(&issuer)?),
            issuer,
            fits: pki::fits(certificate, text(secret, KEY)?, names),
        })
    }
}

/// Returns the authorities in the CA bundle of the registration.
pub(super) fn published(registration: Option<&Value>) -> Vec<AuthorityId> {
    let entries = registration.and_then(|it| it["webhooks"].as_array());
    let first = entries.into_iter().flatten().next();
    let bundle = first.and_then(|it| it["clientConfig"]["caBundle"].as_str());
    let pem = bundle.and_then(base64::decode);
    pem.map(|pem| blocks(&String::from_utf8_lossy(&pem))).unwrap_or_default()
}

/// Returns the validity and the authorities of a certificate from another issuer, such as
/// cert-manager. The authorities are those in `ca.crt`, or else the last certificate of the chain.
fn kept_elsewhere(
    secret: Option<&Secret>,
    memory: &mut ReconcileState,
    now: UnixTime,
) -> (ServingCertificates, Vec<AuthorityId>) {
    let chain = secret.and_then(|secret| text(secret, CERTIFICATE));
    let named = secret.and_then(|secret| text(secret, ISSUER)).map(blocks).unwrap_or_default();
    let wanted = if named.is_empty() {
        chain.and_then(|chain| blocks(chain).pop()).into_iter().collect()
    } else {
        named
    };
    if memory.wanted.as_ref().is_none_or(|(before, _)| *before != wanted) {
        memory.wanted = Some((wanted.clone(), now));
    }
    let changed = memory.wanted.as_ref().map_or(now, |(_, since)| *since);
    let ids = if wanted.is_empty() {
        Vec::new()
    } else {
        trusted_while_changing(&wanted, &memory.published, changed, now)
    };
    let found = ServingCertificates {
        authority: wanted.first().and_then(|pem| pki::validity(pem)),
        leaf: chain.and_then(pki::validity),
    };
    (found, ids)
}
