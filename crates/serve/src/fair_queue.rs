//! A queue that is fair to addresses.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
};

/// A queue in which addresses take turns, however many entries each has.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    /// Number of entries beyond which the address with the most loses its first one.
    most: usize,
    /// True if an address has its turns from both ends: its first entry, then its last one.
    has_both_ends: bool,
    length: usize,
    /// Number of all entries so far.
    arrived: u64,
    /// Addresses with entries. The next one is first.
    order: VecDeque<IpAddr>,
    queues: HashMap<IpAddr, AddressQueue<T>>,
}

/// The entries of one address, in the order of arrival.
#[derive(Debug)]
struct AddressQueue<T> {
    entries: BTreeMap<u64, T>,
    is_last_next: bool,
}

impl<T> FairQueue<T> {
    /// Returns a queue of at most `most` entries, which takes the entries of an address in the
    /// order of arrival.
    pub(crate) fn first_in_first_out(most: usize) -> Self {
        let (order, queues) = (VecDeque::new(), HashMap::new());
        Self { most, has_both_ends: false, length: 0, arrived: 0, order, queues }
    }

    /// Returns an unlimited queue, which takes the entries of an address from both ends in turn.
    pub(crate) fn from_both_ends() -> Self {
        Self { has_both_ends: true, ..Self::first_in_first_out(usize::MAX) }
    }

    /// Returns true if there is no entry.
    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds an entry of `peer`, and returns the number of the entry.
    pub(crate) fn push(&mut self, peer: IpAddr, entry: T) -> u64 {
        if self.length >= self.most {
            self.drop_first_of_longest();
        }
        let number = self.arrived;
        self.arrived += 1;
        self.length += 1;
        let queue = self.queues.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            AddressQueue { entries: BTreeMap::new(), is_last_next: false }
        });
        queue.entries.insert(number, entry);
        number
    }

    /// Takes the next entry of the next address; `None` if the queue is empty.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let peer = self.order.pop_front()?;
        let queue = self.queues.get_mut(&peer)?;
        let is_last = queue.is_last_next;
        queue.is_last_next = self.has_both_ends && !is_last;
        let next = if is_last { queue.entries.pop_last() } else { queue.entries.pop_first() };
        self.length -= usize::from(next.is_some());
        if queue.entries.is_empty() {
            self.queues.remove(&peer);
        } else {
            self.order.push_back(peer);
        }
        next.map(|(_, entry)| entry)
    }

    /// Takes the entry of `peer` with this number; `None` if it has been taken.
    pub(crate) fn remove(&mut self, peer: IpAddr, number: u64) -> Option<T> {
        let queue = self.queues.get_mut(&peer)?;
        let entry = queue.entries.remove(&number)?;
        self.length -= 1;
        if queue.entries.is_empty() {
            self.queues.remove(&peer);
            self.order.retain(|one| *one != peer);
        }
        Some(entry)
    }

    /// Drops the first entry of the address with the most entries. Returns false if there is none.
    pub(crate) fn drop_first_of_longest(&mut self) -> bool {
        let longest = self.queues.iter().max_by_key(|(_, queue)| queue.entries.len());
        let first = longest.and_then(|(peer, queue)| {
            let (number, _) = queue.entries.first_key_value()?;
            Some((*peer, *number))
        });
        first.is_some_and(|(peer, number)| self.remove(peer, number).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MANY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const FEW: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn all(queue: &mut FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn addresses_take_turns() {
        let mut queue = FairQueue::first_in_first_out(10);
        for number in 1..=3 {
            queue.push(MANY, number);
        }
        queue.push(FEW, 100);
        assert_eq!(all(&mut queue), [1, 100, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn address_with_most_connections_loses_its_first() {
        let mut queue = FairQueue::first_in_first_out(3);
        queue.push(FEW, 100);
        for number in 1..=5 {
            queue.push(MANY, number);
        }
        assert_eq!(all(&mut queue), [100, 4, 5]);
    }

    #[test]
    fn all_entries_can_be_dropped() {
        let mut queue = FairQueue::first_in_first_out(3);
        queue.push(FEW, 1);
        queue.push(MANY, 2);
        assert!(queue.drop_first_of_longest() && queue.drop_first_of_longest());
        assert!(!queue.drop_first_of_longest());
        queue.push(FEW, 3);
        assert_eq!(all(&mut queue), [3]);
    }

    #[test]
    fn turns_alternate_between_both_ends() {
        let mut queue = FairQueue::from_both_ends();
        for number in 1..=5 {
            queue.push(MANY, number);
        }
        assert_eq!(all(&mut queue), [1, 5, 2, 4, 3]);
    }
}
