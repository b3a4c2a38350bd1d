//! Ordinary pods, created one after the other while a release changes.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install};
use image_swap_testbed::{ControlPlane, Wait, until};
use serde_json::json;

use crate::{NGINX, image};

/// The namespace of the pods. A test creates it.
pub(crate) const NAMESPACE: &str = "stream";
const PODS: &str = "/api/v1/namespaces/stream/pods";
/// The number of pods before and after the change.
const FEW: usize = 5;

/// The fate of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pod {
    Swapped,
    /// Stored with its own image. `registered` is true if the registration had entries a
    /// moment later.
    Unswapped {
        registered: bool,
    },
    /// Stored with any other image.
    Wrong(String),
    Refused(String),
}

/// The pods, in the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pods: Mutex<Vec<Pod>>,
    stop: AtomicBool,
}

/// Ends the stream when the change ends, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Stream {
    /// Creates pods while `change` runs, and some before and after it. Returns the fate
    /// of each.
    pub(crate) fn during(
        cluster: &HelmCluster,
        change: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Pod>> {
        let stream = Self::default();
        let control_plane = &cluster.control_plane;
        thread::scope(|scope| {
            scope.spawn(|| stream.flow(control_plane));
            let _ends = Ends(&stream.stop);
            stream.more()?;
            change()?;
            stream.more()
        })?;
        let pods = stream.pods.into_inner().unwrap();
        cluster.step(&format!("  {} pods were created meanwhile", pods.len()));
        Ok(pods)
    }

    fn flow(&self, control_plane: &ControlPlane) {
        for number in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            let fate = create(control_plane, &format!("pod-{number}"));
            self.pods.lock().unwrap().push(fate);
        }
    }

    /// Waits until a few more pods were created, begun after this call.
    fn more(&self) -> Result<()> {
        let enough = self.pods.lock().unwrap().len() + FEW;
        Ok(until("more pods", DEADLINE, || match self.pods.lock().unwrap().len() {
            now if now >= enough => Ok(()),
            now => Err(Wait::NotYet(format!("{now} of {enough}"))),
        })?)
    }
}

/// Creates a pod that no scheduler handles, and deletes it again.
fn create(control_plane: &ControlPlane, name: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "schedulerName": "none",
            "containers": [{ "name": "main", "image": "nginx:1.25" }],
        },
    });
    let stored = match control_plane.create(PODS, &pod) {
        Ok(stored) => stored,
        Err(error) => return Pod::Refused(error.to_string()),
    };
    let fate = match image(&stored) {
        NGINX => Pod::Swapped,
        "nginx:1.25" => {
            let kind = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
            let registration = format!("{kind}/{}-admission", Install::default().release);
            // A missing answer does not prove that the registration was gone. Helm replaces
            // it by an empty one before it deletes it.
            let registered = match control_plane.get(&registration) {
                Ok(None) => false,
                Ok(Some(object)) => object["webhooks"].as_array().is_some_and(|it| !it.is_empty()),
                Err(_) => true,
            };
            Pod::Unswapped { registered }
        }
        other => Pod::Wrong(other.to_owned()),
    };
    // A pod that stays is found by the check that nothing is left.
    let _ = control_plane.request("DELETE", &format!("{PODS}/{name}"), None);
    fate
}

/// Checks that every pod was stored with the company's image.
pub(crate) fn assert_all_swapped(pods: &[Pod]) {
    let others: Vec<_> = pods.iter().filter(|pod| **pod != Pod::Swapped).collect();
    assert!(others.is_empty(), "of {}: {others:?}", pods.len());
}

/// Checks that pods were swapped until the registration was gone, and stored as they are
/// from then on. None was refused.
pub(crate) fn assert_swapped_until_registration_is_gone(pods: &[Pod]) {
    let last = pods.iter().rposition(|pod| *pod == Pod::Swapped).unwrap();
    let (before, after) = pods.split_at(last + 1);
    assert_all_swapped(before);
    let gone = Pod::Unswapped { registered: false };
    assert!(!after.is_empty() && after.iter().all(|pod| *pod == gone), "{after:?}");
}
