//! The Secret with the declaration for nodes.

use std::str;

use futures_util::StreamExt as _;
use image_swap_core::status::NodeDeclaration;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use tokio::{pin, sync::watch};
use tracing::warn;

use crate::{backoff::RetryBackoff, error::watch_reason};

/// Seconds after which a watch is renewed, so that an agent notices a dead connection.
const WATCH: u32 = 290;

/// Returns the declaration in `secret`. A part that cannot be read is absent.
pub(crate) fn declaration(secret: &Secret) -> NodeDeclaration {
    let data = secret.data.as_ref();
    NodeDeclaration::read(|key| str::from_utf8(&data?.get(key)?.0).ok())
}

/// Sends each state of the Secret `name` to `states`: an empty declaration if it is absent.
/// Never ends.
pub(crate) async fn follow(
    secrets: Api<Secret>,
    name: &str,
    states: watch::Sender<Option<NodeDeclaration>>,
) {
    let config = Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
    let events = watcher(secrets, config).backoff(RetryBackoff::default());
    pin!(events);
    let mut found = false;
    let mut failing = false;
    while let Some(event) = events.next().await {
        let state = match event {
            Ok(Event::Init) => {
                found = false;
                continue;
            }
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                found = true;
                declaration(&secret)
            }
            Ok(Event::InitDone) if found => continue,
            Ok(Event::InitDone | Event::Delete(_)) => NodeDeclaration::default(),
            Err(error) => {
                if !failing {
                    let error = watch_reason(&error);
                    warn!(name, error, "cannot watch the Secret; the node stays as it is");
                }
                failing = true;
                continue;
            }
        };
        failing = false;
        states.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&state);
            *known = Some(state);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    // guarantee: 3c
    #[test]
    fn malformed_secret_declares_nothing() {
        let secret = |data: &[(&str, &[u8])]| Secret {
            data: Some(
                data.iter()
                    .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        };
        let nothing = NodeDeclaration::default();
        assert_eq!(declaration(&Secret::default()), nothing);
        assert_eq!(declaration(&secret(&[("restore", b"\xff"), ("revision", b"\xff")])), nothing);
        let partial = secret(&[("revision", b"x"), ("source", b"chart"), ("declaration", b"{}")]);
        assert_eq!(declaration(&partial), nothing);
        assert!(declaration(&secret(&[("restore", b"true")])).restore);
    }
}
