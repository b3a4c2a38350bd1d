//! Sources of the inventory: objects of the management cluster.
