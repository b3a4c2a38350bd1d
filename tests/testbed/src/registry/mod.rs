//! A registry for images: the distribution project's own.

mod access_log;
mod push;

use std::{
    fmt, fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::oci::media;
use serde_json::json;

pub use self::access_log::Logged;
use crate::{
    error::Error,
    http::{Answer, Client},
    janitor::RunDir,
    parts::Parts,
    pki::Identity,
    port::Port,
    port::random,
    private_file,
    process::Process,
    wait::{Wait, until},
};

/// The longest time until the registry answers.
const DEADLINE: Duration = Duration::from_mins(1);

/// The options of a registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// The major version of the program.
    pub version: RegistryVersion,
    /// The URL of the registry whose images this one pulls through and keeps; `None`
    /// for a registry that takes pushes.
    pub upstream: Option<String>,
    /// The certificate of the registry; `None` for plain HTTP.
    pub tls: Option<Identity>,
    /// The certificate of the authority that signed [`tls`](Self::tls), PEM.
    pub authority: Option<String>,
    /// The name in image references, which clients must resolve; `None` for the listening address.
    pub host: Option<String>,
    /// The only accepted credentials; `None` admits every client.
    pub credentials: Option<Credentials>,
}

/// A major version of the distribution project's registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistryVersion {
    /// Version 2.8, as Debian 12 has it.
    V2,
    /// Version 3.
    #[default]
    V3,
}

/// A user of a registry.
#[derive(Clone)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// A running registry. It listens on only one loopback address.
#[derive(Debug)]
pub struct Registry {
    // Dropped in this order: the process before the parts that it uses.
    process: Process,
    client: Client,
    authority: Option<String>,
    host: String,
    scheme: &'static str,
    listens: SocketAddr,
    _port: Option<Port>,
    dir: RunDir,
}

/// The file with the users, below the registry's directory.
const USERS: &str = "users";
/// The file with a line for every request.
const ACCESS: &str = "access.log";

impl Registry {
    /// Starts it on a random port of 127.0.0.1, and returns when it answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a part is missing; the output of the registry if it does not
    /// start.
    pub fn start(parts: &Parts, options: &RegistryOptions) -> Result<Self, Error> {
        let port = Port::reserve()?;
        let listens = (Ipv4Addr::LOCALHOST, port.number()).into();
        Ok(Self { _port: Some(port), ..Self::start_at(parts, options, listens)? })
    }

    /// Starts it at `listens`, and returns when it answers. A loopback address of the test's own
    /// permits port 443, which names without a port mean.
    ///
    /// # Errors
    /// The program is missing, or the registry does not answer.
    pub fn start_at(
        parts: &Parts,
        options: &RegistryOptions,
        listens: SocketAddr,
    ) -> Result<Self, Error> {
        let programs = parts.registry()?;
        let program = match options.version {
            RegistryVersion::V2 => &programs.registry2,
            RegistryVersion::V3 => &programs.registry,
        };
        let dir = RunDir::new("registry")?;
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info", "accesslog": { "disabled": false } },
            "storage": {
                "filesystem": { "rootdirectory": dir.make("storage")? },
                "delete": { "enabled": true },
            },
            "http": {
                "addr": listens.to_string(),
                "secret": format!("{:016x}", random()),
            },
        });
        if let Some(upstream) = &options.upstream {
            config["proxy"] = json!({ "remoteurl": upstream });
        }
        if let Some(identity) = &options.tls {
            let (certificate, key) = identity.write(&dir, "registry")?;
            config["http"]["tls"] = json!({ "certificate": certificate, "key": key });
        }
        if options.credentials.is_some() {
            let users = dir.path().join(USERS);
            config["auth"] = json!({ "htpasswd": { "realm": "testbed", "path": users } });
        }
        let host = options.host.clone().unwrap_or_else(|| listens.ip().to_string());
        let config = dir.write("config.yml", config.to_string())?;
        let authority = options.authority.clone();
        let authority_file = match &authority {
            Some(pem) => Some(dir.write("authority.crt", pem)?),
            None => None,
        };
        let mut registry = Self {
            process: Process::new("registry", program, dir.path().join("registry.log"))
                .arguments(["serve".into(), config.into_os_string()])
                // Version 3 sends traces to a collector on this machine otherwise.
                .variable("OTEL_TRACES_EXPORTER", "none")
                .output(dir.path().join(ACCESS)),
            authority,
            client: Client {
                authority: authority_file,
                local: Some(format!("{host}:{}:{}", listens.port(), listens.ip())),
                // Without these types the registry returns no index.
                headers: vec![("Accept", format!("{}, {}, */*", media::INDEX, media::MANIFEST))],
                ..Client::default()
            },
            host,
            scheme: if options.tls.is_some() { "https" } else { "http" },
            listens,
            _port: None,
            dir,
        };
        if let Some(credentials) = &options.credentials {
            registry.set_credentials(credentials)?;
        }
        registry.wait_ready()?;
        Ok(registry)
    }

    /// Starts it if it was stopped, and waits until it answers.
    ///
    /// # Errors
    /// The registry ended unexpectedly, or does not answer in time.
    pub fn wait_ready(&mut self) -> Result<(), Error> {
        self.process.start()?;
        let url = self.url("/v2/");
        until("the registry", DEADLINE, || {
            self.process.check()?;
            match self.client.request("GET", &url, None) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => {
                    Err(Wait::NotYet(format!("{} {}", answer.status, answer.body.trim())))
                }
                Err(error) => Err(Wait::NotYet(error.to_string())),
            }
        })
    }

    /// Makes this the only user there is, at once: the registry reads the file
    /// again when it changes. Only for one that was started with credentials.
    ///
    /// # Errors
    /// The password cannot be hashed or written.
    pub fn set_credentials(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let line = format!("{}:{}\n", credentials.username, bcrypt(&credentials.password)?);
        // Whole or not at all: the registry may be reading.
        let new = self.dir.path().join("users.new");
        private_file::write(&new, line.as_bytes())?;
        fs::rename(&new, self.dir.path().join(USERS)).map_err(Error::io("replace the users"))?;
        self.client.user = Some(format!("{}:{}", credentials.username, credentials.password));
        Ok(())
    }

    /// Returns host and port, as at the start of image references. The default port of HTTPS is
    /// omitted.
    pub fn address(&self) -> String {
        match (self.scheme, self.listens.port()) {
            ("https", 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns the listening address, which may differ from the name.
    pub const fn listens(&self) -> SocketAddr {
        self.listens
    }

    /// Returns the certificate of the authority that signed the registry's, PEM.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Returns `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Returns the URL of a path.
    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address())
    }

    /// Sends one request with these credentials.
    ///
    /// # Errors
    /// There was no response. A response with any status is returned.
    pub fn request_as(
        &self,
        credentials: &Credentials,
        method: &str,
        path: &str,
    ) -> Result<Answer, Error> {
        let user = Some(format!("{}:{}", credentials.username, credentials.password));
        Client { user, ..self.client.clone() }.request(method, &self.url(path), None)
    }

    /// Returns every request that the registry has answered, in order.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn requests(&self) -> Result<Vec<Logged>, Error> {
        let path = self.access_log();
        let text =
            fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))?;
        Ok(access_log::parse(&text))
    }

    /// Returns the file with a line for every request, in the combined log format.
    pub fn access_log(&self) -> PathBuf {
        self.dir.path().join(ACCESS)
    }

    /// Returns the process, for tests that stop or kill it.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Returns the process for inspection.
    pub const fn running(&self) -> &Process {
        &self.process
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Computes the only password hash that the registry accepts. perl, which every Debian has, calls
/// the C library for it. The cost is the lowest one, because this is a test.
fn bcrypt(password: &str) -> Result<String, Error> {
    let salt = format!("$2b$04${:022x}", random());
    let program = "local $/; print crypt(<STDIN>, $ARGV[0]) // exit 1";
    let mut child = Command::new("perl")
        .args(["-e", program, &salt])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::io("start perl (Debian package perl-base)"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(password.as_bytes()).map_err(Error::io("speak to perl"))?;
    }
    let output = child.wait_with_output().map_err(Error::io("wait for perl"))?;
    let hash = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && hash.starts_with("$2b$") {
        return Ok(hash);
    }
    Err(Error::unavailable("bcrypt in the C library's crypt(3)", "use Debian 12 (libxcrypt)"))
}
