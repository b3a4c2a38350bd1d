//! The handler of requests to the TLS port.

use std::{sync::Arc, time::Instant};

use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, EXPECT, HeaderValue},
    http::request::Parts,
};
use image_swap_core::{
    admission::{self, ReviewError},
    machine_template::{self, TemplateReviewError},
    rule::RuleSet,
};
use image_swap_serve::{
    COMMON_BODY, Handler, InFlightRequest, Limits, PendingReply,
    body::{self, BodyError},
    reply::{self, Reply},
};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::{
    metrics::AdmissionMetrics, rules::RulesInForce, settings::SettingsInForce,
    templates::TemplateNamespaces,
};

/// The path of reviews of machine templates.
const TEMPLATES: &str = "/bootstrap";

/// The handler of review requests.
pub(crate) struct Routes {
    pub(crate) rules: RulesInForce,
    pub(crate) settings: SettingsInForce,
    pub(crate) templates: TemplateNamespaces,
    pub(crate) metrics: Arc<AdmissionMetrics>,
    pub(crate) limits: Limits,
    /// Permits for reviews of large bodies.
    pub(crate) large: Arc<Semaphore>,
}

/// An error that answers a request in place of a review.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("expected the path /mutate, /bootstrap or /, found another")]
    Path,
    #[error("expected the method POST, found {0}")]
    Method(Method),
    #[error("expected the content type application/json, found {0}")]
    ContentType(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("no declaration is loaded yet")]
    NoRules,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error(transparent)]
    Template(#[from] TemplateReviewError),
    #[error("cannot finish the review")]
    Unfinished,
}

impl RequestError {
    /// Returns the HTTP status that reports this error.
    const fn status(&self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::TooSlow { .. }) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::CutOff(_)) | Self::Review(_) | Self::Template(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Body(BodyError::NoRoom) | Self::NoRules => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unfinished => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns true if the request was rejected before its body was read.
    const fn is_early(&self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::Method(_)
                | Self::ContentType(_)
                | Self::Body(BodyError::TooLarge { .. })
        )
    }

    /// Returns the answer that reports this error, with `Allow` for a wrong method.
    fn reply(&self) -> Reply {
        let mut reply = reply::message(self.status(), &self.to_string());
        if matches!(self, Self::Method(_)) {
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        reply
    }
}

impl Handler for Routes {
    fn handle<'a>(
        &'a self,
        request: Request<Incoming>,
        work: &'a mut InFlightRequest,
    ) -> PendingReply<'a> {
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            match self.answer(&head, &mut body, work).await {
                Ok(answer) => reply::json(StatusCode::OK, answer),
                Err(refusal) => {
                    debug!(status = refusal.status().as_u16(), %refusal, "request refused");
                    // A client that expects `100 Continue` does not send its body.
                    if refusal.is_early() && !head.headers.contains_key(EXPECT) {
                        body::discard(&mut body, work, &self.limits).await;
                    }
                    refusal.reply()
                }
            }
        })
    }
}

impl Routes {
    /// Checks and reads a request, and returns the `AdmissionReview` that answers it.
    async fn answer(
        &self,
        head: &Parts,
        body: &mut Incoming,
        work: &mut InFlightRequest,
    ) -> Result<Vec<u8>, RequestError> {
        // API servers add a query, `?timeout=5s`, which is ignored.
        if !matches!(head.uri.path(), "/mutate" | "/" | TEMPLATES) {
            return Err(RequestError::Path);
        }
        if head.method != Method::POST {
            return Err(RequestError::Method(head.method.clone()));
        }
        content_type(head)?;
        let bytes = body::read(body, work, &self.limits).await?;
        if head.uri.path() == TEMPLATES {
            return self.review_template(bytes, work).await;
        }
        // A common review takes some 20 µs, less than a change of threads. The worst body of this
        // size, nothing but images, takes a millisecond. A larger one must not block the other
        // connections of this thread.
        if bytes.len() <= COMMON_BODY {
            let rules = self.rules.now();
            let rules = rules.as_ref().ok_or(RequestError::NoRules)?;
            return Ok(review(&bytes, rules, &self.settings, &self.metrics)?);
        }
        let rules = self.rules.current().ok_or(RequestError::NoRules)?;
        let (settings, metrics) = (self.settings.clone(), Arc::clone(&self.metrics));
        let permit = Arc::clone(&self.large).acquire_owned().await;
        let charge = work.split();
        let answer = tokio::task::spawn_blocking(move || {
            // The memory stays charged if the client disconnects during the review.
            let _held = (permit, charge);
            review(&bytes, &rules, &settings, &metrics)
        });
        Ok(answer.await.map_err(|_| RequestError::Unfinished)??)
    }
}

impl Routes {
    /// Reviews a machine template. Templates are rare and large, so another thread reviews all of
    /// them.
    async fn review_template(
        &self,
        bytes: Bytes,
        work: &mut InFlightRequest,
    ) -> Result<Vec<u8>, RequestError> {
        let namespaces = self.templates.current();
        let permit = Arc::clone(&self.large).acquire_owned().await;
        let charge = work.split();
        let answer = tokio::task::spawn_blocking(move || {
            let _held = (permit, charge);
            machine_template::review(&bytes, &namespaces)
        });
        let reviewed = answer.await.map_err(|_| RequestError::Unfinished)??;
        debug!(patched = reviewed.patched, "reviewed a machine template");
        Ok(reviewed.body)
    }
}

/// Returns the answer to the review `body`. Logs and counts it.
fn review(
    body: &[u8],
    rules: &RuleSet,
    settings: &SettingsInForce,
    metrics: &AdmissionMetrics,
) -> Result<Vec<u8>, ReviewError> {
    let begun = Instant::now();
    let reviewed = admission::review(body, rules, &settings.now())?;
    metrics.admission(begun.elapsed(), &reviewed.decisions);
    let subject = &reviewed.subject;
    debug!(
        uid = %subject.uid,
        operation = %subject.operation,
        kind = %subject.kind,
        namespace = %subject.namespace,
        name = %subject.name,
        generate_name = %subject.generate_name,
        changed = reviewed.changed,
        patched = reviewed.patched,
        "reviewed"
    );
    Ok(reviewed.body)
}

/// Checks that the content type is `application/json`, with or without parameters.
fn content_type(head: &Parts) -> Result<(), RequestError> {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return Err(RequestError::ContentType("none".to_owned()));
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        return Ok(());
    }
    // A message quotes at most 64 bytes, enough for any usual content type.
    let found = essence.get(..64).unwrap_or(essence);
    Err(RequestError::ContentType(String::from_utf8_lossy(found).into_owned()))
}
