//! Errors of requests to the API server.

use std::error::Error as _;

use kube::runtime::watcher;

/// Returns the API server's message; without a response, the chain of causes.
pub(crate) fn reason(error: &kube::Error) -> String {
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
            message = format!("{message}: {text}");
        }
        below = cause.source();
    }
    message
}

/// Returns the reason why a watch has to be restarted.
pub(crate) fn watch_reason(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => reason(error),
        watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}
