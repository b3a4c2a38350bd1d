//! Requests to workload clusters.
