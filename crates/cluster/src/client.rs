//! Clients of the API server.

use std::{env, error::Error as _, net::SocketAddr, path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::error::Error;

/// Name in the certificate of every API server.
const API_SERVER_NAME: &str = "kubernetes.default.svc";
/// The deadline for a connection to the API server.
const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(30);

/// Returns the configuration of a client: from `kubeconfig`, else from the environment,
/// which is `KUBECONFIG`, `~/.kube/config`, or the pod's own service account.
///
/// # Errors
/// [`Error::Config`].
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Config(error.to_string());
    match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| wrong(&error))
        }
        None => Config::infer().await.map_err(|error| match error.source() {
            // Outside a pod the lack of a service account explains nothing.
            Some(kubeconfig) if env::var_os("KUBERNETES_SERVICE_HOST").is_none() => {
                wrong(&kubeconfig)
            }
            _ => wrong(&error),
        }),
    }
}

/// Returns a client with the [`config`] of `kubeconfig` or the environment.
///
/// # Errors
/// [`Error::Config`].
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    connect(config(kubeconfig).await?)
}

/// Returns a client by `context` of `kubeconfig`, or of `KUBECONFIG` or `~/.kube/config`.
/// Without a context as [`client`].
///
/// # Errors
/// [`Error::Config`].
pub async fn client_in(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Error> {
    connect(config_in(kubeconfig, context).await?)
}

/// Returns the configuration of a client by `context` of `kubeconfig`, or of `KUBECONFIG` or
/// `~/.kube/config`. Without a context as [`config`].
///
/// # Errors
/// [`Error::Config`].
pub async fn config_in(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    let Some(context) = context else { return config(kubeconfig).await };
    let wrong = |error: &dyn std::fmt::Display| Error::Config(error.to_string());
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| wrong(&error))?;
    let options =
        KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let found = Config::from_custom_kubeconfig(file, &options).await;
    found.map_err(|error| wrong(&error))
}

/// Returns a client with the pod's own service account; outside of a pod, the same as [`client`].
///
/// # Errors
/// [`Error::Config`].
pub async fn in_cluster() -> Result<Client, Error> {
    client(None).await
}

/// Returns a client with `config`.
///
/// # Errors
/// [`Error::Config`].
pub fn connect(mut config: Config) -> Result<Client, Error> {
    // image-swap uses ring. Another provider that is already installed stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    Client::try_from(config).map_err(|error| Error::Config(error.to_string()))
}

/// Returns a client with connections of its own, to the API server at `address`, or without one
/// to the address of `config`. A response may take the time `patience`.
///
/// # Errors
/// [`Error::Config`].
pub(crate) fn connect_apart(
    config: &Config,
    address: Option<SocketAddr>,
    patience: Duration,
) -> Result<Client, Error> {
    let mut config = config.clone();
    if let Some(address) = address {
        let url = format!("https://{address}");
        config.cluster_url =
            url.parse().map_err(|error| Error::Config(format!("{url}: {error}")))?;
        config.tls_server_name = Some(API_SERVER_NAME.to_owned());
        config.proxy_url = None;
    }
    config.read_timeout = Some(patience);
    config.default_retry = false;
    connect(config)
}
