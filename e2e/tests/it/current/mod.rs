//! Features of current Kubernetes versions, through the real kubelet and API server.

mod api_server;
mod first_contact;
mod kubelet;

use std::time::Duration;

/// The image that the page's rules give for `redis:7`.
const REDIS: &str = "harbor.example.org/airgap-images/docker.io/library/redis:7";

/// The limit of a wait in a known failure: longer than the event would take, and short
/// because the event does not come.
const SOON: Duration = Duration::from_secs(30);
