//! The readiness of all API servers.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use hyper::Request;
use image_swap_core::control::restarts::ApiServersState;
use kube::{Client, Config, client::Body};
use tokio::time::timeout;

use crate::{
    client::connect_apart,
    endpoints::api_servers,
    error::{Error, reason},
};

/// Time for the answers of all API servers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns the state of every API server. Without `config`, `client` reaches the only one.
pub(super) async fn look(client: &Client, config: Option<&Config>) -> ApiServersState {
    match timeout(PATIENCE, look_at_all(client, config)).await {
        Ok(Ok(())) => ApiServersState::AllOk,
        Ok(Err(reason)) => ApiServersState::NotOk(reason),
        Err(_) => ApiServersState::NotOk(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn look_at_all(client: &Client, config: Option<&Config>) -> Result<(), String> {
    let Some(config) = config else { return look_at(client).await };
    let servers = api_servers(client).await.map_err(|error| error.to_string())?;
    if servers.is_empty() {
        return Err("the EndpointSlice default/kubernetes has no ready address".to_owned());
    }
    let looks = servers.into_iter().map(|server| look_apart(config, server));
    join_all(looks).await.into_iter().collect()
}

async fn look_apart(config: &Config, server: SocketAddr) -> Result<(), String> {
    let client = connect_apart(config, Some(server), PATIENCE);
    let client = client.map_err(|error: Error| error.to_string())?;
    match timeout(PATIENCE, look_at(&client)).await {
        Ok(answer) => answer.map_err(|reason| format!("{server}: {reason}")),
        Err(_) => Err(format!("{server}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Requests `/readyz`.
///
/// # Errors
/// The API server is not ready: the reason.
async fn look_at(client: &Client) -> Result<(), String> {
    let request = Request::get("/readyz").body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| reason(&error))?;
    let (head, body) = answer.into_parts();
    if head.status.is_success() {
        return Ok(());
    }
    let body = body.collect_bytes().await.map_err(|error| reason(&error))?;
    Err(unready(head.status.as_u16(), &String::from_utf8_lossy(&body)))
}

/// Returns the reason in the answer of an API server that is not ready: the failed checks.
fn unready(status: u16, body: &str) -> String {
    let failed: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("[-]")).collect();
    if failed.is_empty() {
        return format!("/readyz answers {status}");
    }
    format!("/readyz answers {status}: {}", failed.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_checks_are_the_reason() {
        let body = "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
        assert_eq!(unready(500, body), "/readyz answers 500: etcd failed: reason withheld");
        assert_eq!(unready(404, "page not found"), "/readyz answers 404");
    }
}
