//! Credentials that expire within seconds, which the API server does not issue.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::KeyPair;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};

use super::{ControlPlane, access::ADMINISTRATORS, plan::ACCOUNTS_KEY};
use crate::{error::Error, kubeconfig::UserCredential};

/// Time in seconds for which an API server accepts a token after its end: the tolerance of go-jose.
const TOLERANCE: u64 = 60;
/// Time in seconds between issue and end of a token: the shortest that an API server issues.
const SHORTEST: u64 = 600;

impl ControlPlane {
    /// Issues a client certificate for the administrator that expires after `life`, and returns it in
    /// a kubeconfig as [`administrator_kubeconfig`](Self::administrator_kubeconfig) does.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn expiring_administrator_kubeconfig(&self, life: Duration) -> Result<String, Error> {
        let group = Some(ADMINISTRATORS);
        let identity = self.authority.expiring_client("administrator", group, life)?;
        Ok(self.render(&UserCredential::Certificate(&identity)))
    }

    /// Returns a token of a service account that the API server accepts for `life`, which has
    /// seconds. An API server issues none for less than ten minutes, so the claims of one that it
    /// issued are signed again with its key. It accepts each token for a minute after its end, and
    /// for ten seconds after a request with it.
    ///
    /// # Errors
    /// The API server refused to issue a token, or its key cannot be used.
    pub fn expiring_token(
        &self,
        namespace: &str,
        account: &str,
        life: Duration,
    ) -> Result<String, Error> {
        let issued = self.issue_token(namespace, account)?;
        let mut parts = issued.split('.');
        let (Some(header), Some(claims)) = (parts.next(), parts.next()) else {
            return Err(Error::Token("the API server issued no JWT"));
        };
        if decode(header)?["alg"] != "ES256" {
            return Err(Error::Token("the key of the API server is not of ES256"));
        }
        let mut claims = decode(claims)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let end = now + life.as_secs() - TOLERANCE;
        for (name, time) in [("exp", end), ("nbf", end - SHORTEST), ("iat", end - SHORTEST)] {
            claims[name] = json!(time);
        }
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let signed = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    /// Returns the signature of `text` by the key of service accounts.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let path = self.dir.path().join(ACCOUNTS_KEY);
        let pem = fs::read_to_string(path).map_err(Error::io("read the key of accounts"))?;
        let der = KeyPair::from_pem(&pem)?.serialize_der();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
        let key = key.map_err(|_| Error::Token("the key of accounts is not of P-256"))?;
        let signature = key.sign(&random, text);
        let signature = signature.map_err(|_| Error::Token("the system has no random numbers"))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Returns a part of a JWT.
fn decode(part: &str) -> Result<Value, Error> {
    let invalid = || Error::Token("the API server issued no JWT");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid())?;
    serde_json::from_slice(&bytes).map_err(|_| invalid())
}
