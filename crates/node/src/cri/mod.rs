//! The Container Runtime Interface: what a kubelet, too, asks of a runtime.
//!
//! Only what is needed: whether it answers, what it is, what it runs, and a
//! pull. The messages are declared by hand with the fields that are read or
//! sent; gRPC is one `POST` over HTTP/2 for each call.
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
