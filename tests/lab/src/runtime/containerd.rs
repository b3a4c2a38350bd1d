//! containerd, as a node runs it, but without anything that runs containers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use image_swap_node::cri::{CriClient, Error as CriError};
use image_swap_testbed::{Containerd, Error, Process, Wait, until};

use crate::host::LabHost;

/// How long it may take until it answers, and a pull until it is done.
const DEADLINE: Duration = Duration::from_mins(1);
/// Where it listens, as the host sees it.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// What starts it again whenever it ends, as systemd would.
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

/// What ends it, and so has it started again.
const RESTART: &str = r#"
pid=$(cat "$1")
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
"#;

/// A containerd on a host. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Daemon {
    unit: Process,
    socket: PathBuf,
    restart: PathBuf,
    pid: PathBuf,
}

impl Daemon {
    /// Describes it; it does not run yet.
    ///
    /// # Errors
    /// What starts it cannot be written.
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

    /// Starts it, if it does not run, and waits until its CRI answers.
    ///
    /// # Errors
    /// Its CRI plugin did not load, or it does not come up at all.
    pub fn start(&mut self) -> Result<(), Error> {
        self.unit.start()?;
        until("containerd's CRI", DEADLINE, || {
            self.unit.check()?;
            match self.client().and_then(|mut client| client.version()) {
                Ok(_) => Ok(()),
                Err(error) if error.is_dead_plugin() => Err(Wait::InVain(Error::unavailable(
                    format!("the CRI plugin of containerd, which says {error}"),
                    format!("see {}", self.unit.log().display()),
                ))),
                Err(error) => Err(Wait::NotYet(error.to_string())),
            }
        })
    }

    /// Ends it and starts it again.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.start()
    }

    /// Ends it, and does not start it again.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.unit.stop()
    }

    /// The command that restarts it, for a shell on the host.
    pub fn restart_command(&self) -> String {
        format!("sh {} {}", self.restart.display(), self.pid.display())
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// What containerd says.
    pub fn pull(&self, image: &str) -> Result<String, CriError> {
        self.client()?.pull(image, DEADLINE).map(|pulled| pulled.id)
    }

    /// A client of its CRI.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn client(&self) -> Result<CriClient, CriError> {
        CriClient::connect(&self.socket)
    }

    /// What it said since it was first started.
    pub fn log(&self) -> &Path {
        self.unit.log()
    }
}
