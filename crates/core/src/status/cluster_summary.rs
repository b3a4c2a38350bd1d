//! Summary of a release, in an annotation of its heartbeat.
