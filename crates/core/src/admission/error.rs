//! Errors of requests that are not valid reviews.

use std::fmt;

use image_swap_text::{json::SyntaxError, position::Position};

use super::pod::IMAGES_MAX;

/// An invalid request to the webhook, answered with HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The body is invalid JSON.
    #[error("expected an AdmissionReview, found invalid JSON: line {}, column {}: {error}", place.line, place.column)]
    NotJson {
        /// Position at which parsing stopped.
        place: Position,
        /// The syntax error at that position.
        error: Box<SyntaxError>,
    },
    /// The body is an object of another kind, or not an object.
    #[error("expected kind AdmissionReview, found {0}")]
    Kind(QuotedValue),
    /// A version of AdmissionReview that the webhook was not registered for.
    #[error("expected apiVersion admission.k8s.io/v1, found {0}")]
    ApiVersion(QuotedValue),
    /// A review without a request.
    #[error("'request' is missing or is not an object")]
    NoRequest,
    /// A request without the UID, which a response must repeat.
    #[error("'request.uid' is missing or is not a string")]
    NoUid,
    /// A pod with more images than any real pod has.
    #[error("expected at most {IMAGES_MAX} images in one object, found more")]
    TooManyImages,
}

impl ReviewError {
    /// Creates the error for `body`, which is invalid JSON.
    pub(super) fn not_json(body: &[u8], error: Box<SyntaxError>) -> Self {
        Self::NotJson { place: error.place(body), error }
    }
}

/// The value of a field of the body; `None` if it cannot be quoted. A body is never quoted at
/// length, since it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotedValue(Option<String>);

impl QuotedValue {
    /// Maximal length of a quoted value, in bytes.
    const LEN_MAX: usize = 48;

    pub(super) fn new(text: Option<&str>) -> Self {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-');
        Self(text.map(|text| {
            let can_be_quoted = text.len() <= Self::LEN_MAX && text.bytes().all(is_name);
            if can_be_quoted { format!("'{text}'") } else { "another value".to_owned() }
        }))
    }
}

impl fmt::Display for QuotedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("none"))
    }
}
