//! What can go wrong between us and the API server.

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
    /// An authority or a certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Error {
    /// An error of the API while `doing` something.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { doing: doing.into(), source: Box::new(source) }
    }

    /// Whether somebody else changed the object since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if code(source) == Some(409))
    }
}

/// Whether the API server answered at all.
pub(crate) fn is_answer(error: &Error) -> bool {
    matches!(error, Error::Api { source, .. } if code(source).is_some())
}

/// The HTTP status that the API server answered with, if it answered.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// kube prints the whole status twice; people want what the server said.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}
