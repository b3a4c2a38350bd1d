//! Waves: the order in which workload clusters receive a declaration.
