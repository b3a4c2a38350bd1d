//! The phase of a server, which all of its tasks read.

use std::future::Future;

use tokio::sync::watch;

/// The phase of a server, from start to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The server accepts connections.
    Serving,
    /// The server accepts connections, and reports that it is not ready.
    Leaving,
    /// The server accepts no connections, and finishes its requests.
    Draining,
    /// The time limit is reached, and the remaining connections are cut.
    Over,
}

/// A view of the phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseView(watch::Receiver<Phase>);

impl PhaseView {
    /// Returns the sender and a view of a phase that begins with [`Phase::Serving`].
    pub(crate) fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// Returns true in [`Phase::Serving`].
    pub(crate) fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Waits until `phase` is reached. A dropped sender counts as every phase.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            let _ = receiver.wait_for(|now| *now >= phase).await;
        }
    }
}
