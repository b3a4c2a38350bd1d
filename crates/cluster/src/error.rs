//! Errors of requests to the API server.

use std::error::Error as _;

use kube::runtime::watcher;

/// An error while the cluster is read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused the request, or cannot be reached.
    #[error("cannot {doing}: {}", reason(source))]
    Api {
        /// The action that failed, as it follows "cannot".
        doing: String,
        /// The error of the request.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server sends a list without an end.
    #[error("cannot {0}: the API server does not end the list")]
    Endless(String),
    /// No cluster is configured, or its configuration cannot be used.
    #[error("cannot connect to a cluster: {0}; name its kubeconfig with --kubeconfig FILE")]
    Config(String),
    /// The `ClusterRole` that owns the objects of the release does not exist.
    #[error(
        "the ClusterRole {0}, which owns the objects that image-swap creates, does not exist; \
         check the name of the release"
    )]
    NoAnchor(String),
    /// The release does not exist.
    #[error(
        "there is no release {name} in the namespace {namespace}; name the release with \
         --namespace and --name"
    )]
    NoRelease {
        /// The full name of the release.
        name: String,
        /// The namespace of the release.
        namespace: String,
    },
    /// An object that a step depends on could not be read.
    #[error("{0}")]
    Unread(String),
    /// The namespace of the Secret `registry-info` is being deleted.
    #[error(
        "cannot create the namespace {0}: the old one is still being deleted; image-swap creates \
         it when the deletion ends"
    )]
    Terminating(String),
    /// Another writer changes an object again and again.
    #[error(
        "cannot write {name}: another writer changes it again and again; image-swap writes it \
         every ten seconds; find the other writer in its managedFields"
    )]
    Paced {
        /// The name of the object.
        name: String,
        /// The time to wait, in seconds.
        seconds: u64,
    },
    /// A step of a reconciliation took too long.
    #[error("the API server did not respond within {0} seconds; look for a slow webhook or policy")]
    Late(u64),
    /// A CA or a certificate cannot be created.
    #[error("cannot create a certificate: {0}")]
    Certificate(#[from] image_swap_serve::pki::MakeError),
}

impl Error {
    /// Returns a function that wraps an error of the API while `doing` something.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { doing: doing.into(), source: Box::new(source) }
    }

    /// Returns the HTTP status that the API server answered with; `None` without an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => code(source),
            _ => None,
        }
    }

    /// Returns true if another writer changed the object since it was read.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}

/// Returns true if the API server responded.
pub fn is_answer(error: &Error) -> bool {
    error.code().is_some()
}

/// Returns the HTTP status that the API server answered with; `None` without an answer.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Returns the API server's message; without a response, the chain of causes. kube's own
/// message repeats the whole status.
pub fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => return format!("{} ({})", status.message, status.code),
        // A parser quotes the text that it rejects, which may be part of a Secret.
        kube::Error::SerdeError(error) => {
            return format!("cannot parse the response, at its column {}", error.column());
        }
        _ => {}
    }
    let mut message = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        below = cause.source();
    }
    message
}

/// Returns true if a watch stays without objects until an administrator acts: the API server
/// refuses it, or does not know the resource.
pub fn is_refused(error: &watcher::Error) -> bool {
    watch_code(error).is_some_and(|code| [403, 404, 405].contains(&code))
}

/// Returns the HTTP status that the API server answered a watch with; `None` without an answer.
pub fn watch_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => code(error),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}

/// Returns the reason why a watch has to be restarted.
pub fn watch_reason(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => reason(error),
        watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Namespace, Secret};
    use kube::{Api, Client, Config};

    use super::*;

    #[tokio::test]
    async fn refused_connection_is_named() {
        // No process listens on port 1.
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
        let error = namespaces.get("a").await.map_err(Error::api("read a")).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("cannot read a: "), "{message}");
        assert!(message.contains("Connection refused"), "{message}");
    }

    // guarantee: 6b
    #[test]
    fn invalid_response_is_not_quoted() {
        let answer = r#"{"data":"hunter2-hunter2"}"#;
        let error = serde_json::from_str::<Secret>(answer).unwrap_err();
        assert!(error.to_string().contains("hunter2"), "the parser quotes it: {error}");
        let message = reason(&kube::Error::SerdeError(error));
        assert_eq!(message, "cannot parse the response, at its column 25");
    }
}
