//! A machine with a network and a tree of files of its own.

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

/// The public registries: Palette's seven under the names that runtimes ask,
/// one that nothing is declared for, and names that a runtime might come upon.
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

/// Where the names lead.
const PUBLIC_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const MIRROR_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// The host's own directories. The machine's are hidden behind them.
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

/// The first process of the namespaces. It notes its pid as the machine sees it
/// (the old `/proc` still shows that), and then only reaps. A mount point that
/// the machine lacks stays behind as an empty directory.
const FIRST: &str = r#"
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

/// How long the kernel may take for namespaces and mounts.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a mirror is to be.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Whom the company's registry serves.
    pub access: Access,
    /// Its certificate.
    pub trust: Trust,
}

/// Who vouches for a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// An authority that the host trusts anyway.
    #[default]
    Public,
    /// The company's own authority: [`LabHost::private_authority`].
    Private,
    /// Nobody but itself.
    SelfSigned,
    /// It does not speak TLS.
    Plain,
}

/// A machine: namespaces for network, mounts and processes, which live as long
/// as the value. The only address it has is the loopback's, on which the public
/// registries and the mirrors listen; nothing it asks leaves it.
#[derive(Debug)]
pub struct LabHost {
    // Dropped in this order: what runs inside before the namespaces.
    public_registries: Option<RegistryServer>,
    first: Process,
    pid: u32,
    log: Log,
    public: Authority,
    private: Authority,
    content: Content,
    dir: RunDir,
}

impl LabHost {
    /// Makes one, with public registries that have what `content` has for them.
    ///
    /// # Errors
    /// The kernel refused something.
    pub fn start(content: &Content) -> Result<Self, Error> {
        let dir = RunDir::new("host")?;
        let mut names = String::from("127.0.0.1 localhost\n");
        for name in PUBLIC {
            let _ = writeln!(names, "{PUBLIC_ADDRESS} {name}");
        }
        let _ = writeln!(names, "{MIRROR_ADDRESS} {MIRROR}\n{SECOND_ADDRESS} {SECOND}");
        dir.write("hosts", names)?;
        // Whatever else is asked for, nobody is there to ask.
        dir.write("resolv.conf", "nameserver 127.0.0.1\n")?;
        let public = Authority::new("an authority that everyone trusts")?;
        dir.write("roots.pem", public.certificate())?;
        let flags =
            ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", FIRST, "host"];
        let mut first = Process::new("unshare", "unshare", dir.path().join("unshare.log"))
            .arguments(flags)
            .arguments([dir.path().as_os_str()])
            .arguments(OWN);
        first.start()?;
        let file = dir.path().join("pid");
        let pid = until("the host's namespaces", DEADLINE, || {
            first.check()?;
            let text =
                fs::read_to_string(&file).map_err(|error| Wait::NotYet(error.to_string()))?;
            text.trim().parse().map_err(|_| Wait::NotYet(text))
        })?;
        let mut host = Self {
            public_registries: None,
            first,
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
        let site = host.site(Server::Public, PUBLIC_ADDRESS, ports, answers, &proxy)?;
        host.public_registries = Some(site);
        Ok(host)
    }

    /// The public registries; from now on they do that.
    pub fn set_public(&self, answers: crate::reverse_proxy::Answers) {
        if let Some(site) = &self.public_registries {
            site.set(answers);
        }
    }

    /// Starts the company's registry, [`MIRROR`].
    ///
    /// # Errors
    /// The address is taken: it runs already.
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

    /// Starts the company's registry, [`MIRROR`], with a certificate of the company's own
    /// authority, for clients with a certificate of that authority. Returns such a certificate.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn mirror_for_clients(&self) -> Result<(RegistryServer, Identity), Error> {
        let server = self.private.server(&[MIRROR])?;
        let port = (443, tls_for(&server, Some(self.private.certificate()))?);
        let site = self.mirror_at(Server::Mirror, MIRROR_ADDRESS, [port], Access::Anonymous)?;
        Ok((site, self.private.client("node", None)?))
    }

    /// Starts the other mirror, [`SECOND`]: for everyone, with a public
    /// certificate and without TLS.
    ///
    /// # Errors
    /// The address is taken: it runs already.
    pub fn second(&self) -> Result<RegistryServer, Error> {
        let secure = tls(&self.public.server(&[SECOND])?)?;
        let ports = [(443, secure), (80, Transport::Plain)];
        self.mirror_at(Server::Second, SECOND_ADDRESS, ports, Access::Anonymous)
    }

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
        self.site(server, address, ports, answers, &proxy)
    }

    fn site<const N: usize>(
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

    /// Listens in the host's network. A socket stays in the network it was made
    /// in; so a thread that goes there for a moment is enough.
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

    /// The record of all that was asked of public registries and mirrors.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The certificate of the company's own authority, PEM.
    pub fn private_authority(&self) -> &str {
        self.private.certificate()
    }

    /// The tree of files that is the host's own: `etc/containerd` and its like.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Writes a file of the host: `path` is as the host sees it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<PathBuf, Error> {
        self.dir.write(&format!("root{path}"), text)
    }

    /// Where files go that are none of the host's.
    pub(crate) const fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The command before a command that runs inside.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        let pid = self.pid.to_string();
        ["nsenter", "--target", &pid, "--net", "--mount", "--pid", "--"].map(OsString::from).into()
    }

    /// The file with the authorities that everyone trusts.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("roots.pem")
    }

    /// A command that runs inside.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let words = self.wrapper();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).env("SSL_CERT_FILE", self.roots());
        command
    }
}

/// The company's registry.
pub const MIRROR: &str = "harbor.example.org";
/// Another mirror.
pub const SECOND: &str = "mirror.example.net";

impl Drop for LabHost {
    fn drop(&mut self) {
        // `unshare` takes the first process with it, and that one everything inside.
        let _ = self.first.kill();
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
