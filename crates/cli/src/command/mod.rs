//! The verbs, one file each.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod controller;
pub(crate) mod convert;
pub(crate) mod deregister;
pub(crate) mod explain;
pub(crate) mod man;
pub(crate) mod node;
pub(crate) mod render;
pub(crate) mod rewrite;
pub(crate) mod status;
pub(crate) mod webhook;
