//! Pushing: a POST and a PUT for each blob, a PUT for the manifest
//! (OCI distribution specification, `spec.md`).

use std::io::Write;

use crate::oci::{digest_of, media};

use super::Registry;
use crate::{error::Error, image::Image, product::Product};

impl Registry {
    /// Pushes an image as `repository:tag` and returns the reference to pull it
    /// by: `127.0.0.1:PORT/repository:tag`.
    ///
    /// # Errors
    /// The registry refused something.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<String, Error> {
        for blob in image.blobs() {
            self.push_blob(repository, blob)?;
        }
        let url = self.url(&format!("/v2/{repository}/manifests/{tag}"));
        self.send("PUT", &url, media::MANIFEST, image.manifest())?;
        Ok(format!("{}/{repository}:{tag}", self.address()))
    }

    /// Pushes the image of the program as `repository:tag`, the index last.
    ///
    /// # Errors
    /// A file of the layout cannot be read, or the registry refused something.
    pub fn push_product(
        &self,
        repository: &str,
        tag: &str,
        product: &Product,
    ) -> Result<(), Error> {
        let manifests = format!("/v2/{repository}/manifests");
        for image in product.images()? {
            for blob in &image.blobs {
                self.push_blob(repository, blob)?;
            }
            let url = self.url(&format!("{manifests}/{}", digest_of(&image.manifest)));
            self.send("PUT", &url, media::MANIFEST, &image.manifest)?;
        }
        let url = self.url(&format!("{manifests}/{tag}"));
        self.send("PUT", &url, media::INDEX, &product.index()?)
    }

    fn push_blob(&self, repository: &str, blob: &[u8]) -> Result<(), Error> {
        let url = self.url(&format!("/v2/{repository}/blobs/uploads/"));
        let request = format!("POST {url}");
        let answer = self.client.request("POST", &url, None)?.expect(202, &request)?;
        let location = answer.header("Location").unwrap_or_default();
        let location =
            if location.starts_with('/') { self.url(location) } else { location.to_owned() };
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", digest_of(blob));
        self.send("PUT", &url, "application/octet-stream", blob)
    }

    fn send(&self, method: &str, url: &str, kind: &str, body: &[u8]) -> Result<(), Error> {
        let mut file = tempfile::NamedTempFile::new_in(self.dir())
            .map_err(Error::io("make a file for a request"))?;
        file.write_all(body).map_err(Error::io("write a request"))?;
        let answer = self.client.request(method, url, Some((kind, file.path())))?;
        answer.expect(201, &format!("{method} {url}")).map(drop)
    }
}
