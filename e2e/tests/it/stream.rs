//! Ordinary pods, created one after the other while something else happens.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
use image_swap_testbed::{ControlPlane, Wait, until};
use serde_json::json;

use crate::{NGINX, image};

/// Where they are created; it has to be there.
pub(crate) const NAMESPACE: &str = "stream";
const PODS: &str = "/api/v1/namespaces/stream/pods";
/// What has to come between: some before, some after what happens.
const FEW: usize = 5;

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pod {
    Swapped,
    /// Stored with its own image; whether we were registered a moment later.
    Unswapped {
        registered: bool,
    },
    /// With any other image.
    Wrong(String),
    Refused(String),
}

/// All of them, in their order.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pods: Mutex<Vec<Pod>>,
    stop: AtomicBool,
}

/// Ends the stream when what happens ends, in whatever way.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Stream {
    /// Creates pods while `work` runs, and some before and after it; what became
    /// of each.
    pub(crate) fn during(stage: &Stage, work: impl FnOnce() -> Result<()>) -> Result<Vec<Pod>> {
        let stream = Self::default();
        let control_plane = &stage.control_plane;
        thread::scope(|scope| {
            scope.spawn(|| stream.flow(control_plane));
            let _ends = Ends(&stream.stop);
            stream.more()?;
            work()?;
            stream.more()
        })?;
        let pods = stream.pods.into_inner().unwrap();
        stage.step(&format!("  {} pods were created meanwhile", pods.len()));
        Ok(pods)
    }

    fn flow(&self, control_plane: &ControlPlane) {
        for number in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            let became = created(control_plane, &format!("pod-{number}"));
            self.pods.lock().unwrap().push(became);
        }
    }

    /// Waits until a few more were created, begun after this was called.
    fn more(&self) -> Result<()> {
        let enough = self.pods.lock().unwrap().len() + FEW;
        Ok(until("more pods", DEADLINE, || match self.pods.lock().unwrap().len() {
            now if now >= enough => Ok(()),
            now => Err(Wait::NotYet(format!("{now} of {enough}"))),
        })?)
    }
}

/// Creates one, which no scheduler looks at, and deletes it again.
fn created(control_plane: &ControlPlane, name: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{ "name": "main", "image": "nginx:1.25" }],
        },
    });
    let stored = match control_plane.create(PODS, &pod) {
        Ok(stored) => stored,
        Err(error) => return Pod::Refused(error.to_string()),
    };
    let became = match image(&stored) {
        NGINX => Pod::Swapped,
        "nginx:1.25" => {
            let kind = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
            let ours = format!("{kind}/{}-admission", Install::default().release);
            // No answer is no proof that it was gone.
            let registered = !matches!(control_plane.get(&ours), Ok(None));
            Pod::Unswapped { registered }
        }
        other => Pod::Wrong(other.to_owned()),
    };
    // One that stays is seen where everything has to be gone.
    let _ = control_plane.request("DELETE", &format!("{PODS}/{name}"), None);
    became
}

/// None was refused, none was stored with another image.
pub(crate) fn assert_all_swapped(pods: &[Pod]) {
    let others: Vec<_> = pods.iter().filter(|pod| **pod != Pod::Swapped).collect();
    assert!(others.is_empty(), "of {}: {others:?}", pods.len());
}

/// All were swapped until our registration was gone, and none from then on; none
/// was refused.
pub(crate) fn assert_swapped_until_we_had_left(pods: &[Pod]) {
    let last = pods.iter().rposition(|pod| *pod == Pod::Swapped).unwrap();
    let (before, after) = pods.split_at(last + 1);
    assert_all_swapped(before);
    let left = Pod::Unswapped { registered: false };
    assert!(!after.is_empty() && after.iter().all(|pod| *pod == left), "{after:?}");
}
