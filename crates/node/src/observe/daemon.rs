//! The process of the runtime: its socket, version and command line.

use std::{fs, path::PathBuf, process::Stdio};

use image_swap_text::toml::Toml;

use crate::{
    cri::{self, CriClient, RuntimeVersion},
    files::HostPath,
    host::Host,
    owner,
    runtime::kind::{ContainerRuntime, Version},
};

/// The process of the runtime, and its response.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The path of the runtime's socket.
    pub socket: HostPath,
    /// The answer at the socket.
    pub answer: CriStatus,
    /// The version that the process reports, or else its program; `None` if neither does.
    pub version: Option<Version>,
    /// The process; `None` if it does not run or cannot be seen.
    pub pid: Option<u32>,
    /// The path of the program on the host; `None` if it is not found.
    pub program: Option<String>,
    /// The command line of the process; empty if it cannot be read.
    pub(super) arguments: Vec<String>,
    /// The `config_path` in force; `None` if the runtime does not report it.
    pub(super) config_path: Option<String>,
    /// The path of the socket from image-swap.
    reach: PathBuf,
    cri: bool,
}

/// The socket and process of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeEndpoint {
    /// The path of the runtime's socket.
    pub(crate) socket: PathBuf,
    /// True if the socket serves CRI.
    pub(crate) cri: bool,
    /// The process that listens there before the restart; `None` if it cannot be seen.
    pub(crate) pid: Option<u32>,
}

/// The answer of a runtime to a CRI request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CriStatus {
    /// CRI responds; contains name and version of the runtime.
    Alive(String),
    /// The runtime runs without CRI; contains its message.
    NoCri(String),
    /// The runtime does not respond; contains the reason.
    Silent(String),
    /// No request: this runtime has no CRI, or only files of the host are mounted.
    NotQueried,
}

/// The directories of programs on a host.
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

impl Daemon {
    /// Returns the process of `runtime` on `host`.
    pub(super) fn find(host: &Host, runtime: ContainerRuntime) -> Self {
        let (socket, cri) = socket(host, runtime);
        let reach = host.at(&socket).unwrap_or_else(|_| PathBuf::from(socket.as_str()));
        let pid = pid_of_docker(host).filter(|_| runtime == ContainerRuntime::Docker);
        let mut daemon = Self {
            socket,
            answer: CriStatus::NotQueried,
            version: None,
            pid,
            program: None,
            arguments: Vec::new(),
            config_path: None,
            reach,
            cri,
        };
        if cri {
            daemon.answer = daemon.probe(runtime);
        }
        daemon.arguments = daemon.pid.map(words).unwrap_or_default();
        daemon.program = program(host, runtime, daemon.pid);
        daemon.version =
            daemon.version.or_else(|| printed_version(host, daemon.program.as_deref()?));
        daemon
    }

    /// Returns the process of a runtime of which only files are mounted: it has this `version`, and
    /// nothing else is known. No socket is connected, and no program is run.
    pub(super) fn unseen(runtime: ContainerRuntime, version: Option<Version>) -> Self {
        Self {
            socket: default_socket(runtime),
            answer: CriStatus::NotQueried,
            version,
            pid: None,
            program: None,
            arguments: Vec::new(),
            config_path: None,
            // No socket has this path.
            reach: PathBuf::new(),
            cri: false,
        }
    }

    /// Reads process, version and configuration of the runtime from its CRI. Returns its answer.
    fn probe(&mut self, runtime: ContainerRuntime) -> CriStatus {
        let mut client = match self.client() {
            Ok(client) => client,
            Err(error) => return CriStatus::Silent(error.to_string()),
        };
        self.pid = client.peer();
        match client.version() {
            Ok(RuntimeVersion { name, version }) => {
                self.version = Version::parse(&version);
                if runtime == ContainerRuntime::Containerd {
                    let json = client.configuration().ok().flatten();
                    self.config_path = json.and_then(|json| config_path(&json));
                }
                CriStatus::Alive(format!("{name} {version}"))
            }
            Err(error) if error.is_dead_plugin() => CriStatus::NoCri(error.to_string()),
            Err(error) => CriStatus::Silent(error.to_string()),
        }
    }

    /// Returns true if a process of it can be seen, or answers.
    pub(super) fn runs(&self) -> bool {
        self.pid.is_some() || matches!(self.answer, CriStatus::Alive(_) | CriStatus::NoCri(_))
    }

    /// Returns the endpoint to check after a restart.
    pub(crate) fn place(&self) -> RuntimeEndpoint {
        RuntimeEndpoint { socket: self.reach.clone(), cri: self.cri, pid: self.pid }
    }

    /// Returns a client of its CRI.
    ///
    /// # Errors
    /// If no process listens.
    pub fn client(&self) -> Result<CriClient, cri::Error> {
        CriClient::connect(&self.reach)
    }
}

/// Returns the socket of `runtime`, and true if it serves CRI.
fn socket(host: &Host, runtime: ContainerRuntime) -> (HostPath, bool) {
    let path = match runtime {
        ContainerRuntime::Containerd => containerd_socket(host),
        other => default_socket(other),
    };
    (path, !matches!(runtime, ContainerRuntime::Docker | ContainerRuntime::Podman))
}

/// Returns the socket of `runtime` unless it is configured otherwise.
fn default_socket(runtime: ContainerRuntime) -> HostPath {
    HostPath::new(match runtime {
        ContainerRuntime::Containerd => "/run/containerd/containerd.sock",
        ContainerRuntime::Crio => "/run/crio/crio.sock",
        ContainerRuntime::K3s | ContainerRuntime::Rke2 => "/run/k3s/containerd/containerd.sock",
        ContainerRuntime::Docker => "/run/docker.sock",
        ContainerRuntime::Podman => "/run/podman/podman.sock",
    })
}

/// Returns the socket that config.toml sets, else containerd's default; of k0s and `MicroK8s`
/// the one that they set by an option.
fn containerd_socket(host: &Host) -> HostPath {
    let there = |path: &str| host.at(&path.into()).is_ok_and(|path| path.exists());
    for (sign, socket) in [
        (owner::K0S, "/run/k0s/containerd.sock"),
        (owner::MICROK8S, "/var/snap/microk8s/common/run/containerd.sock"),
    ] {
        if there(sign) && (there(socket) || !there("/run/containerd/containerd.sock")) {
            return socket.into();
        }
    }
    let configured = || {
        let path = host.at(&ContainerRuntime::Containerd.config()).ok()?;
        address(&fs::read_to_string(path).ok()?)
    };
    configured().map_or_else(
        || default_socket(ContainerRuntime::Containerd),
        |socket| HostPath::new(&socket),
    )
}

/// Returns the address of the gRPC server in `config`. The plugin's address, as in version 4,
/// overrides `[grpc]`.
fn address(config: &str) -> Option<String> {
    let toml = Toml::parse(config).ok()?;
    let plugin = toml.str(&["plugins", "io.containerd.server.v1.grpc", "address"]);
    let addresses = [plugin, toml.str(&["grpc", "address"])].into_iter().flatten();
    addresses.map(str::to_owned).find(|address| !address.is_empty())
}

/// Returns `registry.configPath` of the status that containerd 1 reports. The rest of it may
/// contain credentials.
fn config_path(json: &str) -> Option<String> {
    let status: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(status.pointer("/registry/configPath")?.as_str()?.to_owned())
}

/// Returns a command line (`/proc/PID/cmdline`).
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Returns the process of dockerd: its socket does not show it.
fn pid_of_docker(host: &Host) -> Option<u32> {
    if !host.root().is_whole() {
        return None;
    }
    let pid = fs::read_to_string("/run/docker.pid").ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "dockerd").then_some(pid)
}

/// Returns the program that runs, or else the one that the host would find.
fn program(host: &Host, runtime: ContainerRuntime, pid: Option<u32>) -> Option<String> {
    let name = match runtime {
        ContainerRuntime::Docker => "dockerd",
        ContainerRuntime::Crio => "crio",
        other => other.name(),
    };
    // The path of a process in other namespaces may mean nothing here.
    let runs = pid.and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    let runs = runs.filter(|path| path.file_name().is_some_and(|found| found == name));
    let runs = runs.map(|path| host.root().seen(&path));
    let own = std::env::var_os("PATH").filter(|_| host.root().is_whole()).unwrap_or_default();
    let dirs = std::env::split_paths(&own).chain(PATH.map(PathBuf::from));
    runs.into_iter()
        .chain(dirs.map(|dir| dir.join(name)))
        .filter(|path| path.is_absolute())
        .map(|path| path.to_string_lossy().into_owned())
        .find(|path| host.at(&HostPath::new(path)).is_ok_and(|path| path.is_file()))
}

/// Returns the version in the output of `PROGRAM --version`.
fn printed_version(host: &Host, program: &str) -> Option<Version> {
    let output = host.command(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    Version::parse(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_of_either_configuration_version_is_found() {
        let legacy = "version = 2\n[grpc]\naddress = \"/run/old.sock\"\n";
        let plugin = "version = 4\n[plugins.'io.containerd.server.v1.grpc']\n  \
                      address = '/run/new.sock'\n[plugins.'io.containerd.server.v1.grpc-tcp']\n  \
                      address = '127.0.0.1:1'\n";
        for (config, expected) in [
            (legacy, Some("/run/old.sock")),
            (plugin, Some("/run/new.sock")),
            ("version = 4\n[plugins.'io.containerd.server.v1.grpc']\naddress = ''\n", None),
            ("version = 2\n", None),
            ("version", None),
        ] {
            assert_eq!(address(config).as_deref(), expected, "{config}");
        }
    }
}
