//! Tests of the webhook over real TLS sockets.

#![allow(clippy::unwrap_used, reason = "clippy exempts test functions, but not their helpers")]

mod admin;
mod attacks;
mod certificates;
mod drain;
mod hostile;
mod limits;
mod protocols;
mod reload;
mod support;
