//! A gate before the API server of a workload cluster, which stops at each write once.

use std::{
    collections::BTreeSet,
    future::pending,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use image_swap_testbed::{Authority, ControlPlane};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::fake::{kubeconfig, server_config};

/// Running gate on a port of 127.0.0.1.
pub(crate) struct Gate {
    kubeconfig: String,
    state: Arc<GateState>,
    task: JoinHandle<()>,
}

struct GateState {
    /// Client of the API server without a credential.
    server: Client,
    /// Methods and paths of the writes at which it stopped.
    stops: Mutex<BTreeSet<String>>,
    /// True if it forwards nothing.
    is_stopped: watch::Sender<bool>,
}

/// Treatment of a request.
enum Passage {
    /// Forwards the request and its response.
    Open,
    /// Blocks the request.
    Closed,
    /// Forwards the request, and drops its response.
    OneWay,
}

impl GateState {
    /// Decides about a request. The gate stops at a write that it has not stopped at before. Every
    /// second one of them takes effect.
    fn admit(&self, request: &Request<Incoming>) -> Passage {
        if *self.is_stopped.borrow() {
            return Passage::Closed;
        }
        let is_write = ![Method::GET, Method::HEAD].contains(request.method());
        let mut stops = self.stops.lock().unwrap();
        let write = format!("{} {}", request.method(), request.uri().path());
        if !is_write || !stops.insert(write) {
            return Passage::Open;
        }
        self.is_stopped.send_replace(true);
        if stops.len().is_multiple_of(2) { Passage::OneWay } else { Passage::Closed }
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, kube::Error> {
        let passage = self.admit(&request);
        if matches!(passage, Passage::Closed) {
            return pending().await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let response = self.server.send(Request::from_parts(head, Body::from(body))).await;
        if matches!(passage, Passage::OneWay) {
            return pending().await;
        }
        response
    }
}

impl Gate {
    /// Starts a gate before the API server of `plane`. Its kubeconfig has the token of an
    /// administrator.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        plane.token_kubeconfig("default", "boss", true).unwrap();
        let token = plane.issue_token("default", "boss").unwrap();
        let mut file = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        for named in &mut file.auth_infos {
            named.auth_info = None;
        }
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await.unwrap();
        let server = Client::try_from(config).unwrap();

        let authority = Authority::new("gate").unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&authority)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let is_stopped = watch::Sender::new(false);
        let state = Arc::new(GateState { server, stops: Mutex::default(), is_stopped });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { kubeconfig: kubeconfig(&url, authority.certificate(), &token), state, task }
    }

    /// Returns the kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Waits until the gate has stopped.
    pub(crate) async fn stopped(&self) {
        self.state.is_stopped.subscribe().wait_for(|it| *it).await.unwrap();
    }

    /// Forwards requests again, until the next write that is not among the former ones.
    pub(crate) fn proceed(&self) {
        self.state.is_stopped.send_replace(false);
    }

    /// Returns the number of writes at which the gate stopped.
    pub(crate) fn stops(&self) -> usize {
        self.state.stops.lock().unwrap().len()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection. Its end is no error.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<GateState>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| state.forward(request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
