//! stub
use super::Progress;
use crate::{cache::Cache, error::Error};
use std::path::PathBuf;
/// A wheel.
#[derive(Debug)]
pub struct Wheel {
    /// n
    pub name: &'static str,
    /// v
    pub version: &'static str,
    /// h
    pub hashes: &'static [&'static str],
}
impl Wheel {
    /// u
    ///
    /// # Errors
    /// x
    pub fn unpack(&self, _cache: &Cache, _progress: Progress<'_>) -> Result<PathBuf, Error> {
        Err(Error::unavailable(self.name, "install Go"))
    }
}
