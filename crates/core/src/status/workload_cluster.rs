//! The custom resource `WorkloadCluster`: one object for each workload cluster.
