//! Turns of clients at costly work, fair to addresses.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::fair_queue::FairQueue;

/// Turns for a fixed number of clients at a time.
///
/// Addresses take turns, independent of the number of their clients: a flood from one address
/// delays the clients of others by one turn. Clients of one address are taken from both ends of its
/// queue in turn. In a flood, the first clients of a queue are evicted at about the time of their
/// turn. With only the last ones taken, clients that connect repeatedly would block the first.
#[derive(Debug)]
pub(crate) struct HandshakeTurns(Mutex<TurnOrder>);

/// The state of turns.
#[derive(Debug)]
struct TurnOrder {
    /// Number of turns that no client has.
    free: usize,
    waiting: FairQueue<oneshot::Sender<HandshakeTurn>>,
}

impl HandshakeTurns {
    /// Returns turns for `count` clients at a time.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let order = TurnOrder { free: count, waiting: FairQueue::from_both_ends() };
        Arc::new(Self(Mutex::new(order)))
    }

    /// Waits for the turn of a client at `peer`. Returns `None` if its entry was dropped.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr) -> Option<HandshakeTurn> {
        let (_waiting, turn) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(HandshakeTurn(Some(Arc::clone(self))));
            }
            let (sender, turn) = oneshot::channel();
            let number = state.waiting.push(peer, sender);
            (QueueEntry { turns: self, peer, number }, turn)
        };
        turn.await.ok()
    }

    /// Locks the queue.
    fn state(&self) -> MutexGuard<'_, TurnOrder> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next client from the queue; `None` if it is empty.
    fn next(&self) -> Option<oneshot::Sender<HandshakeTurn>> {
        let mut state = self.state();
        let next = state.waiting.pop();
        if next.is_none() {
            state.free += 1;
        }
        next
    }
}

/// The entry of a client in its queue, removed when the value drops. The entry of a closed
/// connection would keep the memory of its task.
struct QueueEntry<'t> {
    turns: &'t HandshakeTurns,
    peer: IpAddr,
    number: u64,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        let client = self.turns.state().waiting.remove(self.peer, self.number);
        drop(client);
    }
}

/// A turn, which ends when the value drops.
#[derive(Debug)]
pub(crate) struct HandshakeTurn(Option<Arc<HandshakeTurns>>);

impl Drop for HandshakeTurn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        while let Some(next) = turns.next() {
            match next.send(Self(Some(Arc::clone(&turns)))) {
                Ok(()) => return,
                // The client has disconnected, so the next one gets the turn.
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
        let turns = HandshakeTurns::new(1);
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
        // The first client of the crowd disconnects.
        drop(crowd.remove(0));
        drop(turn);
        // Next are the crowd's first client, the other address, and the crowd's last client.
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
        // Disconnected clients have no entries.
        drop(crowd);
        let state = turns.state();
        assert_eq!((state.free, state.waiting.is_empty()), (1, true));
    }
}
