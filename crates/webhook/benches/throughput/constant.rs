//! The servers that ours is compared with: the same stack, no limits, no
//! metrics, and always the same answer. One reads the bytes of the body, the
//! other reads them as JSON, too.

use std::{
    convert::Infallible, hint::black_box, net::Ipv4Addr, path::Path, sync::Arc, time::SystemTime,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
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
use serde::de::IgnoredAny;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{Outcome, process, sample};

/// What becomes of a body before the constant is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    /// Nothing.
    Bytes,
    /// A pass of `serde_json` that keeps nothing.
    Json,
}

/// Serves until it is killed.
pub(crate) async fn serve(directory: &Path, reads: Reads) -> Outcome<()> {
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

    // What ours would answer, so that both send as much.
    let rules = RuleSet::new(map::parse(sample::RULES, Form::List).0);
    let constant = Bytes::from(review(&sample::review(), &rules, &Settings::default())?.body);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    process::announce(address, address);
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, constant) = (tls.clone(), constant.clone());
        tokio::spawn(async move {
            // A client that is gone is no concern of the measurement.
            let _ = connection(stream, tls, constant, reads).await;
        });
    }
}

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

async fn answer(
    request: Request<Incoming>,
    constant: Bytes,
    reads: Reads,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    if let (Ok(body), Reads::Json) = (body, reads) {
        let _ = black_box(serde_json::from_slice::<IgnoredAny>(&body.to_bytes()));
    }
    let mut response = Response::new(Full::new(constant));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
