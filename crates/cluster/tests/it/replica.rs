//! An admission replica as small as can be: it follows the cluster's Secrets,
//! and answers every review.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use image_swap_cluster::{InForce, Served};
use image_swap_core::cluster::webhooks::{PROBE_ANNOTATION, REACHED};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

#[derive(Debug)]
pub(crate) struct Replica {
    served: watch::Sender<Option<Served>>,
    certificate: Certificate,
    certificates: watch::Sender<u32>,
    port: u16,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Debug, Default)]
struct Certificate(Arc<Mutex<Option<Arc<CertifiedKey>>>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().clone()
    }
}

impl Replica {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let certificate = Certificate::default();
        let replica = Arc::new(Self {
            served: watch::Sender::new(None),
            certificate: certificate.clone(),
            certificates: watch::Sender::new(0),
            port: listener.local_addr().unwrap().port(),
            task: Mutex::default(),
        });
        *replica.task.lock().unwrap() = Some(tokio::spawn(accept(listener, certificate)));
        replica
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn served(&self) -> watch::Receiver<Option<Served>> {
        self.served.subscribe()
    }

    /// How many certificates it was told.
    pub(crate) fn certificates(&self) -> watch::Receiver<u32> {
        self.certificates.subscribe()
    }

    /// Answers nobody any more.
    pub(crate) fn stop(&self) {
        self.task.lock().unwrap().take().unwrap().abort();
    }
}

impl InForce for Replica {
    fn serve(&self, served: Served) {
        self.served.send_replace(Some(served));
    }

    fn refuse(&self) {}

    fn certificate(&self, chain: &[u8], key: &[u8]) -> bool {
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).unwrap();
        *self.certificate.0.lock().unwrap() = Some(Arc::new(key));
        self.certificates.send_modify(|count| *count += 1);
        true
    }
}

async fn accept(listener: TcpListener, certificate: Certificate) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // A client that does not trust us ends here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut response = json!({ "uid": review["request"]["uid"], "allowed": true });
    if review["request"]["object"]["metadata"]["annotations"].get(PROBE_ANNOTATION).is_some() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let place = format!("/metadata/annotations/{}", PROBE_ANNOTATION.replace('/', "~1"));
        let patch = json!([{ "op": "replace", "path": place, "value": REACHED }]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(patch.to_string()).into();
    }
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    });
    let reply = Response::builder().header("content-type", "application/json");
    Ok(reply.body(Full::from(answer.to_string())).unwrap())
}
