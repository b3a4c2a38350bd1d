//! A server on real sockets, and well-behaved clients.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::{http1, http2},
    header::CONTENT_TYPE,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use image_swap_core::rule::{MapForm, RuleSet, parse};
use image_swap_serve::{
    Bound, Limits, RunningServer,
    pki::{Certificate, CertificateInForce, LocalAuthority},
};
use image_swap_testkit as testkit;
use image_swap_webhook::{
    AdmissionMetrics, RulesInForce, SettingsInForce, TemplateNamespaces, Webhook,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::mpsc, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

/// The map of most tests.
pub(crate) const LIST: &str = "docker.io::mirror.example/docker.io";

pub(crate) fn mk_rules(list: &str) -> RuleSet {
    RuleSet::new(parse::rules(list, MapForm::List).0)
}

/// Returns a review of a new pod with one container.
pub(crate) fn mk_review(image: &str) -> Vec<u8> {
    mk_padded_review(image, 0)
}

/// Returns a review of a new pod with one container and an annotation of `padding` bytes.
pub(crate) fn mk_padded_review(image: &str, padding: usize) -> Vec<u8> {
    let mut pod = testkit::pod("web", &[("web", image)]);
    pod["metadata"]["annotations"] = serde_json::json!({ "padding": "x".repeat(padding) });
    serde_json::to_vec(&testkit::review("CREATE", &pod, &Value::Null)).unwrap()
}

/// A running webhook on ports that the system chose, with an authority of its own.
pub(crate) struct WebhookServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) rules: RulesInForce,
    pub(crate) certificate: CertificateInForce,
    pub(crate) metrics: Arc<AdmissionMetrics>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) authority: LocalAuthority,
    running: Option<RunningServer>,
}

impl WebhookServer {
    /// Starts a server with rules and a certificate.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts a server with rules and a certificate. `change` sets its limits.
    #[expect(clippy::unused_async, reason = "a socket needs a runtime")]
    pub(crate) async fn start_with(change: impl FnOnce(&mut Limits)) -> Self {
        let site = Self::start_empty(change);
        site.rules.replace(mk_rules(LIST));
        site.certificate.replace(site.issue());
        site
    }

    /// Starts a server with neither rules nor a certificate. `change` sets its limits.
    pub(crate) fn start_empty(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let directory = tempfile::tempdir().unwrap();
        let authority = LocalAuthority::open(directory.path(), SystemTime::now()).unwrap();
        let rules = RulesInForce::default();
        let certificate = CertificateInForce::default();
        let metrics = AdmissionMetrics::new(&rules, &certificate);
        let bound = bind(limits, &rules, &certificate, &metrics);
        Self {
            address: bound.address,
            admin: bound.admin_address,
            rules,
            certificate,
            metrics,
            directory,
            authority,
            running: Some(bound.run()),
        }
    }

    /// Issues a new certificate for 127.0.0.1.
    pub(crate) fn issue(&self) -> Certificate {
        self.authority.issue(&["127.0.0.1".to_owned()], SystemTime::now()).unwrap()
    }

    pub(crate) fn take(&mut self) -> RunningServer {
        self.running.take().unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn tls(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_tls(alpn).await.unwrap()
    }

    pub(crate) async fn try_tls(&self, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        try_tls(self.tcp().await, &self.authority.certificate_file(), alpn).await
    }

    pub(crate) async fn h1(&self) -> Client {
        Client::h1(self.tls(&[H1]).await).await
    }

    pub(crate) async fn h2(&self) -> Client {
        Client::h2(self.tls(&[H2]).await).await
    }

    /// Returns the answer of the plain port to a `GET` of `path`.
    pub(crate) async fn probe(&self, path: &str) -> Answer {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let mut client = Client::h1(stream).await;
        let request = Request::get(path).header("host", "probe").body(empty()).unwrap();
        client.send(request).await
    }

    /// Returns the value of one line of `/metrics`; `None` if there is no such line.
    pub(crate) async fn metric(&self, name_and_labels: &str) -> Option<f64> {
        let text = self.probe("/metrics").await.text;
        let prefix = format!("{name_and_labels} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Some(value.parse().unwrap())
    }

    /// Waits until the server has `count` requests with complete headers and no answer.
    pub(crate) async fn in_flight(&self, count: u32) {
        while self.metric("image_swap_requests_in_flight").await != Some(count.into()) {
            tokio::task::yield_now().await;
        }
    }

    /// Returns the swapped image of a pod with `image`; `None` if it is unchanged. Each call
    /// opens a connection.
    pub(crate) async fn swapped(&self, image: &str) -> Option<String> {
        self.h1().await.review(image).await.swapped()
    }
}

pub(crate) fn bind(
    limits: Limits,
    rules: &RulesInForce,
    certificate: &CertificateInForce,
    metrics: &Arc<AdmissionMetrics>,
) -> Bound {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let webhook = Webhook {
        listen: any,
        admin_listen: any,
        limits,
        templates: TemplateNamespaces::default(),
        settings: SettingsInForce::default(),
        rules: rules.clone(),
        certificate: certificate.clone(),
        metrics: Arc::clone(metrics),
    };
    webhook.bind().unwrap()
}

/// Writes `files` below `root` like kubelet's `AtomicWriter`: creates a directory, renames a
/// symlink to it over `..data`, and removes the old directory.
pub(crate) fn mount(root: &Path, version: &str, files: &[(&str, &str)]) {
    let old = fs::read_link(root.join("..data")).ok();
    let new = format!("..2024_11_22_09_44_{version}");
    fs::create_dir(root.join(&new)).unwrap();
    for (name, text) in files {
        fs::write(root.join(&new).join(name), text).unwrap();
    }
    symlink(&new, root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    if let Some(old) = old {
        return fs::remove_dir_all(root.join(old)).unwrap();
    }
    for (name, _) in files {
        symlink(Path::new("..data").join(name), root.join(name)).unwrap();
    }
}

/// Opens a TLS session as a client that trusts the authority in `file`.
pub(crate) async fn try_tls(
    stream: TcpStream,
    file: &Path,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = client_config(file, alpn, rustls::DEFAULT_VERSIONS);
    connect(stream, &config).await
}

/// Returns the configuration of a client that trusts the authority in `file`.
pub(crate) fn client_config(
    file: &Path,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(crate) async fn connect(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// A request body of any kind.
pub(crate) type ClientBody = BoxBody<Bytes, std::io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> ClientBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn empty() -> ClientBody {
    full(Bytes::new())
}

/// Returns a body of unknown length, and the sender of its pieces. The body ends when the sender
/// drops.
pub(crate) fn pieces() -> (mpsc::UnboundedSender<Bytes>, ClientBody) {
    struct Pieces(mpsc::UnboundedReceiver<Bytes>);
    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(piece))))
        }
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Pieces(receiver).boxed())
}

/// Returns a `POST /mutate` with the content type JSON.
pub(crate) fn post(body: ClientBody) -> Request<ClientBody> {
    Request::post("/mutate")
        .header("host", "webhook")
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

/// Returns `request` with an absolute URI and without `Host`, for HTTP/2.
fn absolute(mut request: Request<ClientBody>) -> Request<ClientBody> {
    let uri = format!("https://webhook{}", request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    request.headers_mut().remove("host");
    request
}

/// The sender of a connection.
enum Sender {
    H1(http1::SendRequest<ClientBody>),
    H2(http2::SendRequest<ClientBody>),
}

/// A client with one connection.
pub(crate) struct Client {
    sender: Sender,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn h1<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender: Sender::H1(sender), connection: tokio::spawn(connection) }
    }

    pub(crate) async fn h2<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Self { sender: Sender::H2(sender), connection: tokio::spawn(connection) }
    }

    /// Sends `request`, and returns the future of its answer.
    pub(crate) fn begin(
        &mut self,
        request: Request<ClientBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let (one, two) = match &mut self.sender {
            Sender::H1(sender) => (Some(sender.send_request(request)), None),
            Sender::H2(sender) => (None, Some(sender.send_request(absolute(request)))),
        };
        async move {
            match (one, two) {
                (Some(one), _) => one.await,
                (_, Some(two)) => two.await,
                (None, None) => unreachable!(),
            }
        }
    }

    pub(crate) async fn ready(&mut self) {
        match &mut self.sender {
            Sender::H1(sender) => sender.ready().await.unwrap(),
            Sender::H2(sender) => sender.ready().await.unwrap(),
        }
    }

    pub(crate) async fn send(&mut self, request: Request<ClientBody>) -> Answer {
        self.ready().await;
        Answer::read(self.begin(request).await.unwrap()).await
    }

    pub(crate) async fn review(&mut self, image: &str) -> Answer {
        self.send(post(full(mk_review(image)))).await
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(self) {
        // An error of the client's connection is ignored: only its end matters.
        let _ = self.connection.await.unwrap();
    }

    /// Drops the connection without a shutdown.
    pub(crate) fn vanish(self) {
        self.connection.abort();
    }
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers[CONTENT_TYPE], "application/json", "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    /// Returns the message of an error with `status`.
    pub(crate) fn refused(&self, status: StatusCode) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// Returns the image that the patch sets in the first container; `None` without one.
    pub(crate) fn swapped(&self) -> Option<String> {
        use base64::Engine as _;
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let review = self.json();
        assert_eq!(review["response"]["allowed"], true);
        let patch = review["response"]["patch"].as_str()?;
        let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
        let image = patch.iter().find(|op| op["path"] == "/spec/containers/0/image")?;
        Some(image["value"].as_str().unwrap().to_owned())
    }
}

/// Reads until the server closes the connection, with or without `close_notify`.
pub(crate) async fn read_to_close<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Returns a review request with any method, path and content type.
pub(crate) fn odd(method: Method, path: &str, content_type: Option<&str>) -> Request<ClientBody> {
    let mut request = Request::builder().method(method).uri(path).header("host", "webhook");
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    request.body(full(mk_review("nginx"))).unwrap()
}
