//! The command lines, and the files they name.

use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::{access::ADMINISTRATORS, network::ServiceNetwork, server::Server};
use crate::{
    error::Error,
    http::Client,
    janitor::RunDir,
    kubeconfig::{self, SERVER_NAME, UserCredential},
    parts::{ControllerParts, ServerParts},
    pki::Authority,
    port::Port,
    process::Process,
};

/// The process that makes service accounts.
pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The file with the private key that signs tokens of service accounts.
pub(super) const ACCOUNTS_KEY: &str = "accounts.key";

/// A control plane before its processes run.
pub(super) struct Plan<'a> {
    parts: &'a ServerParts,
    pub(super) dir: RunDir,
    pub(super) authority: Authority,
    pub(super) network: ServiceNetwork,
    pub(super) ports: Vec<Port>,
    pub(super) storage: Storage,
    api_server: u16,
}

/// The place of a control plane's data.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// The port of etcd on 127.0.0.1.
    pub(super) port: u16,
    /// The prefix of all keys.
    pub(super) prefix: String,
}

impl<'a> Plan<'a> {
    /// Reserves ports and a directory. Without `storage` the data are in an etcd of its own.
    pub(super) fn new(parts: &'a ServerParts, storage: Option<Storage>) -> Result<Self, Error> {
        let mut plan = Self {
            parts,
            dir: RunDir::new("control-plane")?,
            authority: Authority::new("testbed")?,
            network: ServiceNetwork::random(),
            ports: Vec::new(),
            // The default prefix of API servers.
            storage: Storage { port: 0, prefix: "/registry".to_owned() },
            api_server: 0,
        };
        plan.storage = match storage {
            Some(storage) => storage,
            None => Storage { port: plan.reserve()?, ..plan.storage },
        };
        plan.api_server = plan.reserve()?;
        plan.dir.write("ca.crt", plan.authority.certificate())?;
        Ok(plan)
    }

    pub(super) fn reserve(&mut self) -> Result<u16, Error> {
        let port = Port::reserve()?;
        let number = port.number();
        self.ports.push(port);
        Ok(number)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn process(&self, program: &Path) -> Process {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        self.named(&name, program)
    }

    fn named(&self, name: &str, program: &Path) -> Process {
        Process::new(name, program, self.path(&format!("{name}.log")))
    }

    pub(super) const fn port(&self) -> u16 {
        self.api_server
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server)
    }

    /// Returns a `curl` client that authenticates as the administrator.
    pub(super) fn client(&self) -> Result<Client, Error> {
        let identity = self.authority.client("testbed", Some(ADMINISTRATORS))?;
        Ok(Client {
            authority: Some(self.path("ca.crt")),
            identity: Some(identity.write(&self.dir, "client")?),
            ..Client::default()
        })
    }

    /// Writes the administrator's kubeconfig, and returns its path.
    pub(super) fn administrator(&self) -> Result<PathBuf, Error> {
        self.kubeconfig("kubeconfig", "administrator", Some(ADMINISTRATORS))
    }

    fn kubeconfig(&self, file: &str, user: &str, group: Option<&str>) -> Result<PathBuf, Error> {
        let identity = self.authority.client(user, group)?;
        let credential = UserCredential::Certificate(&identity);
        let authority = self.authority.certificate();
        let text = kubeconfig::render(&self.url(), Some(SERVER_NAME), authority, &credential);
        self.dir.write(file, text)
    }

    pub(super) fn etcd(&mut self) -> Result<Server, Error> {
        let peer = format!("http://127.0.0.1:{}", self.reserve()?);
        let client = format!("http://127.0.0.1:{}", self.storage.port);
        let process = self.process(&self.parts.etcd).arguments([
            format!("--data-dir={}", self.file("etcd")),
            // A test that cuts the power ends processes, not the kernel.
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]);
        Ok(Server { process, ready: format!("{client}/health"), client: Client::default() })
    }

    /// Writes the certificates and keys that all API servers share.
    pub(super) fn identify_api_servers(&self) -> Result<(), Error> {
        let service = self.network.api_server();
        let names = ["localhost", "127.0.0.1", &service, "kubernetes", "kubernetes.default"];
        let names = [&names[..], &["kubernetes.default.svc"]].concat();
        self.authority.server(&names)?.write(&self.dir, "api-server")?;
        self.authority
            .client("kube-apiserver", Some(ADMINISTRATORS))?
            .write(&self.dir, "to-kubelet")?;
        let accounts = KeyPair::generate()?;
        self.dir.write(ACCOUNTS_KEY, accounts.serialize_pem())?;
        self.dir.write("accounts.pub", accounts.public_key_pem())?;
        Ok(())
    }

    /// Returns the API server `name` on `port`, with `more` flags; later ones count.
    pub(super) fn api_server(
        &self,
        name: &str,
        port: u16,
        more: &[&Vec<String>],
    ) -> Result<Server, Error> {
        let url = format!("https://127.0.0.1:{port}");
        let process = self
            .named(name, &self.parts.kube_apiserver)
            .arguments([
                format!("--etcd-servers=http://127.0.0.1:{}", self.storage.port),
                format!("--etcd-prefix={}", self.storage.prefix),
                "--bind-address=127.0.0.1".into(),
                "--advertise-address=127.0.0.1".into(),
                // The API forbids endpoints on loopback addresses.
                "--endpoint-reconciler-type=none".into(),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", self.file(name)),
                format!("--tls-cert-file={}", self.file("api-server.crt")),
                format!("--tls-private-key-file={}", self.file("api-server.key")),
                format!("--client-ca-file={}", self.file("ca.crt")),
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                "--enable-aggregator-routing=true".into(),
                "--allow-privileged=true".into(),
                format!("--service-cluster-ip-range={}", self.network.prefix()),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                format!("--service-account-key-file={}", self.file("accounts.pub")),
                format!("--service-account-signing-key-file={}", self.file(ACCOUNTS_KEY)),
                format!("--kubelet-client-certificate={}", self.file("to-kubelet.crt")),
                format!("--kubelet-client-key={}", self.file("to-kubelet.key")),
                "--kubelet-preferred-address-types=InternalIP".into(),
            ])
            .arguments(more.iter().copied().flatten());
        Ok(Server { process, ready: format!("{url}/readyz"), client: self.client()? })
    }

    pub(super) fn controller_manager(&mut self, parts: &ControllerParts) -> Result<Server, Error> {
        let user = format!("system:{CONTROLLER_MANAGER}");
        let kubeconfig = self.kubeconfig("controller-manager.kubeconfig", &user, None)?;
        let flags = [
            "--use-service-account-credentials=true".into(),
            format!("--service-account-private-key-file={}", self.file(ACCOUNTS_KEY)),
            format!("--root-ca-file={}", self.file("ca.crt")),
            // The limits suit tests with thousands of namespaces.
            "--kube-api-qps=200".into(),
            "--kube-api-burst=400".into(),
        ];
        self.controller(&parts.kube_controller_manager, &kubeconfig, &flags)
    }

    pub(super) fn scheduler(&mut self, parts: &ControllerParts) -> Result<Server, Error> {
        let kubeconfig = self.kubeconfig("scheduler.kubeconfig", "system:kube-scheduler", None)?;
        self.controller(&parts.kube_scheduler, &kubeconfig, &[])
    }

    /// Starts a controller with the flags that both controllers have in common.
    fn controller(
        &mut self,
        program: &Path,
        kubeconfig: &Path,
        flags: &[String],
    ) -> Result<Server, Error> {
        let port = self.reserve()?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = ["localhost", "127.0.0.1"];
        let (certificate, key) = self.authority.server(&names)?.write(&self.dir, &name)?;
        let process = self
            .process(program)
            .arguments([
                format!("--kubeconfig={}", kubeconfig.display()),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={port}"),
                format!("--tls-cert-file={}", certificate.display()),
                format!("--tls-private-key-file={}", key.display()),
                // No other process takes part in an election.
                "--leader-elect=false".into(),
            ])
            .arguments(flags);
        let client = Client { authority: Some(self.path("ca.crt")), ..Client::default() };
        Ok(Server { process, ready: format!("https://127.0.0.1:{port}/healthz"), client })
    }
}
