//! A client without a fleet controller: it sends recorded requests to all clusters at the same
//! time, each over a connection that is open already, by HTTP/2 as the fleet controller.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    client::conn::http2,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use image_swap_load::{
    Outcome,
    simulator::{RecordedRequest, SERVER_NAME, SimulatedClusters},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// Load of the client.
#[derive(Serialize, Deserialize)]
struct PureLoad {
    authority: String,
    /// Address and token of each cluster.
    clusters: Vec<(SocketAddr, String)>,
    /// File with the requests of a round.
    requests: PathBuf,
}

/// The client as a process.
pub(crate) struct PureClient {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    requests: PathBuf,
}

impl Drop for PureClient {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PureClient {
    /// Starts the process, connected to each of `clusters`.
    pub(crate) fn start(directory: &Path, clusters: &SimulatedClusters) -> Outcome<Self> {
        let requests = directory.join("requests.json");
        let all = (0..clusters.len()).map(|it| (clusters.address(it), clusters.token(it).into()));
        let authority = clusters.authority().to_owned();
        let load = PureLoad { authority, clusters: all.collect(), requests: requests.clone() };
        let file = directory.join("pure.json");
        fs::write(&file, serde_json::to_string(&load)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("pure").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut client = Self { child, orders, answers, requests };
        client.answer()?;
        Ok(client)
    }

    /// Sends `requests` to the clusters whose index is at least `first`, and returns when all have
    /// answered.
    pub(crate) fn round(&mut self, first: usize, requests: &[RecordedRequest]) -> Outcome<()> {
        fs::write(&self.requests, serde_json::to_string(requests)?)?;
        writeln!(self.orders, "{first}")?;
        self.answer()
    }

    fn answer(&mut self) -> Outcome<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            Err("the client without a controller has ended".into())
        } else {
            Ok(())
        }
    }
}

/// Connects to all clusters, and sends the requests for each line of the standard input.
pub(crate) async fn serve(file: &Path) -> Outcome<()> {
    let load: PureLoad = serde_json::from_str(&fs::read_to_string(file)?)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(load.authority.as_bytes())?)?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    let mut connections = Vec::new();
    for (address, token) in load.clusters {
        connections.push(Some(Connection::open(&tls, address, &token).await?));
    }
    println!("connected");
    for line in std::io::stdin().lines() {
        let first: usize = line?.trim().parse()?;
        let requests: Vec<RecordedRequest> =
            serde_json::from_str(&fs::read_to_string(&load.requests)?)?;
        let requests = Arc::new(requests);
        let mut tasks = JoinSet::new();
        for (index, connection) in connections.iter_mut().enumerate().skip(first) {
            let mut connection = connection.take().ok_or("no connection")?;
            let requests = Arc::clone(&requests);
            tasks.spawn(async move {
                for request in &*requests {
                    connection.send(request).await?;
                }
                Outcome::Ok((index, connection))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (index, connection) = done??;
            connections[index] = Some(connection);
        }
        println!("done");
    }
    Ok(())
}

/// Connection to a cluster.
struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    /// Address in front of all paths.
    server: String,
    token: String,
}

impl Connection {
    async fn open(tls: &TlsConnector, address: SocketAddr, token: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = tls.connect(ServerName::try_from(SERVER_NAME)?, stream).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let (server, token) = (format!("https://{address}"), format!("Bearer {token}"));
        Ok(Self { sender, server, token })
    }

    async fn send(&mut self, request: &RecordedRequest) -> Outcome<()> {
        let RecordedRequest { method, path, accept, content_type, body } = request;
        let uri = format!("{}{path}", self.server);
        let mut built = Request::builder().method(method.as_str()).uri(uri).header(ACCEPT, accept);
        built = built.header(AUTHORIZATION, &self.token);
        if !content_type.is_empty() {
            built = built.header(CONTENT_TYPE, content_type);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        self.sender.ready().await?;
        let response = self.sender.send_request(built.body(body)?).await?;
        let status = response.status();
        response.into_body().collect().await?;
        // An absent object is an answer as well.
        if status.is_success() || status == 404 {
            Ok(())
        } else {
            Err(format!("expected a success for {method} {path}, found {status}").into())
        }
    }
}
