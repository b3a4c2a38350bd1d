//! containerd, as a node runs it, but without anything that runs containers.

use std::{path::PathBuf, time::Duration};

use image_swap_testbed::{Containerd, Error, Process, Wait, until};

use super::cri::{Cri, Refusal};
use crate::host::Host;

/// How long it may take until it answers.
const DEADLINE: Duration = Duration::from_mins(1);
/// Where it listens, as the host sees it.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A containerd on a host. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    cri: Cri,
    socket: PathBuf,
}

impl Daemon {
    /// Describes it; it does not run yet.
    pub fn new(host: &Host, containerd: &Containerd) -> Self {
        let log = host.dir().join("containerd.log");
        let bin = containerd.program.parent().map(|bin| bin.display().to_string());
        let process = Process::new("containerd", &containerd.program, log)
            .variable("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.unwrap_or_default()))
            .variable("SSL_CERT_FILE", host.roots())
            .inside(host.wrapper());
        let socket = host.root().join(SOCKET.trim_start_matches('/'));
        Self { process, cri: Cri::at(host.content_runtime(), &socket), socket }
    }

    /// Starts it, if it does not run, and waits until its CRI answers.
    ///
    /// # Errors
    /// It ended by itself, or its CRI plugin did not load.
    pub fn start(&mut self) -> Result<(), Error> {
        self.process.start()?;
        until("containerd's CRI", DEADLINE, || {
            self.process.check()?;
            match self.cri.version() {
                Ok(_) => Ok(()),
                // 12: Unimplemented. The daemon is up and the plugin is not.
                Err(Refusal { code: Some(12), message }) => Err(Wait::InVain(Error::unavailable(
                    format!("the CRI plugin of containerd, which says {message}"),
                    format!("see {}", self.process.log().display()),
                ))),
                Err(refusal) => Err(Wait::NotYet(refusal.to_string())),
            }
        })
    }

    /// Ends it and starts it again.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop()?;
        self.start()
    }

    /// Its process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its CRI.
    pub const fn cri(&self) -> &Cri {
        &self.cri
    }

    /// Its socket, as the machine sees it.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }
}
