//! Servers with a constant answer, for comparison with image-swap. They use the same stack without
//! limits and metrics.

use std::{
    convert::Infallible, hint::black_box, path::Path, str::FromStr, sync::Arc, time::SystemTime,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
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
    rule::{MapForm, RuleSet, parse},
};
use image_swap_serve::pki::{CertificateInForce, LocalAuthority};
use rustls::ServerConfig;
use serde::de::IgnoredAny;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Outcome, sample};

/// The use that a server makes of a request's body.
#[derive(Clone, Copy, Debug)]
enum Reads {
    /// No parsing: the server answers as soon as it has all bytes.
    Bytes,
    /// A pass of `serde_json` over the body, which keeps nothing.
    Json,
    /// The review's `uid`, which an API server expects in the answer.
    Uid,
}

impl FromStr for Reads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bytes" => Ok(Self::Bytes),
            "json" => Ok(Self::Json),
            "uid" => Ok(Self::Uid),
            _ => Err(format!("expected bytes, json or uid, found {text}")),
        }
    }
}

/// Serves at `listener` as `name`, with a certificate of the authority in `directory`,
/// until the process is killed. `reads` is `bytes`, `json` or `uid`.
///
/// # Errors
/// Returns an error if `reads` is another word, no certificate can be issued, or no connection can
/// be accepted.
pub async fn serve(
    reads: &str,
    directory: &Path,
    name: &str,
    listener: TcpListener,
) -> Outcome<()> {
    let reads = reads.parse()?;
    let authority = LocalAuthority::open(directory, SystemTime::now())?;
    let certificate = CertificateInForce::default();
    certificate.replace(authority.issue(&[name.to_owned()], SystemTime::now())?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));

    // The answer has as many bytes as that of image-swap.
    let rules = RuleSet::new(parse::rules(sample::RULES, MapForm::List).0);
    let constant = Bytes::from(review(&sample::review(), &rules, &Settings::default())?.body);
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, constant) = (tls.clone(), constant.clone());
        tokio::spawn(async move {
            // The error of a client that closes its connection is ignored.
            let _ = connection(stream, tls, constant, reads).await;
        });
    }
}

/// Serves one connection with the protocol of ALPN.
async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    constant: Bytes,
    reads: Reads,
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(request, constant.clone(), reads));
    if h2 {
        let http2 = http2::Builder::new(TokioExecutor::new());
        http2.serve_connection(TokioIo::new(stream), service).await?;
    } else {
        let mut http1 = http1::Builder::new();
        http1.header_read_timeout(None);
        http1.serve_connection(TokioIo::new(stream), service).await?;
    }
    Ok(())
}

/// Answers one request.
async fn answer(
    request: Request<Incoming>,
    constant: Bytes,
    reads: Reads,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let answer = match (body, reads) {
        (Ok(_), Reads::Bytes) => Some(constant),
        (Ok(body), Reads::Json) => {
            let _ = black_box(serde_json::from_slice::<IgnoredAny>(&body.to_bytes()));
            Some(constant)
        }
        (Ok(body), Reads::Uid) => with_uid(&constant, &body.to_bytes()),
        (Err(_), _) => None,
    };
    let mut response = Response::new(Full::default());
    match answer {
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
        Some(answer) => *response.body_mut() = Full::new(answer),
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

/// Returns the constant with the `uid` of a review; `None` if the review has none. It is the first
/// one in the body, because API servers write that of the request before all others.
fn with_uid(constant: &Bytes, body: &[u8]) -> Option<Bytes> {
    const KEY: &[u8] = b"\"uid\":\"";
    let start = body.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    let uid = str::from_utf8(body.get(start..start + sample::UID.len())?).ok()?;
    Some(str::from_utf8(constant).ok()?.replacen(sample::UID, uid, 1).into())
}
