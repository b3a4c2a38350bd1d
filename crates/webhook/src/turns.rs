//! Turns of clients at work that takes long, by address.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Turns for a few clients at the same time.
///
/// Addresses take turns, however many clients each has: a flood from one address delays
/// those of others by one turn.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Addresses with clients that wait, the next one first.
    order: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
}

impl Turns {
    /// Creates turns for `count` clients at the same time.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let state = State { free: count, order: VecDeque::new(), waiting: HashMap::new() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Waits for the turn of a client at `peer`.
    pub(crate) async fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Turn> {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Some(Arc::clone(self))));
            }
            let (sender, turn) = oneshot::channel();
            let queue = state.waiting.entry(peer).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                state.order.push_back(peer);
            }
            turn
        };
        turn.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client whose turn is next.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        while let Some(peer) = state.order.pop_front() {
            let Some(queue) = state.waiting.get_mut(&peer) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                state.waiting.remove(&peer);
            } else {
                state.order.push_back(peer);
            }
            if next.as_ref().is_some_and(|next| !next.is_closed()) {
                return next;
            }
        }
        state.free += 1;
        None
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
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn addresses_take_turns() {
        let turns = Turns::new(1);
        let [many, one] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(turns.take(many));
        let std::task::Poll::Ready(Some(turn)) = first.as_mut().poll(&mut cx) else { panic!() };
        let mut crowd = (0..50).map(|_| Box::pin(turns.take(many))).collect::<Vec<_>>();
        for client in &mut crowd {
            assert!(client.as_mut().poll(&mut cx).is_pending());
        }
        let mut other = pin!(turns.take(one));
        assert!(other.as_mut().poll(&mut cx).is_pending());
        // The first of the crowd is gone.
        drop(crowd.remove(0));
        drop(turn);
        let std::task::Poll::Ready(Some(turn)) = other.as_mut().poll(&mut cx) else { panic!() };
        drop(turn);
        assert!(crowd[0].as_mut().poll(&mut cx).is_ready());
        drop(crowd);
        assert!(pin!(turns.take(one)).poll(&mut cx).is_ready());
    }
}
