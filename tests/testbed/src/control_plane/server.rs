//! A server and its readiness check.

use super::DEADLINE;
use crate::{
    error::Error,
    http::Client,
    process::Process,
    wait::{Wait, until},
};

/// One server of a control plane, or of a part that runs on it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    /// The URL that answers 200 when it is ready.
    pub(crate) ready: String,
    pub(crate) client: Client,
}

impl Server {
    /// Starts the server if it does not run, and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        self.process.start()?;
        let Self { process, ready, client } = self;
        until(&format!("{} at {ready}", process.name()), DEADLINE, || {
            process.check()?;
            match client.request("GET", ready, None) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => {
                    Err(Wait::NotYet(format!("{} {}", answer.status, answer.body.trim())))
                }
                Err(error) => Err(Wait::NotYet(error.to_string())),
            }
        })
    }
}
