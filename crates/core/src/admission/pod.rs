//! The fields of a pod (`core/v1`, `types.go`) that admission reads.

use std::borrow::Cow;

use image_swap_text::json::{JsonReader, Result};

use super::settings::Settings;
use crate::{
    labels, pull_secret,
    workload::{PULL_NEVER, exempt::PodExemption},
};

/// Maximal size of all annotations of an object, keys and values, in bytes. The API server
/// enforces it (`TotalAnnotationSizeLimitB` in `k8s.io/apimachinery`).
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Maximal number of images of one object. It exceeds the number in any pod within the API
/// server's size limit, and bounds the response.
pub(super) const IMAGES_MAX: usize = 10_000;

/// Number of images that needs no second allocation; most pods have fewer.
const IMAGES_COMMON: usize = 8;

/// The object of a request. An object that is not a pod has no images.
#[derive(Debug, Default)]
pub(super) struct PodView<'b> {
    pub(super) api_version: Cow<'b, str>,
    pub(super) kind: Cow<'b, str>,
    pub(super) name: Cow<'b, str>,
    pub(super) generate_name: Cow<'b, str>,
    /// State of the record of originals.
    pub(super) record: AnnotationState<'b>,
    /// State of the pod's list of pull Secrets.
    pub(super) pull_secrets: PullSecretList,
    /// True for a mirror pod.
    is_mirror: bool,
    /// True if the pod opts out by its label.
    is_disabled: bool,
    /// Exemption by an owner; `None` if no owner exempts the pod.
    exempt_owner: Option<PodExemption>,
    /// Exemption by a label; `None` if no label exempts the pod.
    exempt_label: Option<PodExemption>,
    /// True if the pod has a label, and an annotation, by which an injector selects pods.
    marked: [bool; 2],
    /// The annotations as JSON; empty without annotations.
    annotations: &'b [u8],
    /// All images of the object, in the order of the text.
    pub(super) images: Vec<PodImage<'b>>,
    /// True if the object has more than [`IMAGES_MAX`] images.
    pub(super) has_too_many_images: bool,
    /// Occurrences of each list key. For duplicate JSON keys the last one wins, as in Go's
    /// encoding/json.
    times: [u32; ImageList::COUNT],
}

/// The state of the annotation [`ORIGINAL_IMAGES`](crate::labels::ORIGINAL_IMAGES). The patch that
/// sets the annotation depends on it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum AnnotationState<'b> {
    /// The object has no `metadata`.
    #[default]
    NoMetadata,
    /// The object has no annotations.
    NoAnnotations,
    /// There are annotations, but this one is missing or not a string.
    Absent,
    /// The text of the annotation.
    Text(Cow<'b, str>),
    /// `metadata` or its annotations are of another type than an object.
    Blocked,
}

/// State of `spec.imagePullSecrets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PullSecretList {
    /// The list is missing or null.
    #[default]
    Absent,
    /// The list lacks image-swap's Secret.
    Incomplete,
    /// The list contains image-swap's Secret.
    Complete,
    /// The value is of another type than a list.
    Blocked,
}

/// A list in a pod that contains images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImageList {
    /// `spec.initContainers`
    InitContainers,
    /// `spec.containers`
    Containers,
    /// `spec.ephemeralContainers`
    EphemeralContainers,
    /// `spec.volumes`
    Volumes,
}

impl ImageList {
    const COUNT: usize = 4;
}

/// One image, and its position in the pod.
#[derive(Debug)]
pub(super) struct PodImage<'b> {
    pub(super) list: ImageList,
    /// Occurrence of the list, for a duplicate key.
    time: u32,
    /// Index of the image in its list, from 0.
    pub(super) index: usize,
    /// The name of the container or volume; empty if it has none.
    pub(super) name: Cow<'b, str>,
    /// Image in its original spelling; never empty.
    pub(super) written: Cow<'b, str>,
    /// True if the pull policy is `Never`: the node must have the image already.
    pub(super) never_pulled: bool,
}

impl<'b> PodView<'b> {
    /// Parses the object in place into `found`; leaves `None` if the value is not an object.
    pub(super) fn read(
        reader: &mut JsonReader<'b>,
        settings: &Settings,
        found: &mut Option<Self>,
    ) -> Result<()> {
        let object = found.insert(Self::default());
        let is_object = reader.members(|reader, key| {
            match key {
                b"apiVersion" => object.api_version = reader.string()?.unwrap_or_default(),
                b"kind" => object.kind = reader.string()?.unwrap_or_default(),
                b"metadata" => object.read_metadata(reader, settings)?,
                b"spec" => object.read_spec(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let Self { images, times, .. } = object;
        images.retain(|image| image.time == times[image.list as usize]);
        if !is_object {
            *found = None;
        }
        Ok(())
    }

    /// Returns true if the pod opts out or is a mirror pod, so that no patch changes it.
    pub(super) const fn opts_out(&self) -> bool {
        self.is_mirror || self.is_disabled
    }

    /// Returns the exemption of the whole pod, if it has one.
    pub(super) fn exemption(&self) -> Option<PodExemption> {
        self.exempt_owner.or(self.exempt_label)
    }

    /// Returns true for a pod that an injector selects.
    pub(super) const fn is_marked(&self) -> bool {
        self.marked[0] || self.marked[1]
    }

    /// Returns true if a record of `len` bytes fits into the annotations.
    pub(super) fn has_room_for(&self, len: usize) -> bool {
        let len = len + labels::ORIGINAL_IMAGES.len();
        // A text in JSON is never shorter than the text itself.
        if len + self.annotations.len() <= ANNOTATIONS_MAX {
            return true;
        }
        let mut total = len;
        let mut reader = JsonReader::new(self.annotations);
        let read = reader.members(|reader, key| {
            let value = reader.string()?.unwrap_or_default();
            if key != labels::ORIGINAL_IMAGES.as_bytes() {
                total += key.len() + value.len();
            }
            Ok(())
        });
        read.is_ok() && total <= ANNOTATIONS_MAX
    }

    fn read_metadata(&mut self, reader: &mut JsonReader<'b>, settings: &Settings) -> Result<()> {
        if reader.null()? {
            self.record = AnnotationState::NoMetadata;
            return Ok(());
        }
        self.record = AnnotationState::NoAnnotations;
        let is_object = reader.members(|reader, key| {
            match key {
                b"name" => self.name = reader.string()?.unwrap_or_default(),
                b"generateName" => self.generate_name = reader.string()?.unwrap_or_default(),
                b"annotations" => self.read_annotations(reader, settings)?,
                b"labels" => self.read_labels(reader, settings)?,
                b"ownerReferences" => self.read_owners(reader, settings)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        if !is_object {
            self.record = AnnotationState::Blocked;
        }
        Ok(())
    }

    fn read_annotations(&mut self, reader: &mut JsonReader<'b>, settings: &Settings) -> Result<()> {
        self.is_mirror = false;
        self.marked[1] = false;
        self.annotations = &[];
        if reader.null()? {
            self.record = AnnotationState::NoAnnotations;
            return Ok(());
        }
        self.record = AnnotationState::Absent;
        let start = reader.position();
        let is_object = reader.members(|reader, key| {
            if key == labels::ORIGINAL_IMAGES.as_bytes() {
                self.record =
                    reader.string()?.map_or(AnnotationState::Absent, AnnotationState::Text);
                return Ok(());
            }
            self.is_mirror |= key == labels::MIRROR_POD.as_bytes();
            self.marked[1] |= settings.exemptions.is_mark(key);
            reader.skip()
        })?;
        self.annotations = reader.since(start);
        if !is_object {
            self.record = AnnotationState::Blocked;
        }
        Ok(())
    }

    fn read_labels(&mut self, reader: &mut JsonReader<'b>, settings: &Settings) -> Result<()> {
        self.is_disabled = false;
        self.exempt_label = None;
        self.marked[0] = false;
        let exemptions = &settings.exemptions;
        reader.members(|reader, key| {
            let is_switch = key == settings.disable_label.as_bytes();
            if !is_switch && !exemptions.has_label(key) {
                self.marked[0] |= exemptions.is_mark(key);
                return reader.skip();
            }
            let value = reader.string()?;
            if is_switch {
                self.is_disabled = value.as_deref() == Some(labels::DISABLED);
            }
            if let Some(value) = value {
                self.exempt_label = exemptions.label(key, &value).or(self.exempt_label);
            }
            Ok(())
        })?;
        Ok(())
    }

    fn read_owners(&mut self, reader: &mut JsonReader<'b>, settings: &Settings) -> Result<()> {
        self.exempt_owner = None;
        reader.items(|reader, _| {
            let (mut api_version, mut kind) = (Cow::default(), Cow::default());
            reader.members(|reader, key| {
                match key {
                    b"apiVersion" => api_version = reader.raw_string()?.unwrap_or_default(),
                    b"kind" => kind = reader.raw_string()?.unwrap_or_default(),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            if let Some(found) = settings.exemptions.owner(&api_version, &kind) {
                self.exempt_owner.get_or_insert(found);
            }
            Ok(())
        })?;
        Ok(())
    }

    fn read_spec(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        for time in &mut self.times {
            *time += 1;
        }
        self.pull_secrets = PullSecretList::Absent;
        reader.members(|reader, key| match key {
            b"initContainers" => self.read_list(reader, ImageList::InitContainers),
            b"containers" => self.read_list(reader, ImageList::Containers),
            b"ephemeralContainers" => self.read_list(reader, ImageList::EphemeralContainers),
            b"volumes" => self.read_list(reader, ImageList::Volumes),
            b"imagePullSecrets" => self.read_pull_secrets(reader),
            _ => reader.skip(),
        })?;
        Ok(())
    }

    fn read_pull_secrets(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        self.pull_secrets = PullSecretList::Absent;
        if reader.null()? {
            return Ok(());
        }
        let mut has_own = false;
        let is_list = reader.items(|reader, _| {
            reader.members(|reader, key| {
                if key == b"name" {
                    has_own |= reader.string()?.as_deref() == Some(pull_secret::NAME);
                    return Ok(());
                }
                reader.skip()
            })?;
            Ok(())
        })?;
        self.pull_secrets = match (is_list, has_own) {
            (false, _) => PullSecretList::Blocked,
            (true, false) => PullSecretList::Incomplete,
            (true, true) => PullSecretList::Complete,
        };
        Ok(())
    }

    fn read_list(&mut self, reader: &mut JsonReader<'b>, list: ImageList) -> Result<()> {
        self.times[list as usize] += 1;
        let time = self.times[list as usize];
        if self.images.capacity() == 0 {
            self.images.reserve(IMAGES_COMMON);
        }
        reader.items(|reader, index| {
            let mut item = PodImage {
                list,
                time,
                index,
                name: Cow::default(),
                written: Cow::default(),
                never_pulled: false,
            };
            match list {
                ImageList::Volumes => item.read_volume(reader)?,
                _ => item.read_container(reader)?,
            }
            if item.written.is_empty() {
                return Ok(());
            }
            if self.images.len() < IMAGES_MAX {
                self.images.push(item);
            } else {
                self.has_too_many_images = true;
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl<'b> PodImage<'b> {
    fn read_container(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        reader.members(|reader, key| {
            match key {
                b"name" => self.name = reader.string()?.unwrap_or_default(),
                b"image" => self.written = reader.string()?.unwrap_or_default(),
                b"imagePullPolicy" => self.read_pull_policy(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn read_volume(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        reader.members(|reader, key| {
            match key {
                b"name" => self.name = reader.string()?.unwrap_or_default(),
                b"image" => self.read_image_volume(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn read_image_volume(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        self.written = Cow::default();
        reader.members(|reader, key| {
            match key {
                b"reference" => self.written = reader.string()?.unwrap_or_default(),
                b"pullPolicy" => self.read_pull_policy(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn read_pull_policy(&mut self, reader: &mut JsonReader<'b>) -> Result<()> {
        self.never_pulled = reader.raw_string()?.as_deref() == Some(PULL_NEVER.as_bytes());
        Ok(())
    }

    /// Returns the key of the image in the record of originals; `None` if the container has no
    /// name.
    pub(super) fn record_key(&self) -> Option<Cow<'_, str>> {
        if self.name.is_empty() {
            return None;
        }
        Some(match self.list {
            ImageList::Volumes => Cow::Owned(format!("volume:{}", self.name)),
            _ => Cow::Borrowed(&self.name),
        })
    }
}
