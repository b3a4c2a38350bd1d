//! The relevant fields of an AdmissionReview (`admission.k8s.io/v1`, `types.go`).

use std::borrow::Cow;

use image_swap_text::json::{JsonReader, Result};

use super::{
    error::{QuotedValue, ReviewError},
    pod::{AnnotationState, ImageList, PodView},
    settings::Settings,
};

/// A parsed AdmissionReview.
#[derive(Debug, Default)]
pub(super) struct Review<'b> {
    api_version: Option<Cow<'b, str>>,
    kind: Option<Cow<'b, str>>,
    request: Option<Request<'b>>,
}

/// The subject of a review, for the log. Fields that the request lacks are empty.
#[derive(Clone, Debug, Default)]
pub struct Subject<'b> {
    /// The request's identifier.
    pub uid: Cow<'b, str>,
    /// The object's namespace.
    pub namespace: Cow<'b, str>,
    /// The object's name; empty if the API server generates it later.
    pub name: Cow<'b, str>,
    /// The prefix of the name to be generated.
    pub generate_name: Cow<'b, str>,
    /// The object's kind, without its group.
    pub kind: Cow<'b, str>,
    /// The subresource; empty for the object itself.
    pub sub_resource: Cow<'b, str>,
    /// The operation, such as `CREATE` or `UPDATE`.
    pub operation: Cow<'b, str>,
    /// True for a dry run.
    pub dry_run: bool,
}

/// The request of a review. Fields that are absent, null or of another type are empty.
#[derive(Debug, Default)]
pub(super) struct Request<'b> {
    pub(super) uid: Cow<'b, str>,
    kind: Option<Type<'b>>,
    resource: Option<Type<'b>>,
    sub_resource: Cow<'b, str>,
    name: Cow<'b, str>,
    namespace: Cow<'b, str>,
    operation: Cow<'b, str>,
    dry_run: bool,
    /// The new object; `None` on DELETE.
    pub(super) object: Option<PodView<'b>>,
    /// The stored object; `None` on CREATE.
    pub(super) old_object: Option<PodView<'b>>,
}

/// The kind or the resource of a request. All relevant ones have a single version.
#[derive(Debug, Default)]
struct Type<'b> {
    group: Cow<'b, str>,
    name: Cow<'b, str>,
}

/// The images that a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReviewScope {
    /// All images of a new pod.
    Create,
    /// Container images of a pod that differ.
    Update,
    /// Images of ephemeral containers that differ.
    Ephemeral,
}

impl ReviewScope {
    /// Returns true if the request may change images of `list`.
    pub(super) const fn covers(self, list: ImageList) -> bool {
        match self {
            Self::Create | Self::Update => true,
            Self::Ephemeral => matches!(list, ImageList::EphemeralContainers),
        }
    }
}

impl<'b> Review<'b> {
    pub(super) fn read(
        body: &'b [u8],
        settings: &Settings,
    ) -> std::result::Result<Self, ReviewError> {
        let mut review = Self::default();
        let mut reader = JsonReader::new(body);
        let members = reader.members(|reader, key| {
            match key {
                b"apiVersion" => review.api_version = reader.string()?,
                b"kind" => review.kind = reader.string()?,
                b"request" => Request::read(reader, settings, &mut review.request)?,
                _ => reader.skip()?,
            }
            Ok(())
        });
        members.and_then(|_| reader.end()).map_err(|error| ReviewError::not_json(body, error))?;
        Ok(review)
    }

    /// Returns the request of a complete review.
    pub(super) fn into_request(self) -> std::result::Result<Request<'b>, ReviewError> {
        let Self { api_version, kind, request } = self;
        if kind.as_deref() != Some("AdmissionReview") {
            return Err(ReviewError::Kind(QuotedValue::new(kind.as_deref())));
        }
        if api_version.as_deref() != Some("admission.k8s.io/v1") {
            return Err(ReviewError::ApiVersion(QuotedValue::new(api_version.as_deref())));
        }
        let request = request.ok_or(ReviewError::NoRequest)?;
        if request.uid.is_empty() {
            return Err(ReviewError::NoUid);
        }
        let mut objects = request.object.iter().chain(&request.old_object);
        if objects.any(|object| object.has_too_many_images) {
            return Err(ReviewError::TooManyImages);
        }
        Ok(request)
    }
}

impl<'b> Request<'b> {
    /// Returns the request that creates `pod`, as JSON.
    pub(super) fn creation(
        pod: &'b [u8],
        settings: &Settings,
    ) -> std::result::Result<Self, ReviewError> {
        let mut request = Self {
            kind: Some(Type { group: Cow::Borrowed(""), name: Cow::Borrowed("Pod") }),
            operation: Cow::Borrowed("CREATE"),
            ..Self::default()
        };
        let mut reader = JsonReader::new(pod);
        let read = PodView::read(&mut reader, settings, &mut request.object);
        read.and_then(|()| reader.end()).map_err(|error| ReviewError::not_json(pod, error))?;
        Ok(request)
    }

    /// Parses the request in place into `found`; leaves `None` if the value is not an object.
    fn read(
        reader: &mut JsonReader<'b>,
        settings: &Settings,
        found: &mut Option<Self>,
    ) -> Result<()> {
        let request = found.insert(Self::default());
        let is_object = reader.members(|reader, key| {
            match key {
                b"uid" => request.uid = reader.string()?.unwrap_or_default(),
                b"kind" => request.kind = Type::read(reader)?,
                b"resource" => request.resource = Type::read(reader)?,
                b"subResource" => request.sub_resource = reader.string()?.unwrap_or_default(),
                b"name" => request.name = reader.string()?.unwrap_or_default(),
                b"namespace" => request.namespace = reader.string()?.unwrap_or_default(),
                b"operation" => request.operation = reader.string()?.unwrap_or_default(),
                b"dryRun" => request.dry_run = reader.bool()?.unwrap_or_default(),
                b"object" => PodView::read(reader, settings, &mut request.object)?,
                b"oldObject" => PodView::read(reader, settings, &mut request.old_object)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        if !is_object {
            *found = None;
        }
        Ok(())
    }

    /// Returns true for the controller's probe: a `ConfigMap` in a dry run, with annotations
    /// for the answer.
    pub(super) fn is_probe(&self) -> bool {
        let is_config_map = |kind: &Type<'_>| kind.group.is_empty() && kind.name == "ConfigMap";
        self.dry_run
            && self.operation == "CREATE"
            && self.kind.as_ref().is_some_and(is_config_map)
            && self.object.as_ref().is_some_and(|object| object.record == AnnotationState::Absent)
    }

    /// Returns the images that may change; `None` for a request without pods.
    pub(super) fn scope(&self) -> Option<ReviewScope> {
        // API servers always send kind and resource. A request by hand may leave them to the
        // object.
        let is_pods = |resource: &Type<'_>| resource.group.is_empty() && resource.name == "pods";
        if !self.resource.as_ref().is_none_or(is_pods) {
            return None;
        }
        let kind = match &self.kind {
            Some(kind) if kind.group.is_empty() => &kind.name,
            Some(_) => return None,
            None => self.object.as_ref().filter(|o| o.api_version == "v1").map(|o| &o.kind)?,
        };
        match (&**kind, &*self.sub_resource, &*self.operation) {
            ("Pod", "", "CREATE") => Some(ReviewScope::Create),
            ("Pod", "", "UPDATE") => Some(ReviewScope::Update),
            ("Pod", "ephemeralcontainers", "CREATE" | "UPDATE") => Some(ReviewScope::Ephemeral),
            _ => None,
        }
    }

    /// Returns the fields for the log.
    pub(super) fn into_subject(self) -> Subject<'b> {
        let object = self.object.unwrap_or_default();
        Subject {
            uid: self.uid,
            namespace: self.namespace,
            name: if self.name.is_empty() { object.name } else { self.name },
            generate_name: object.generate_name,
            kind: self.kind.map_or(object.kind, |kind| kind.name),
            sub_resource: self.sub_resource,
            operation: self.operation,
            dry_run: self.dry_run,
        }
    }
}

impl<'b> Type<'b> {
    fn read(reader: &mut JsonReader<'b>) -> Result<Option<Self>> {
        let mut kind = Self::default();
        let is_object = reader.members(|reader, key| {
            match key {
                b"group" => kind.group = reader.string()?.unwrap_or_default(),
                b"kind" | b"resource" => kind.name = reader.string()?.unwrap_or_default(),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(is_object.then_some(kind))
    }
}
