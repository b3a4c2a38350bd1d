//! The server over real TLS sockets.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not the helpers beside them")]

mod admin;
mod attacks;
mod certificates;
mod drain;
mod hostile;
mod limits;
mod protocols;
mod reload;
mod support;
