//! The Container Runtime Interface, by which kubelet controls a runtime.
//!
//! It covers only the calls that image-swap needs: version, images of running containers, and pull.
//! The messages are declared by hand with the fields that are read or sent. A gRPC call is one
//! `POST` over HTTP/2.
//!
//! Source: kubernetes/cri-api v0.37.0, `pkg/apis/runtime/v1/api.proto`.

mod channel;
mod client;
mod error;
mod messages;

pub use self::{
    client::{CriClient, LocalImage, RuntimeVersion},
    error::Error,
};
