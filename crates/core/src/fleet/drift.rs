//! Changes by other writers: drift, which is repaired, and conflicts, which are reported.
