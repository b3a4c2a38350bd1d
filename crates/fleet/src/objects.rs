//! `WorkloadCluster` objects on the management cluster.
