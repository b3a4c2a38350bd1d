//! Accepted connections that wait for room.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

/// Connections that wait at the same time. Each takes a descriptor and some 300 bytes.
const MOST: usize = 4096;

/// Accepted connections that wait for room.
///
/// Connections leave the kernel's queue at once. When that queue is full, the kernel drops the
/// first packet of any client, which repeats it after a second or more. Addresses take turns.
/// When too many connections wait, the address with the most loses its first one.
#[derive(Debug)]
pub(crate) struct Lobby<C> {
    length: usize,
    most: usize,
    /// Addresses with connections, the next one first.
    order: VecDeque<IpAddr>,
    connections: HashMap<IpAddr, VecDeque<C>>,
}

impl<C> Default for Lobby<C> {
    fn default() -> Self {
        Self { length: 0, most: MOST, order: VecDeque::new(), connections: HashMap::new() }
    }
}

impl<C> Lobby<C> {
    /// Returns true if no connection waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a connection from `peer`.
    pub(crate) fn push(&mut self, peer: IpAddr, connection: C) {
        if self.length >= self.most {
            self.shed();
        }
        let queue = self.connections.entry(peer).or_default();
        if queue.is_empty() {
            self.order.push_back(peer);
        }
        queue.push_back(connection);
        self.length += 1;
    }

    /// Takes the next connection.
    pub(crate) fn pop(&mut self) -> Option<C> {
        let peer = self.order.pop_front()?;
        let queue = self.connections.get_mut(&peer)?;
        let connection = queue.pop_front()?;
        self.length -= 1;
        if queue.is_empty() {
            self.connections.remove(&peer);
        } else {
            self.order.push_back(peer);
        }
        Some(connection)
    }

    /// Closes the first connection of the address with the most. Returns false if there is
    /// none.
    pub(crate) fn shed(&mut self) -> bool {
        let most = self.connections.iter_mut().max_by_key(|(_, queue)| queue.len());
        let Some((&peer, queue)) = most else { return false };
        queue.pop_front();
        self.length -= 1;
        if queue.is_empty() {
            self.connections.remove(&peer);
            self.order.retain(|one| *one != peer);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MANY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const FEW: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn mk_lobby(most: usize) -> Lobby<u32> {
        Lobby { most, ..Lobby::default() }
    }

    fn all(lobby: &mut Lobby<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lobby.pop()).collect()
    }

    #[test]
    fn addresses_take_turns() {
        let mut lobby = mk_lobby(10);
        (1..=3).for_each(|number| lobby.push(MANY, number));
        lobby.push(FEW, 100);
        assert_eq!(all(&mut lobby), [1, 100, 2, 3]);
        assert!(lobby.is_empty());
    }

    #[test]
    fn the_address_with_the_most_loses_its_first() {
        let mut lobby = mk_lobby(3);
        lobby.push(FEW, 100);
        (1..=5).for_each(|number| lobby.push(MANY, number));
        assert_eq!(all(&mut lobby), [100, 4, 5]);
    }

    #[test]
    fn all_connections_can_be_shed() {
        let mut lobby = mk_lobby(3);
        lobby.push(FEW, 1);
        lobby.push(MANY, 2);
        assert!(lobby.shed() && lobby.shed() && !lobby.shed());
        lobby.push(FEW, 3);
        assert_eq!(all(&mut lobby), [3]);
    }
}
