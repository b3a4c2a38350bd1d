//! Access to a workload cluster, from a kubeconfig.
//!
//! An administrator of one cluster wrote the text, and the program that reads it may write to all
//! clusters. Only the current context counts. A field that would run a program, read a file, skip
//! the check of a certificate or act as another user is refused. Errors contain positions and names
//! of known fields, and nothing else of the text.

mod access;
mod document;
mod error;
mod pem;
mod read;
mod server;

pub use self::{
    access::{RemoteAccess, RemoteCredential, RemoteServer},
    error::{KubeconfigError, KubeconfigProblem},
    read::{KUBECONFIG_MAX, bearer_token},
    server::url as server_url,
};

#[cfg(test)]
mod tests;
