//! A stand-in for the API server of a workload cluster: it stores objects, records requests, and
//! fails as a test orders.

mod fault;
mod http2;
mod store;
mod wire;

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
};

use image_swap_testbed::Authority;
use image_swap_text::base64;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use self::store::{ContestedPath, FakeStore};
pub(crate) use self::{
    fault::{Fault, SECRET},
    http2::{Http2Fault, Http2Server},
};

/// Token in the kubeconfig of the administrator.
pub(crate) const ADMINISTRATOR: &str = "administrator-token";

/// Running stand-in on a port of 127.0.0.1.
pub(crate) struct FakeServer {
    pub(crate) url: String,
    /// Authority of its certificate in PEM.
    pub(crate) authority: String,
    shared: Arc<FakeState>,
    task: JoinHandle<()>,
}

/// State of a stand-in, shared by its connections.
struct FakeState {
    store: Mutex<FakeStore>,
    /// Number of changes; each wakes the watches.
    changes: watch::Sender<u64>,
}

/// Request that a stand-in received.
#[derive(Clone, Debug)]
pub(crate) struct FakeRequest {
    pub(crate) method: String,
    /// Path without query.
    pub(crate) path: String,
    /// Bearer token; empty without one.
    pub(crate) token: String,
}

impl FakeState {
    fn store(&self) -> MutexGuard<'_, FakeStore> {
        self.store.lock().unwrap()
    }

    fn change(&self) {
        self.changes.send_modify(|number| *number += 1);
    }
}

impl FakeServer {
    /// Starts a stand-in for the cluster with the UID [`uid`] of `name`.
    pub(crate) async fn start(name: &str) -> Self {
        let authority = Authority::new("fake").unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&authority)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let store = Mutex::new(FakeStore::new(&uid(name)));
        let shared = Arc::new(FakeState { store, changes: watch::Sender::new(0) });
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(wire::serve(stream, acceptor.clone(), Arc::clone(&state)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, authority: authority.certificate().to_owned(), shared, task }
    }

    /// Returns a kubeconfig with `token` for the server.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        kubeconfig(&self.url, &self.authority, token)
    }

    /// Sets the fault of requests for paths with a prefix, which may begin with a method and a space;
    /// `None` ends it.
    pub(crate) fn misbehave(&self, fault: Option<(&str, Fault)>) {
        self.shared.store().fault = fault.map(|(path, fault)| (path.to_owned(), fault));
        self.shared.change();
    }

    /// Refuses all tokens for which `is_refused` returns true. Their watches end.
    pub(crate) fn refuse(&self, is_refused: impl Fn(&str) -> bool) {
        self.shared.store().tokens.retain(|token| !is_refused(token));
        self.shared.change();
    }

    /// Replaces the cluster by that with the UID [`uid`] of `name`, which has nothing of image-swap. It
    /// accepts the same tokens.
    pub(crate) fn replace(&self, name: &str) {
        self.shared.store().replace(&uid(name));
        self.shared.change();
    }

    /// Drops the response of the write with the number `write`, counted from 1, and all requests
    /// after it. It takes effect if `is_stored`.
    pub(crate) fn stop_at(&self, write: usize, is_stored: bool) {
        let mut store = self.shared.store();
        store.writes = 0;
        store.stop = Some((write, is_stored));
    }

    /// Answers all requests again.
    pub(crate) fn proceed(&self) {
        let mut store = self.shared.store();
        store.stop = None;
        store.is_stopped = false;
    }

    /// Waits until the write at which the server was to stop.
    pub(crate) async fn stopped(&self) {
        let mut changes = self.shared.changes.subscribe();
        while !self.shared.store().is_stopped {
            changes.changed().await.unwrap();
        }
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<FakeRequest> {
        self.shared.store().requests.clone()
    }

    /// Returns the number of bytes of endless answers that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.shared.store().sent
    }

    /// Returns the stored object at `path`; `None` without one.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.shared.store().objects.get(path).cloned()
    }

    /// Deletes the object at `path`, as another program does.
    pub(crate) fn delete(&self, path: &str) {
        self.shared.store().objects.remove(path).unwrap();
    }

    /// Changes the object at `path`, as another program does.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        edit(self.shared.store().objects.get_mut(path).unwrap());
    }

    /// Returns the stored objects without what the server added.
    pub(crate) fn objects(&self) -> Vec<(String, Value)> {
        self.shared.store().plain()
    }

    /// Stores `object` at `path`, as another program does.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.shared.store().put(path, object);
    }

    /// Refuses the next apply of the object at `path` because of an `Update` manager. An `Apply`
    /// manager changes the object before the apply after that one.
    pub(crate) fn contest(&self, path: &str) {
        let path = path.to_owned();
        self.shared.store().contest = Some(ContestedPath { path, is_taken: false });
    }

    /// Deletes the object at `path`.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.store().objects.remove(path);
    }

    /// Stores the heartbeat of the cluster with `summary`.
    pub(crate) fn beat(&self, summary: &Value) {
        self.shared.store().beat(summary);
        self.shared.change();
    }
}

/// Returns a kubeconfig with `token` for the server at `url`, whose certificate `authority` signed.
pub(crate) fn kubeconfig(url: &str, authority: &str, token: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "fake" } }],
        "clusters": [{ "name": "fake", "cluster": {
            "server": url,
            "certificate-authority-data": base64::encode(authority),
        } }],
        "users": [{ "name": "fake", "user": { "token": token } }],
    })
    .to_string()
}

/// Returns the configuration of a server on 127.0.0.1 with a certificate of `authority`.
pub(crate) fn server_config(authority: &Authority) -> ServerConfig {
    let identity = authority.server(&["127.0.0.1"]).unwrap();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// Returns the UID of the stand-in called `name`.
pub(crate) fn uid(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
