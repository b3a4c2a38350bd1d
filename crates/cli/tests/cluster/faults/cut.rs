//! A client that stops responding after a number of writes, as if its process were killed: the
//! write is stored, and the caller receives no response.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use hyper::{Method, Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::watch;
use tower::{Layer, Service};

/// The objects that a rotation writes: certificates, and the authorities that API servers trust.
const COUNTED: [&str; 3] = [
    "/secrets/image-swap-ca",
    "/secrets/image-swap-tls",
    "/mutatingwebhookconfigurations/image-swap-admission",
];

/// A limit of writes, after which the client stops responding.
#[derive(Clone)]
pub(super) struct Cut {
    after: usize,
    written: Arc<AtomicUsize>,
    over: watch::Sender<bool>,
}

impl Cut {
    pub(super) fn after(writes: usize) -> Self {
        Self { after: writes, written: Arc::default(), over: watch::Sender::new(false) }
    }

    /// Returns a watch that becomes true when the limit is reached.
    pub(super) fn is_over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    /// Returns a client of the cluster in `kubeconfig` with this limit.
    pub(super) async fn client(&self, kubeconfig: &Path) -> Client {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        ClientBuilder::try_from(config.unwrap()).unwrap().with_layer(self).build()
    }

    /// Counts an answered write. Returns true if it reaches the limit.
    fn note(&self) -> bool {
        let is_last = self.written.fetch_add(1, Ordering::SeqCst) + 1 == self.after;
        if is_last {
            self.over.send_replace(true);
        }
        is_last
    }
}

impl<S> Layer<S> for Cut {
    type Service = Cutting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Cutting { inner, cut: self.clone() }
    }
}

/// A service that stops responding at the limit.
pub(super) struct Cutting<S> {
    inner: S,
    cut: Cut,
}

impl<S, B> Service<Request<Body>> for Cutting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if *self.cut.over.borrow() {
            return Box::pin(std::future::pending());
        }
        let path = request.uri().path();
        let counts =
            *request.method() != Method::GET && COUNTED.iter().any(|it| path.ends_with(it));
        let answer = self.inner.call(request);
        let cut = self.cut.clone();
        Box::pin(async move {
            let answer = answer.await;
            let is_cut = *cut.over.borrow();
            if is_cut
                || (counts
                    && answer.as_ref().is_ok_and(|it| it.status().is_success())
                    && cut.note())
            {
                std::future::pending::<()>().await;
            }
            answer
        })
    }
}
