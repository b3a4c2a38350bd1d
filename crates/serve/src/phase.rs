//! The phase of a server's life, which every task of it can read.

use std::future::Future;

use tokio::sync::watch;

/// The phase of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The server accepts.
    Serving,
    /// The server still accepts, and reports that it is not ready.
    Leaving,
    /// The server accepts nothing new and finishes the requests it has.
    Draining,
    /// The time is over: connections that are left are cut.
    Over,
}

/// A view of the phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseView(watch::Receiver<Phase>);

impl PhaseView {
    /// Returns a phase that begins with [`Phase::Serving`].
    pub(crate) fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// True if the server accepts and is not about to leave.
    pub(crate) fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Waits until `phase` has come. Without a sender every phase has.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            let _ = receiver.wait_for(|now| *now >= phase).await;
        }
    }
}
