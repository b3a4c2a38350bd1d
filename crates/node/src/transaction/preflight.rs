//! Runs the new configuration in a sandbox: a containerd of its own.
//!
//! `containerd config dump` accepts configurations whose CRI plugin then does
//! not load (`mirrors cannot be set when config_path is provided`), so a
//! containerd is started with the new configuration. It has its own root, state and sockets,
//! and no container. The kernel kills it if image-swap ends first.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cri::{self, CriClient},
    files::{HostFile, HostPath},
    host::{
        Host,
        write::{Access, make_directory, replace, stage},
    },
    observe::HostObservation,
    transaction::{
        command::{PAUSE, tail},
        error::RestartError,
        sandbox_config::SandboxConfig,
    },
};

/// The time for a containerd without containers to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// Returns the directory of the sandbox.
fn dir() -> HostPath {
    Host::state().join("trial")
}

/// Removes the files that a killed run left.
pub(crate) fn clean(host: &Host) {
    if let Ok(dir) = host.at(&dir()) {
        // The next preflight reports files that stay.
        let _ = fs::remove_dir_all(dir);
    }
}

/// Checks that the CRI of a containerd starts with `file` as its configuration.
pub(super) fn preflight(
    host: &Host,
    seen: &HostObservation,
    file: &HostFile,
) -> Result<(), RestartError> {
    let program = seen.daemon.program.as_deref().ok_or(RestartError::NoProgram)?;
    let sandbox = Sandbox::make(host, program)?;
    let dump = sandbox.dump(&seen.observed.config, file)?;
    let config = sandbox.config.moved(&dump);
    let config = config.map_err(|error| RestartError::Unreadable(error.to_string()))?;
    replace(&sandbox.dir.join("config.toml"), config.as_bytes(), Access::own(0o600))
        .map_err(RestartError::io("write the configuration of the trial"))?;
    let mut process = sandbox.start()?;
    process.answers()
}

/// The files of a sandbox, which are removed with it.
struct Sandbox<'h> {
    host: &'h Host,
    program: &'h str,
    dir: PathBuf,
    config: SandboxConfig,
}

/// The containerd of a sandbox.
struct SandboxProcess<'s> {
    sandbox: &'s Sandbox<'s>,
    child: Child,
}

impl<'h> Sandbox<'h> {
    fn make(host: &'h Host, program: &'h str) -> Result<Self, RestartError> {
        let doing = || RestartError::io(format!("make {}", dir()));
        clean(host);
        let path = host.at(&dir()).map_err(doing())?;
        make_directory(&path, 0o700).map_err(doing())?;
        Ok(Self { host, program, dir: path, config: SandboxConfig::new(dir().as_str()) })
    }

    /// Returns the configuration with everything that it imports, as containerd has it. Imports
    /// are relative to the file, so the new file is written beside the old one.
    fn dump(&self, config: &HostPath, file: &HostFile) -> Result<String, RestartError> {
        let Self { host, program, .. } = self;
        let mut place = host.at(config).map_err(RestartError::io(format!("find {config}")))?;
        if place.parent().is_none_or(|parent| !parent.is_dir()) {
            place = self.dir.join(config.name());
        }
        let staged = stage(&place, &file.bytes, Access::own(0o600))
            .map_err(RestartError::io(format!("write a file beside {config}")))?;
        let output = host
            .command(program)
            .arg("--config")
            .arg(host.root().seen(staged.unfinished()))
            .args(["config", "dump"])
            .stdin(Stdio::null())
            .output()
            .map_err(RestartError::io(format!("run {program}")))?;
        if !output.status.success() {
            return Err(RestartError::Unreadable(tail(&String::from_utf8_lossy(&output.stderr))));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn start(&self) -> Result<SandboxProcess<'_>, RestartError> {
        let Self { host, program, dir, config } = self;
        let log = File::create(dir.join("log")).map_err(RestartError::io("write a log"))?;
        let child = host
            .killed_with_parent(program)
            // Flags override every file.
            .args(["--config", &config.path("config.toml")])
            .args(["--root", &config.path("root"), "--state", &config.path("state")])
            .args(["--address", &config.path("c.sock"), "--log-level", "info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(RestartError::io(format!("run {program}")))?;
        Ok(SandboxProcess { sandbox: self, child })
    }
}

impl SandboxProcess<'_> {
    /// Waits for the CRI of the sandbox.
    fn answers(&mut self) -> Result<(), RestartError> {
        let start = Instant::now();
        loop {
            let found = match self.probe() {
                Ok(()) => return Ok(()),
                // Plugins are loaded before anything is served.
                Err(error) if error.is_dead_plugin() => return Err(self.refused(&error)),
                Err(error) => error,
            };
            let ended = self.child.try_wait().map_err(RestartError::io("check the trial"))?;
            if ended.is_some() || start.elapsed() >= DEADLINE {
                return Err(self.refused(&found));
            }
            thread::sleep(PAUSE);
        }
    }

    fn probe(&self) -> Result<(), cri::Error> {
        let mut client = CriClient::connect(&self.sandbox.dir.join("c.sock"))?;
        client.version()?;
        client.images().map(drop)
    }

    /// Returns the refusal with containerd's own error messages, if its log has any. The log
    /// contains the configuration with credentials, so only lines with errors are read.
    fn refused(&self, error: &cri::Error) -> RestartError {
        let log = fs::read(self.sandbox.dir.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let complaints = log.lines().filter(|line| {
            line.contains("level=fatal")
                || line.starts_with("containerd: ")
                || (line.contains("failed to load plugin") && line.contains("cri"))
        });
        let log_errors = tail(&complaints.collect::<Vec<_>>().join("\n"));
        RestartError::Preflight(if log_errors.is_empty() { error.to_string() } else { log_errors })
    }
}

impl Drop for SandboxProcess<'_> {
    fn drop(&mut self) {
        // The trial containerd has no containers.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
