//! What can go wrong between us and the API server.

use std::error::Error as _;

use kube::runtime::watcher;

/// Why the cluster could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or could not be reached.
    #[error("expected to {doing}, found: {}", reason(source))]
    Api {
        /// What was being done, as it follows "expected to".
        doing: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is nobody to ask.
    #[error("expected to find a cluster, found: {0}; name one with --kubeconfig FILE")]
    Config(String),
    /// The chart's object that everything else belongs to is missing.
    #[error(
        "expected the ClusterRole {0}, which owns what is made at run time, found none; \
         is this the name of the release?"
    )]
    NoAnchor(String),
    /// There is nothing of that name.
    #[error(
        "expected a release called {name} in the namespace {namespace}, found none; name it with \
         --namespace and --name"
    )]
    NoRelease {
        /// Its full name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// An object that a step depends on could not be read.
    #[error("{0}")]
    Unread(String),
    /// The namespace of the page's Secret is being deleted.
    #[error(
        "cannot create the namespace {0}: the old one is still being deleted; it is created \
         when the deletion ends"
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
    #[error(
        "expected an answer of the API server within {0} seconds, found none; look for a slow \
         webhook or policy"
    )]
    Late(u64),
    /// An authority or a certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] image_swap_serve::pki::MakeError),
}

impl Error {
    /// An error of the API while `doing` something.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { doing: doing.into(), source: Box::new(source) }
    }

    /// Returns the HTTP status that the API server answered with; `None` without an answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => code(source),
            _ => None,
        }
    }

    /// Returns true if another writer changed the object since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}

/// Whether the API server answered at all.
pub(crate) fn is_answer(error: &Error) -> bool {
    error.code().is_some()
}

/// The HTTP status that the API server answered with, if it answered.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// kube prints the whole status twice; people want what the server said. Where
/// there is no answer it says what it was doing, and why that failed stands below.
pub(crate) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => return format!("{} ({})", status.message, status.code),
        // A parser quotes what it found, and that may have been a Secret's.
        kube::Error::SerdeError(error) => {
            return format!("an answer of another form, at its column {}", error.column());
        }
        _ => {}
    }
    let mut told = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let said = cause.to_string();
        if !told.contains(&said) {
            told.push_str(": ");
            told.push_str(&said);
        }
        below = cause.source();
    }
    told
}

/// Why a watch has to begin anew.
pub(crate) fn watch_reason(error: &watcher::Error) -> String {
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
    async fn why_nobody_answers_is_told() {
        // Nobody listens on the port that stands for none.
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
        let error = namespaces.get("a").await.map_err(Error::api("read a")).unwrap_err();
        let told = error.to_string();
        assert!(told.starts_with("expected to read a, found: "), "{told}");
        assert!(told.contains("Connection refused"), "{told}");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let answer = r#"{"data":"hunter2-hunter2"}"#;
        let error = serde_json::from_str::<Secret>(answer).unwrap_err();
        assert!(error.to_string().contains("hunter2"), "what the parser says: {error}");
        let told = reason(&kube::Error::SerdeError(error));
        assert_eq!(told, "an answer of another form, at its column 25");
    }
}
