//! Connects to a workload cluster, and renews the credential.

use std::time::Duration;

use image_swap_cluster::clock::now;
use image_swap_core::{
    declaration::UnixTime,
    fleet::{drift::RepairLog, inventory::EntryAccess, kubeconfig::RemoteAccess},
    status::workload_cluster::{ApplyOutcome, ClusterContact, HeartbeatFacts, RemovalProgress},
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    connection::ClusterSession,
    state::{TaskState, TokenRead},
};
use crate::{
    controller::order::{ClusterOrder, ClusterTask},
    remote::{FleetToken, RemoteCluster, RemoteError, TokenError},
};

/// Pause between two requests for a token, whatever the cluster answers.
const TOKEN_PAUSE: Duration = Duration::from_mins(5);

impl ClusterTask {
    /// Connects to the cluster if there is no connection by the present access.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    pub(super) async fn connect(
        &self,
        order: &ClusterOrder,
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        let EntryAccess::Usable { access, version } = &order.entry.access else { return Ok(()) };
        // Another cluster may have taken the address since the last comparison, and answers over a new
        // connection.
        let is_same =
            |it: &ClusterSession| it.version == *version && it.opened == it.remote.connections();
        if state.applied.is_some() && state.session.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        // Boxed: an attempt over an open connection needs no memory for it.
        Box::pin(self.begin_session((access, version), state)).await
    }

    /// Connects to the cluster by `access`, unless the same cluster answers over a connection of that
    /// `version` of it.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    async fn begin_session(
        &self,
        (access, version): (&RemoteAccess, &String),
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        if let Some(session) = state.session.as_mut().filter(|it| it.version == *version)
            && session.remote.identity().await? == session.uid
        {
            session.opened = session.remote.connections();
            return Ok(());
        }
        state.session = None;
        state.applied = None;
        let (remote, uid) = self.contact(access, state).await?;
        if state.facts.uid != uid {
            // Another cluster: nothing is known about it.
            state.is_removed = false;
            state.facts.duplicate_of = None;
            state.facts.removal = RemovalProgress::None;
            state.facts.stored = None;
            state.facts.stored_bundle.clear();
            state.facts.outcome = ApplyOutcome::Pending;
            state.facts.heartbeat = HeartbeatFacts::default();
            state.repairs = RepairLog::default();
        }
        state.facts.uid.clone_from(&uid);
        state.version.clone_from(version);
        state.facts.contact = ClusterContact::Reached;
        let (workload, stale_after) = (&self.settings.workload, self.settings.timing.stale);
        let session = ClusterSession::begin(remote, (version, uid), workload, stale_after);
        state.session = Some(session);
        Ok(())
    }

    /// Connects by the token of the fleet controller, or by `access` if there is none or the cluster
    /// refuses it. Returns the identity of the cluster with the connection.
    ///
    /// A token with which a request was forbidden has lost its permissions, and `access` is tried
    /// first. It creates them again, with another token.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials. The token is kept then.
    async fn contact(
        &self,
        access: &RemoteAccess,
        state: &mut TaskState,
    ) -> Result<(RemoteCluster, String), RemoteError> {
        self.read_token(state).await;
        let is_forbidden = std::mem::take(&mut state.is_forbidden);
        let own = state.token.as_ref().filter(|it| it.is_of(access)).map(|it| it.access(access));
        if let Some(own) = own.as_ref().filter(|_| !is_forbidden) {
            match self.identify(own).await {
                Err(error) if error.refuses_credential() => {}
                identified => return identified,
            }
        }
        match (self.identify(access).await, own) {
            // The token may be the only credential left.
            (Err(error), Some(own)) if is_forbidden && error.refuses_credential() => {
                self.identify(&own).await
            }
            (identified, _) => {
                let identified = identified?;
                state.token = None;
                Ok(identified)
            }
        }
    }

    /// Reads the token that a former leader stored, unless it was read. A failed read is repeated at
    /// the next connection.
    async fn read_token(&self, state: &mut TaskState) {
        if state.token_read == TokenRead::Done {
            return;
        }
        match self.tokens().load(&self.key.to_string()).await {
            Ok(token) => (state.token, state.token_read) = (token, TokenRead::Done),
            Err(error) => {
                warn!(cluster = %self.key, %error, "cannot read the token of a workload cluster");
            }
        }
    }

    /// Connects by `access`. Returns the identity of the cluster with the connection.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the credential.
    async fn identify(
        &self,
        access: &RemoteAccess,
    ) -> Result<(RemoteCluster, String), RemoteError> {
        let remote = RemoteCluster::connect(access, &self.settings.timing.limits)?;
        let uid = remote.identity().await?;
        Ok((remote, uid))
    }

    /// Replaces the credential of the inventory by a token of an account of the fleet controller
    /// in the cluster, and renews it at half of its life. Returns false if other writers hold objects
    /// of that account.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    pub(super) async fn renew_token(
        &self,
        order: &ClusterOrder,
        state: &mut TaskState,
    ) -> Result<bool, RemoteError> {
        let EntryAccess::Usable { access, .. } = &order.entry.access else { return Ok(true) };
        let now = now();
        if state.token.as_ref().is_some_and(|it| !it.is_due(now))
            || state.token_wait.is_some_and(|it| it > Instant::now())
        {
            return Ok(true);
        }
        if !Box::pin(self.replace_token(access, state, now)).await? {
            return Ok(false);
        }
        if state.session.is_none() {
            self.connect(order, state).await?;
        }
        Ok(true)
    }

    /// Replaces the token, or creates the first one. Returns false if other writers hold objects of
    /// the account. Ends the session if there is another token.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    async fn replace_token(
        &self,
        access: &RemoteAccess,
        state: &mut TaskState,
        now: UnixTime,
    ) -> Result<bool, RemoteError> {
        let (namespace, limits) = (&self.settings.workload.namespace, &self.settings.timing.limits);
        let renewed = match &state.token {
            Some(token) => token.renew(access, limits, namespace, now).await,
            None => FleetToken::create(access, limits, namespace, now).await,
        };
        let token = match renewed {
            Ok(token) => token,
            Err(TokenError::Contested(report)) => {
                self.log(&report);
                // The present token is valid for the other half of its life.
                if state.token.is_none() {
                    state.take_report(&report);
                    return Ok(false);
                }
                state.token_wait = Some(Instant::now() + TOKEN_PAUSE);
                return Ok(true);
            }
            Err(TokenError::Request(error @ RemoteError::Refused(_))) if state.token.is_some() => {
                warn!(cluster = %self.key, %error, "cannot renew the token of a workload cluster");
                state.token_wait = Some(Instant::now() + TOKEN_PAUSE);
                return Ok(true);
            }
            Err(TokenError::Request(error)) => return Err(error),
        };
        state.token_wait = Some(Instant::now() + TOKEN_PAUSE);
        if let Err(error) =
            self.tokens().store(&self.key.to_string(), &state.facts.uid, &token).await
        {
            warn!(cluster = %self.key, %error, "cannot store the token of a workload cluster");
        }
        (state.token, state.token_read) = (Some(token), TokenRead::Done);
        // The next connection uses the token.
        state.session = None;
        Ok(true)
    }
}
