//! The webhook that ours is compared with: the same stack, no limits, no
//! metrics, and always the patch that ours answers. Of a review it reads the
//! `uid` alone, since the API server wants that back.

use std::{convert::Infallible, net::Ipv4Addr, path::Path, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use image_swap_core::{
    admission::{Settings, review},
    rule::{Form, RuleSet, map},
};
use image_swap_webhook::{Authority, CertificateInForce};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Outcome, sample};

/// Where the `uid` stands in the constant.
const UID: &str = "00000000-0000-0000-0000-000000000000";

/// Serves until it is killed.
pub(crate) async fn serve(directory: &Path, port: u16) -> Outcome<()> {
    let authority = Authority::open(directory, SystemTime::now())?;
    let certificate = CertificateInForce::default();
    certificate.replace(authority.issue(&["127.0.0.1".to_owned()], SystemTime::now())?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));

    let rules = RuleSet::new(map::parse(sample::RULES, Form::List).0);
    let asked = sample::review(UID).to_string();
    let answer = review(asked.as_bytes(), &rules, &Settings::default())?.body;
    let answer: Arc<str> = String::from_utf8(answer)?.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, answer) = (tls.clone(), Arc::clone(&answer));
        tokio::spawn(async move {
            // A client that is gone is no concern of the measurement.
            let _ = connection(stream, tls, answer).await;
        });
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, answer: Arc<str>) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| respond(request, Arc::clone(&answer)));
    if h2 {
        let http2 = http2::Builder::new(TokioExecutor::new());
        http2.serve_connection(TokioIo::new(stream), service).await?;
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    }
    Ok(())
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<str>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(Collected::to_bytes);
    let uid = body.as_ref().ok().and_then(|body| uid(body));
    let mut response = Response::new(Full::default());
    match uid {
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
        Some(uid) => *response.body_mut() = Full::new(answer.replacen(UID, uid, 1).into()),
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// The first `uid` of a review: API servers write the request's before all others.
fn uid(body: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"uid\":\"";
    let start = body.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    str::from_utf8(body.get(start..start + UID.len())?).ok()
}
