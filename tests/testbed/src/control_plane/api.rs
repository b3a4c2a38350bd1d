//! The few requests that starting and testing need.

use serde_json::{Value, json};

use super::{ControlPlane, DEADLINE};
use crate::{
    error::Error,
    http::Answer,
    private_file,
    wait::{Wait, until},
};

impl ControlPlane {
    /// Sends one request to the API server as the administrator, with a JSON body. A `PATCH` is a
    /// merge patch.
    ///
    /// # Errors
    /// There was no response. A response with any status is returned.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.url);
        let Some(body) = body else { return self.client.request(method, &url, None) };
        let file = tempfile::NamedTempFile::new_in(self.dir.path())
            .map_err(Error::io("make a file for a request"))?;
        private_file::write(file.path(), body.to_string().as_bytes())?;
        let kind =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.client.request(method, &url, Some((kind, file.path())))
    }

    /// Creates an object by `POST` to `path`, and returns the stored object.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        let answer = self.request("POST", path, Some(object))?;
        json_of(&answer.expect(201, &format!("POST {path}"))?, path)
    }

    /// Reads the object at `path`; returns `None` if it does not exist.
    ///
    /// # Errors
    /// Any other answer.
    pub fn get(&self, path: &str) -> Result<Option<Value>, Error> {
        let answer = self.request("GET", path, None)?;
        if answer.status == 404 {
            return Ok(None);
        }
        json_of(&answer.expect(200, &format!("GET {path}"))?, path).map(Some)
    }

    /// Creates a namespace in which pods can be created at once. Returns when its service account
    /// exists, and creates that if no controller manager runs.
    ///
    /// # Errors
    /// The API server refused it.
    pub fn create_namespace(&self, name: &str) -> Result<(), Error> {
        let object =
            |kind, name| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
        self.create("/api/v1/namespaces", &object("Namespace", name))?;
        if self.manages_accounts() {
            return self.wait_for_account(name);
        }
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        self.create(&accounts, &object("ServiceAccount", "default")).map(drop)
    }

    /// Waits for a namespace that the API server creates shortly after it is ready.
    pub(super) fn wait_for_namespace(&self, name: &str) -> Result<(), Error> {
        let path = format!("/api/v1/namespaces/{name}");
        until(&format!("the namespace {name}"), DEADLINE, || match self.get(&path)? {
            Some(_) => Ok(()),
            None => Err(Wait::NotYet("no such namespace".into())),
        })
    }

    /// Waits until pods can be created in a namespace.
    pub(super) fn wait_for_account(&self, namespace: &str) -> Result<(), Error> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        until(&format!("the service account of {namespace}"), DEADLINE, || {
            match self.get(&path)? {
                Some(_) => Ok(()),
                None => Err(Wait::NotYet("no account".into())),
            }
        })
    }
}

fn json_of(answer: &Answer, path: &str) -> Result<Value, Error> {
    serde_json::from_str(&answer.body)
        .map_err(|error| Error::io(format!("read the JSON at {path}"))(error.into()))
}
