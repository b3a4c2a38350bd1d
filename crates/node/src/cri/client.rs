//! The calls of CRI.

use std::{future::Future, path::Path, time::Duration};

use super::{
    channel::Channel,
    error::Error,
    messages::{
        self, ImageRequest, ImageStatusResponse, ListContainersResponse, ListImagesResponse,
        Nothing, PullImageResponse, RUNNING, StatusRequest, StatusResponse, VersionResponse,
    },
};
use prost::Message;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// The deadline of calls that a runtime answers from memory.
const SOON: Duration = Duration::from_secs(10);

/// A client of one runtime, whose calls block.
#[derive(Debug)]
pub struct CriClient {
    channel: Channel,
    runtime: Runtime,
}

/// The name and version that a runtime reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// The name of the runtime, such as `containerd` or `cri-o`.
    pub name: String,
    /// The version in the words of the runtime: `v1.7.24`, `1.6.20~ds1`.
    pub version: String,
}

/// An image that the runtime has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The runtime's own name of it, mostly the digest of its configuration.
    pub id: String,
    /// `NAME:TAG` for every name the runtime knows it by.
    pub tags: Vec<String>,
    /// `NAME@DIGEST` for every name the runtime knows it by.
    pub digests: Vec<String>,
}

impl CriClient {
    /// Connects to the runtime at `socket`.
    ///
    /// # Errors
    /// If no process listens there, or does not speak HTTP/2.
    pub fn connect(socket: &Path) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let channel = wait(&runtime, "connect", SOON, Channel::open(socket))?;
        Ok(Self { channel, runtime })
    }

    /// Calls `method`, as in `/runtime.v1.RuntimeService/Version`.
    fn call<A: Message + Default>(
        &mut self,
        method: &'static str,
        input: &impl Message,
        deadline: Duration,
    ) -> Result<A, Error> {
        wait(&self.runtime, method, deadline, self.channel.call(method, input))
    }

    /// Returns the process that listens; `None` if it cannot be seen.
    pub const fn peer(&self) -> Option<u32> {
        self.channel.peer
    }

    /// Returns the version of the runtime, which answers only if its CRI is alive.
    ///
    /// # Errors
    /// See [`Error::is_dead_plugin`].
    pub fn version(&mut self) -> Result<RuntimeVersion, Error> {
        let method = "/runtime.v1.RuntimeService/Version";
        let answer: VersionResponse = self.call(method, &Nothing {}, SOON)?;
        Ok(RuntimeVersion { name: answer.runtime_name, version: answer.runtime_version })
    }

    /// Returns the configuration in force as JSON; `None` if the runtime does not report it
    /// (containerd does). It may contain credentials.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub fn configuration(&mut self) -> Result<Option<String>, Error> {
        let method = "/runtime.v1.RuntimeService/Status";
        let request = StatusRequest { verbose: true };
        let mut answer: StatusResponse = self.call(method, &request, SOON)?;
        Ok(answer.info.remove("config"))
    }

    /// Returns the images of running containers, as their pods name them, each once.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub fn running(&mut self) -> Result<Vec<String>, Error> {
        let method = "/runtime.v1.RuntimeService/ListContainers";
        let answer: ListContainersResponse = self.call(method, &Nothing {}, SOON)?;
        let running = answer.containers.into_iter().filter(|container| container.state == RUNNING);
        let mut images: Vec<String> =
            running.filter_map(|container| Some(container.image?.image)).collect();
        images.sort_unstable();
        images.dedup();
        Ok(images)
    }

    /// Returns the images of the runtime.
    ///
    /// # Errors
    /// See [`Error::is_dead_plugin`].
    pub fn images(&mut self) -> Result<Vec<LocalImage>, Error> {
        let method = "/runtime.v1.ImageService/ListImages";
        let answer: ListImagesResponse = self.call(method, &Nothing {}, SOON)?;
        Ok(answer.images.into_iter().map(LocalImage::from).collect())
    }

    /// Pulls `image` without credentials of its own, within `deadline`. The runtime requests the
    /// manifest even if it has the image.
    ///
    /// # Errors
    /// If the runtime cannot pull it: its message.
    pub fn pull(&mut self, image: &str, deadline: Duration) -> Result<LocalImage, Error> {
        let method = "/runtime.v1.ImageService/PullImage";
        let answer: PullImageResponse = self.call(method, &ImageRequest::of(image), deadline)?;
        let pulled = self.image(&answer.image_ref)?;
        let unlisted = LocalImage { id: answer.image_ref, tags: Vec::new(), digests: Vec::new() };
        Ok(pulled.unwrap_or(unlisted))
    }

    /// Returns the image of this name; `None` if the runtime has none.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub fn image(&mut self, image: &str) -> Result<Option<LocalImage>, Error> {
        let method = "/runtime.v1.ImageService/ImageStatus";
        let answer: ImageStatusResponse = self.call(method, &ImageRequest::of(image), SOON)?;
        Ok(answer.image.map(LocalImage::from))
    }

    /// Removes an image, if it is there.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub fn remove(&mut self, image: &str) -> Result<(), Error> {
        let method = "/runtime.v1.ImageService/RemoveImage";
        let _: Nothing = self.call(method, &ImageRequest::of(image), SOON)?;
        Ok(())
    }
}

/// Waits for the answer of `method` until `deadline`.
fn wait<T>(
    runtime: &Runtime,
    method: &'static str,
    deadline: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = runtime.block_on(async { timeout(deadline, answer).await });
    answer.map_err(|_| Error::Late { method, after: deadline })?
}

impl From<messages::ImageMessage> for LocalImage {
    fn from(image: messages::ImageMessage) -> Self {
        Self { id: image.id, tags: image.repo_tags, digests: image.repo_digests }
    }
}
