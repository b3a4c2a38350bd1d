//! Enrolment of clusters that pull, with the rights of an administrator of the management cluster.

mod content;
mod error;
mod objects;
mod request;

use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{Bundle, BundleError, BundleObject, BundlePhase, BundleSlots},
        kubeconfig::{RemoteAccess, RemoteCredential},
        pull::{Enrolment, HUB_SECRET, HubAccess, PullNames, TOKEN_LIFE},
    },
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, Config, api::PostParams};

use self::{content::HubContent, objects::EnrolledObjects};
pub use self::{error::EnrolmentError, objects::RevokedObject, request::EnrolmentRequest};

/// Enrolled cluster.
#[derive(Debug)]
pub struct EnrolledCluster {
    /// Objects for the workload cluster. The Secrets have credentials in them.
    pub objects: Vec<BundleObject>,
    /// Number of the declaration in them.
    pub revision: u64,
    /// Time at which the token expires.
    pub expires: UnixTime,
}

/// Creates the objects of a cluster on the management cluster by `config`, and returns those of the
/// workload cluster. A cluster that is enrolled already gets another token, and keeps the declaration
/// of its copy.
///
/// # Errors
/// [`EnrolmentError`]. Objects are created only if everything else is usable.
pub async fn enroll(
    config: &Config,
    request: &EnrolmentRequest,
) -> Result<EnrolledCluster, EnrolmentError> {
    let client = image_swap_cluster::connect(config.clone())?;
    let names = &request.names;
    let content = HubContent::read(&client, names, &request.release).await?;
    let objects = EnrolledObjects::new(&client, names);
    objects.check_free().await?;
    let server = content::server(&client, config, request).await?;
    let mut filled = fill(&content, request).map_err(EnrolmentError::Bundle)?;
    objects.create(&Enrolment { names: names.clone(), fleet: content.fleet.clone() }).await?;
    let (token, times) = request_token(&client, names).await?;
    let expires = times.1;
    let remote: RemoteAccess = server.with(RemoteCredential::Token(token));
    let access = HubAccess::new(names, remote, times);
    let secret = access.secret(content.namespace());
    let after = filled.partition_point(|it| it.phase == BundlePhase::Base);
    filled.insert(after, secret);
    Ok(EnrolledCluster { objects: filled, revision: content.revision, expires })
}

/// Deletes the objects of a cluster on the management cluster. Returns them in the order of their
/// deletion; an object that did not exist is left out.
///
/// # Errors
/// The API server refuses a request, or cannot be reached. Objects may have been deleted before.
pub async fn revoke(
    client: &Client,
    names: &PullNames,
) -> Result<Vec<RevokedObject>, EnrolmentError> {
    EnrolledObjects::new(client, names).delete().await
}

/// Fills the bundle for the cluster.
fn fill(
    content: &HubContent,
    request: &EnrolmentRequest,
) -> Result<Vec<BundleObject>, BundleError> {
    let bundle: &Bundle = &content.bundle;
    bundle.fill(&BundleSlots {
        api_server: request.api_server.as_deref(),
        policy: request.policy.as_deref(),
        hub_secret: Some(HUB_SECRET),
        ..BundleSlots::new(
            content.namespace(),
            (content.revision, &content.declaration),
            &request.served,
        )
    })
}

/// Requests a token of the cluster's account. Returns it with the times of issue and expiry.
async fn request_token(
    client: &Client,
    names: &PullNames,
) -> Result<(String, (UnixTime, UnixTime)), EnrolmentError> {
    let account = names.account();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &names.namespace);
    let seconds = i64::try_from(TOKEN_LIFE).unwrap_or(i64::MAX);
    let wanted = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(seconds), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let doing = format!("request a token of the ServiceAccount {}/{account}", names.namespace);
    let issued = image_swap_cluster::clock::now();
    let response = accounts.create_token_request(&account, &PostParams::default(), &wanted).await;
    let response = response.map_err(image_swap_cluster::Error::api(doing))?;
    let status = response.status.ok_or(EnrolmentError::NoToken)?;
    let expires = UnixTime::try_from(status.expiration_timestamp.0.as_second());
    let expires = expires.map_err(|_| EnrolmentError::NoToken)?;
    Ok((status.token, (issued, expires)))
}
