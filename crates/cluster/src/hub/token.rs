//! The renewal of the token for the management cluster.

use std::{future::pending, time::Duration};

use image_swap_core::fleet::{
    bundle::FLEET_MANAGER,
    pull::{HubAccess, TOKEN_LIFE},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::{
    HubPull, HubSession, PATIENCE,
    problem::{self, HubTask},
};
use crate::error::Error;

/// Longest time between two reads of the clock, which an administrator may set.
const LOOK: Duration = Duration::from_mins(1);

impl HubPull<'_> {
    /// Renews the token at half of its life. The successor in the Secret begins the next session.
    /// Never returns.
    pub(super) async fn renew_token(
        &self,
        session: &HubSession,
        note: &impl Fn(HubTask, Option<String>),
    ) {
        let mut backoff = self.backoff();
        loop {
            let wait = session.access.due().saturating_sub((self.clock)());
            if wait > 0 {
                sleep(Duration::from_secs(wait).min(LOOK)).await;
                continue;
            }
            match self.renew(session).await {
                Ok(()) => {
                    note(HubTask::Token, None);
                    pending::<()>().await;
                }
                Err(problem) => {
                    note(HubTask::Token, Some(problem));
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Requests the successor of the token, and stores it.
    async fn renew(&self, session: &HubSession) -> Result<(), String> {
        let HubSession { remote, access } = session;
        let path =
            format!("/api/v1/namespaces/{}/serviceaccounts/{}", access.namespace, access.account);
        let now = (self.clock)();
        let issued = remote.request_token(&path, TOKEN_LIFE, now).await;
        let issued = issued.map_err(problem::remote)?;
        let renewed = access.renewed(issued.token, now, issued.expires);
        let stored = timeout(PATIENCE, self.store(&renewed)).await;
        let stored = stored.unwrap_or(Err(Error::Late(PATIENCE.as_secs())));
        stored.map_err(|error| error.to_string())?;
        info!(expires = issued.expires, "renewed the token for the management cluster");
        Ok(())
    }

    async fn store(&self, access: &HubAccess) -> Result<(), Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.release.namespace);
        let mut object = access.secret(&self.release.namespace);
        object.value["metadata"]["name"] = self.secret.as_str().into();
        let params = PatchParams::apply(FLEET_MANAGER).force();
        let written =
            secrets.patch_metadata(&self.secret, &params, &Patch::Apply(&*object.value)).await;
        written.map(drop).map_err(Error::api(format!("write {}", self.secret)))
    }
}
