//! Counts of requests, and records of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// Counts of one cluster.
#[derive(Debug, Default)]
pub(super) struct RequestCounters {
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) watches: AtomicU64,
    pub(super) open_watches: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) open_connections: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// Requests to simulated clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// GET requests that are no watches.
    pub reads: u64,
    /// POST, PUT, PATCH and DELETE requests.
    pub writes: u64,
    /// Watches that were opened.
    pub watches: u64,
    /// Watches that are open.
    pub open_watches: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that are open.
    pub open_connections: u64,
    /// Bytes in bodies of requests.
    pub received: u64,
    /// Bytes in bodies of responses, events of watches included.
    pub sent: u64,
}

impl RequestCounters {
    pub(super) fn read(&self) -> RequestCounts {
        RequestCounts {
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
            watches: self.watches.load(Relaxed),
            open_watches: self.open_watches.load(Relaxed),
            connections: self.connections.load(Relaxed),
            open_connections: self.open_connections.load(Relaxed),
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
        }
    }
}

impl RequestCounts {
    /// Returns the sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            writes: self.writes + other.writes,
            watches: self.watches + other.watches,
            open_watches: self.open_watches + other.open_watches,
            connections: self.connections + other.connections,
            open_connections: self.open_connections + other.open_connections,
            received: self.received + other.received,
            sent: self.sent + other.sent,
        }
    }
}

/// Request that a cluster received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Header `accept`.
    pub accept: String,
    /// Header `content-type`; empty without a body.
    pub content_type: String,
    /// Body; empty without one.
    pub body: String,
}
