//! The heartbeat of a workload cluster: a Lease whose annotation summarises its status.
