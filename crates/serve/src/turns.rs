//! Turns of clients at work that takes long, by address.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::fair_queue::FairQueue;

/// Turns for a few clients at the same time.
///
/// Addresses take turns, however many clients each has: a flood from one address delays
/// those of others by one turn. Clients of one address have their turn from both ends of its
/// queue: the first one, then the last one. In a flood the first ones would be at their turn
/// when they have to make room for others, and clients that come again and again would keep
/// the first ones waiting.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<TurnOrder>);

#[derive(Debug)]
struct TurnOrder {
    free: usize,
    waiting: FairQueue<oneshot::Sender<Turn>>,
}

impl Turns {
    /// Creates turns for `count` clients at the same time.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let order = TurnOrder { free: count, waiting: FairQueue::from_both_ends() };
        Arc::new(Self(Mutex::new(order)))
    }

    /// Waits for the turn of a client at `peer`.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Turn> {
        let (_waiting, turn) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Some(Arc::clone(self))));
            }
            let (sender, turn) = oneshot::channel();
            let number = state.waiting.push(peer, sender);
            (QueueEntry { turns: self, peer, number }, turn)
        };
        turn.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, TurnOrder> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client whose turn is next.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        let next = state.waiting.pop();
        if next.is_none() {
            state.free += 1;
        }
        next
    }
}

/// The place of a client in its queue, until this drops. A client that is gone must not
/// stay there: its entry keeps the memory of its task.
struct QueueEntry<'t> {
    turns: &'t Turns,
    peer: IpAddr,
    number: u64,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        let client = self.turns.state().waiting.remove(self.peer, self.number);
        drop(client);
    }
}

/// A turn, which ends when this drops.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        while let Some(next) = turns.next() {
            match next.send(Self(Some(Arc::clone(&turns)))) {
                Ok(()) => return,
                // The client is gone: the turn goes to the next one.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        net::Ipv4Addr,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    #[test]
    fn addresses_take_turns() {
        let turns = Turns::new(1);
        let [many, one] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(turns.take(many));
        let Poll::Ready(Some(turn)) = first.as_mut().poll(&mut cx) else { panic!() };
        let mut crowd = (0..50).map(|_| Box::pin(turns.take(many))).collect::<Vec<_>>();
        for client in &mut crowd {
            assert!(client.as_mut().poll(&mut cx).is_pending());
        }
        crowd.insert(20, Box::pin(turns.take(one)));
        assert!(crowd[20].as_mut().poll(&mut cx).is_pending());
        // The first of the crowd is gone.
        drop(crowd.remove(0));
        drop(turn);
        // The next of the crowd, the other, the last of the crowd.
        for index in [0, 18, 47] {
            let mut ready = Vec::new();
            for (index, client) in crowd.iter_mut().enumerate() {
                if let Poll::Ready(turn) = client.as_mut().poll(&mut cx) {
                    ready.push((index, turn));
                }
            }
            assert_eq!(ready.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [index]);
            drop(crowd.remove(index));
        }
        // Clients that are gone leave nothing behind.
        drop(crowd);
        let state = turns.state();
        assert_eq!((state.free, state.waiting.is_empty()), (1, true));
    }
}
