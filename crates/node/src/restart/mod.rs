//! A restart that an agent orders, and that a process outside of every pod applies.
//!
//! The agent of a node restarts nothing. It writes an order ([`directory`]). A privileged pod
//! installs this program on the host, and starts it there outside of the pod ([`launch`],
//! [`detach`], [`cgroup`]): the end of the pod, or of the runtime that runs it, must not end the
//! restart. That host process applies the order by a transaction, as `node apply` does ([`apply`]).
//! The pod only waits for the result ([`pod`]).
//!
//! The lock of the directory keeps host processes apart. The pod that starts one has it until the
//! start, and the host process until its end.

pub(crate) mod apply;
mod cgroup;
pub(crate) mod detach;
pub(crate) mod directory;
mod launch;
pub(crate) mod pod;
