//! Where in its life the server is, told to every task of it.

use std::future::Future;

use tokio::sync::watch;

/// Where in its life the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It accepts.
    Serving,
    /// It still accepts, and says that it is not ready.
    Leaving,
    /// It accepts nothing new and finishes what it has.
    Draining,
    /// Its time is over: whatever is left is cut.
    Over,
}

/// A view of the phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseView(watch::Receiver<Phase>);

impl PhaseView {
    /// A phase that begins with [`Phase::Serving`].
    pub(crate) fn begin() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// Whether it will go on to accept.
    pub(crate) fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }

    /// Waits until `phase` has come. A sender that is gone can tell nothing any
    /// more: everything is over then.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            let _ = receiver.wait_for(|now| *now >= phase).await;
        }
    }
}
