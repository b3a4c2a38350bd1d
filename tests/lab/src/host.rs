//! Hosts: namespaces with their own network and files.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use image_swap_testbed::{Authority, Error, Identity, Process, RunDir, Wait, until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    content::Content,
    log::{Log, Server},
    reverse_proxy::{Access, MirrorProxy, PublicProxy, RegistryServer, State},
    server::{ReverseProxy, Serving, Transport, serve, tls, tls_for},
};

/// Names of public registries: the seven that Palette declares, under the names that runtimes
/// connect to; one without a rule; and names that a runtime may be redirected to.
pub const PUBLIC: [&str; 12] = [
    "docker.io",
    "registry-1.docker.io",
    "index.docker.io",
    "auth.docker.io",
    "gcr.io",
    "ghcr.io",
    "k8s.gcr.io",
    "registry.k8s.io",
    "quay.io",
    "us-east1-docker.pkg.dev",
    "other.example.com",
    "production.cloudflare.docker.com",
];

/// Address of every name in [`PUBLIC`].
const PUBLIC_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Address of [`MIRROR`].
const MIRROR_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Address of [`SECOND`].
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// Directories of the host, mounted over those of the machine.
const OWN: [&str; 13] = [
    "/etc/containerd",
    "/etc/containers",
    "/etc/docker",
    "/run/containerd",
    "/run/containers",
    "/run/libpod",
    "/run/nri",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/image-swap",
    "/opt/cni",
    "/opt/containerd",
    "/opt/nri",
];

/// Shell script of the namespaces' first process. It writes its pid outside of the namespaces,
/// which the machine's `/proc` still shows, and then only reaps processes. A mount point that the
/// machine lacks remains as an empty directory.
const INIT: &str = r#"
set -e
read -r pid rest < /proc/self/stat
dir=$1; shift
mount -t proc proc /proc
ip link set lo up
for path in "$@"; do
    mkdir -p "$dir/root$path" "$path"
    mount --bind "$dir/root$path" "$path"
done
mount --bind "$dir/hosts" /etc/hosts
mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)"
echo "$pid" > "$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"
while sleep 3600; do :; done
"#;

/// Time limit of the kernel for namespaces and mounts.
const DEADLINE: Duration = Duration::from_secs(30);

/// The configuration of a mirror.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Authentication that the mirror requires.
    pub access: Access,
    /// Certificate of the mirror.
    pub trust: Trust,
}

/// The issuer of a mirror's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// An authority that the host trusts by default.
    #[default]
    Public,
    /// The company's own authority: [`LabHost::private_authority`].
    Private,
    /// The certificate itself.
    SelfSigned,
    /// No certificate: plain HTTP.
    Plain,
}

/// A host: namespaces for network, mounts and processes, which end when the value drops.
///
/// The host has only a loopback interface. Public registries and mirrors listen on it, and no
/// request leaves the host.
#[derive(Debug)]
pub struct LabHost {
    // Fields drop in this order: servers inside the namespaces end before the namespaces.
    public_registries: Option<RegistryServer>,
    init: Process,
    pid: u32,
    log: Log,
    public: Authority,
    private: Authority,
    content: Content,
    dir: RunDir,
}

impl LabHost {
    /// Starts a host with public registries, which serve the images of `content` below
    /// [`UPSTREAM`](crate::UPSTREAM).
    ///
    /// # Errors
    /// Returns an error if the kernel refuses a namespace, mount or socket.
    pub fn start(content: &Content) -> Result<Self, Error> {
        let dir = RunDir::new("host")?;
        let mut names = String::from("127.0.0.1 localhost\n");
        for name in PUBLIC {
            let _ = writeln!(names, "{PUBLIC_ADDRESS} {name}");
        }
        let _ = writeln!(names, "{MIRROR_ADDRESS} {MIRROR}\n{SECOND_ADDRESS} {SECOND}");
        dir.write("hosts", names)?;
        // No DNS server listens there, so other names do not resolve.
        dir.write("resolv.conf", "nameserver 127.0.0.1\n")?;
        let public = Authority::new("an authority that everyone trusts")?;
        dir.write("roots.pem", public.certificate())?;
        let flags =
            ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", INIT, "host"];
        let mut init = Process::new("unshare", "unshare", dir.path().join("unshare.log"))
            .arguments(flags)
            .arguments([dir.path().as_os_str()])
            .arguments(OWN);
        init.start()?;
        let file = dir.path().join("pid");
        let pid = until("the host's namespaces", DEADLINE, || {
            init.check()?;
            let text =
                fs::read_to_string(&file).map_err(|error| Wait::NotYet(error.to_string()))?;
            text.trim().parse().map_err(|_| Wait::NotYet(text))
        })?;
        let mut host = Self {
            public_registries: None,
            init,
            pid,
            log: Log::default(),
            private: Authority::new("an authority of the company")?,
            public,
            content: content.clone(),
            dir,
        };
        let answers = State::default();
        let proxy: Arc<dyn ReverseProxy> =
            Arc::new(PublicProxy { content: content.clone(), answers: answers.clone() });
        let ports = [(443, tls(&host.public.server(&PUBLIC)?)?), (80, Transport::Plain)];
        let server = host.start_server(Server::Public, PUBLIC_ADDRESS, ports, answers, &proxy)?;
        host.public_registries = Some(server);
        Ok(host)
    }

    /// Sets the behaviour of the public registries for later requests.
    pub fn set_public(&self, answers: crate::reverse_proxy::Answers) {
        if let Some(server) = &self.public_registries {
            server.set(answers);
        }
    }

    /// Starts the company's registry, [`MIRROR`].
    ///
    /// # Errors
    /// Returns an error if the address is in use, as when the mirror is running.
    pub fn mirror(&self, options: &HostOptions) -> Result<RegistryServer, Error> {
        let names = &[MIRROR];
        let port = match options.trust {
            Trust::Plain => (80, Transport::Plain),
            Trust::Public => (443, tls(&self.public.server(names)?)?),
            Trust::Private => (443, tls(&self.private.server(names)?)?),
            Trust::SelfSigned => (443, tls(&Identity::self_signed(names)?)?),
        };
        self.mirror_at(Server::Mirror, MIRROR_ADDRESS, [port], options.access.clone())
    }

    /// Starts the company's registry, [`MIRROR`], with mutual TLS. Both certificates are of the
    /// company's own authority. Returns the server and a client certificate.
    ///
    /// # Errors
    /// Returns an error if the address is in use, as when the mirror is running.
    pub fn mirror_for_clients(&self) -> Result<(RegistryServer, Identity), Error> {
        let identity = self.private.server(&[MIRROR])?;
        let port = (443, tls_for(&identity, Some(self.private.certificate()))?);
        let server = self.mirror_at(Server::Mirror, MIRROR_ADDRESS, [port], Access::Anonymous)?;
        Ok((server, self.private.client("node", None)?))
    }

    /// Starts the second mirror, [`SECOND`], for anonymous clients: with a public certificate on
    /// port 443, and without TLS on port 80.
    ///
    /// # Errors
    /// Returns an error if the address is in use, as when the mirror is running.
    pub fn second(&self) -> Result<RegistryServer, Error> {
        let secure = tls(&self.public.server(&[SECOND])?)?;
        let ports = [(443, secure), (80, Transport::Plain)];
        self.mirror_at(Server::Second, SECOND_ADDRESS, ports, Access::Anonymous)
    }

    /// Starts a mirror that serves all images of the registry.
    fn mirror_at<const N: usize>(
        &self,
        server: Server,
        address: Ipv4Addr,
        ports: [(u16, Transport); N],
        access: Access,
    ) -> Result<RegistryServer, Error> {
        let (content, answers) = (self.content.clone(), State::default());
        let proxy: Arc<dyn ReverseProxy> =
            Arc::new(MirrorProxy { content, access, answers: answers.clone() });
        self.start_server(server, address, ports, answers, &proxy)
    }

    /// Starts a server with `proxy` on several ports of `address`.
    fn start_server<const N: usize>(
        &self,
        server: Server,
        address: Ipv4Addr,
        ports: [(u16, Transport); N],
        answers: State,
        proxy: &Arc<dyn ReverseProxy>,
    ) -> Result<RegistryServer, Error> {
        let serving: Result<Vec<Serving>, Error> = ports
            .into_iter()
            .map(|(port, transport)| self.serve(server, address, port, transport, proxy))
            .collect();
        Ok(RegistryServer { answers, _serving: serving? })
    }

    /// Serves one port of a server.
    fn serve(
        &self,
        server: Server,
        address: Ipv4Addr,
        port: u16,
        transport: Transport,
        proxy: &Arc<dyn ReverseProxy>,
    ) -> Result<Serving, Error> {
        let listener = self.listen(SocketAddrV4::new(address, port))?;
        serve(self.content.runtime(), listener, transport, server, &self.log, Arc::clone(proxy))
    }

    /// Listens in the host's network. A socket stays in the namespace of its creation, so a
    /// short-lived thread enters the namespace.
    fn listen(&self, address: SocketAddrV4) -> Result<TcpListener, Error> {
        let network = format!("/proc/{}/ns/net", self.pid);
        let listen = move || -> io::Result<TcpListener> {
            let network = File::open(network)?;
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), kind)?;
            TcpListener::bind(address)
        };
        let listener = thread::spawn(listen).join();
        listener
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended")))
            .map_err(Error::io(format!("listen on {address} in the host's network")))
    }

    /// Returns the record of requests to public registries and mirrors.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the certificate of the company's own authority, PEM.
    pub fn private_authority(&self) -> &str {
        self.private.certificate()
    }

    /// Returns the directory of the machine with the host's own files, such as `etc/containerd`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Writes a file of the host. `path` is its path on the host.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<PathBuf, Error> {
        self.dir.write(&format!("root{path}"), text)
    }

    /// Returns the directory of the lab's own files, such as logs.
    pub(crate) const fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Returns the words that run the command after them on the host.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        let pid = self.pid.to_string();
        ["nsenter", "--target", &pid, "--net", "--mount", "--pid", "--"].map(OsString::from).into()
    }

    /// Returns the file with the authority that the host trusts by default, PEM.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("roots.pem")
    }

    /// Returns a command that runs `program` on the host.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let words = self.wrapper();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).env("SSL_CERT_FILE", self.roots());
        command
    }
}

/// Host name of the company's registry.
pub const MIRROR: &str = "harbor.example.org";
/// Host name of the second mirror.
pub const SECOND: &str = "mirror.example.net";

impl Drop for LabHost {
    fn drop(&mut self) {
        // The end of `unshare` ends the first process, and that ends every process inside.
        let _ = self.init.kill();
        let pid = self.pid;
        let _ = until("the end of the host's processes", DEADLINE, || {
            if image_swap_testbed::runs(pid) {
                Err(Wait::NotYet("still running".into()))
            } else {
                Ok(())
            }
        });
    }
}
