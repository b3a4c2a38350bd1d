//! Real Helm for tests, without a `helm` binary.
//!
//! [`Helm`] is the Go SDK of Helm 4 inside the Python package `helm-python-sdk`,
//! of one pinned version, so that messages and manifests are the same wherever the
//! tests run. Only tests need it; the chart itself needs no Python.

mod helm;
mod install;
mod live;

pub use self::helm::{Failure, Helm, Release, Rendered};
pub use self::install::python;
pub use self::live::{Live, Revision, Wait};
