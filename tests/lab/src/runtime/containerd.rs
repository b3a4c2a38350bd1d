//! containerd on a host, without a runtime for containers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use image_swap_node::cri::{CriClient, Error as CriError};
use image_swap_testbed::{Containerd, Error, Process, Wait, until};

use crate::host::LabHost;

/// Time limit of a start and of a pull.
const DEADLINE: Duration = Duration::from_mins(1);
/// Path of the CRI socket on the host.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// Shell script that restarts containerd whenever it ends, like a systemd unit.
const UNIT: &str = r#"
child=
trap 'kill $child; wait $child; exit' TERM
pid=$1; shift
while :; do
    setpriv --pdeathsig KILL -- "$@" &
    child=$!
    echo $child > "$pid.new" && mv "$pid.new" "$pid"
    wait $child
    sleep 0.1
done
"#;

/// Shell script that ends containerd, which [`UNIT`] then restarts.
const RESTART: &str = r#"
pid=$(cat "$1")
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
"#;

/// A containerd on a host, killed when the value drops.
#[derive(Debug)]
pub struct Daemon {
    unit: Process,
    socket: PathBuf,
    restart: PathBuf,
    pid: PathBuf,
}

impl Daemon {
    /// Returns a containerd that is not started yet.
    ///
    /// # Errors
    /// Returns an error if its scripts cannot be written.
    pub fn new(host: &LabHost, containerd: &Containerd) -> Result<Self, Error> {
        let dir = host.dir();
        let bin = containerd.program.parent().map(|bin| bin.display().to_string());
        let pid = dir.path().join("containerd.pid");
        let unit = Process::new("containerd", "sh", dir.path().join("containerd.log"))
            .arguments(["-c", UNIT, "unit"])
            .arguments([pid.as_os_str(), containerd.program.as_os_str()])
            .variable("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.unwrap_or_default()))
            .variable("SSL_CERT_FILE", host.roots())
            .inside(host.wrapper());
        let socket = host.root().join(SOCKET.trim_start_matches('/'));
        let restart = dir.write("restart.sh", RESTART)?;
        Ok(Self { unit, socket, restart, pid })
    }

    /// Starts containerd if it is not running, and waits until its CRI answers.
    ///
    /// # Errors
    /// Returns an error if the CRI plugin fails to load, or containerd does not start.
    pub fn start(&mut self) -> Result<(), Error> {
        self.unit.start()?;
        until("containerd's CRI", DEADLINE, || {
            self.unit.check()?;
            match self.client().and_then(|mut client| client.version()) {
                Ok(_) => Ok(()),
                Err(error) if error.is_dead_plugin() => Err(Wait::Failed(Error::unavailable(
                    format!("the CRI plugin of containerd, which reports {error}"),
                    format!("see {}", self.unit.log().display()),
                ))),
                Err(error) => Err(Wait::NotYet(error.to_string())),
            }
        })
    }

    /// Stops and starts containerd.
    ///
    /// # Errors
    /// Returns the errors of [`Self::stop`] and [`Self::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.start()
    }

    /// Stops containerd and the script that restarts it.
    ///
    /// # Errors
    /// Returns an error if a process does not end.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.unit.stop()
    }

    /// Returns a shell command that restarts containerd, run on the host.
    pub fn restart_command(&self) -> String {
        format!("sh {} {}", self.restart.display(), self.pid.display())
    }

    /// Pulls an image by CRI, and returns its ID.
    ///
    /// # Errors
    /// Returns the error of containerd.
    pub fn pull(&self, image: &str) -> Result<String, CriError> {
        self.client()?.pull(image, DEADLINE).map(|pulled| pulled.id)
    }

    /// Connects a client to the CRI of containerd.
    ///
    /// # Errors
    /// Returns an error if containerd does not listen.
    pub fn client(&self) -> Result<CriClient, CriError> {
        CriClient::connect(&self.socket)
    }

    /// Returns the file with the output of all runs.
    pub fn log(&self) -> &Path {
        self.unit.log()
    }
}
