//! Parts of the commands that take part in a leader election.

use std::{
    env,
    net::SocketAddr,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use image_swap_serve::AdminPort;

use crate::failure::{Failure, reason};

/// Returns a name that no other process has, from the pod's name and the start time. Outside of a
/// pod it begins with `program`.
pub(super) fn identity(program: &str) -> String {
    let host = env::var("HOSTNAME").unwrap_or_else(|_| program.to_owned());
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{host}-{}-{began:x}", process::id())
}

/// Listens on the address of `--admin-listen`.
pub(super) fn admin_port(address: SocketAddr) -> Result<AdminPort, Failure> {
    AdminPort::bind(address).map_err(|error| {
        let reason = reason(&error);
        Failure::Broken(format!("--admin-listen: cannot listen on {address}: {reason}"))
    })
}
