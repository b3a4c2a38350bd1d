//! Tests of draining: no accepted request is lost.

use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, header::CONNECTION};
use image_swap_serve::Drained;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Answer, Client, H1, H2, WebhookServer, full, mk_review, pieces, post, read_to_close, try_tls,
};

const LONG: Duration = Duration::from_mins(10);

/// A request whose body is incomplete.
struct UnfinishedRequest {
    rest: tokio::sync::mpsc::UnboundedSender<Bytes>,
    answer: tokio::task::JoinHandle<hyper::Result<hyper::Response<hyper::body::Incoming>>>,
}

impl UnfinishedRequest {
    /// Sends the first bytes of a review, and waits until the server has its headers.
    async fn on(site: &WebhookServer, client: &mut Client) -> Self {
        let (rest, body) = pieces();
        rest.send(Bytes::copy_from_slice(&mk_review("nginx")[..20])).unwrap();
        client.ready().await;
        let answer = tokio::spawn(client.begin(post(body)));
        site.in_flight(1).await;
        Self { rest, answer }
    }

    /// Sends the rest of the body, and returns the answer.
    async fn finish(self) -> Answer {
        self.rest.send(Bytes::copy_from_slice(&mk_review("nginx")[20..])).unwrap();
        drop(self.rest);
        Answer::read(self.answer.await.unwrap().unwrap()).await
    }
}

/// Waits until `/readyz` reports that the server is draining.
async fn wait_until_draining(site: &WebhookServer) {
    while site.probe("/readyz").await.status != StatusCode::SERVICE_UNAVAILABLE {
        tokio::task::yield_now().await;
    }
}

/// Waits until the port is closed.
async fn wait_until_closed(site: &WebhookServer) {
    while TcpStream::connect(site.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

// guarantee: 4f
#[tokio::test]
async fn request_finished_while_draining_is_answered() {
    for http2 in [false, true] {
        let mut site = WebhookServer::start_with(|limits| limits.linger = Duration::ZERO).await;
        let mut client = if http2 { site.h2().await } else { site.h1().await };
        let open = UnfinishedRequest::on(&site, &mut client).await;
        let drain = tokio::spawn(site.take().drain(LONG));
        wait_until_draining(&site).await;
        wait_until_closed(&site).await;
        let answer = open.finish().await;
        assert!(answer.swapped().is_some());
        if !http2 {
            assert_eq!(answer.headers[CONNECTION], "close");
        }
        client.closed().await;
        assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
    }
}

#[tokio::test]
async fn draining_server_is_alive_and_not_ready() {
    let mut site = WebhookServer::start().await;
    assert_eq!(site.probe("/readyz").await.status, StatusCode::OK);
    let mut client = site.h2().await;
    let open = UnfinishedRequest::on(&site, &mut client).await;
    let drain = tokio::spawn(site.take().drain(LONG));
    wait_until_draining(&site).await;
    assert!(site.probe("/readyz").await.text.contains("draining"));
    assert_eq!(site.probe("/healthz").await.status, StatusCode::OK);
    assert!(open.finish().await.swapped().is_some());
    drain.await.unwrap();
}

#[tokio::test]
async fn http2_client_gets_goaway_at_once() {
    let mut site = WebhookServer::start_with(|limits| limits.linger = LONG).await;
    let client = site.h2().await;
    let drain = tokio::spawn(site.take().drain(LONG));
    client.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

/// API servers move to another replica before a replica with a short grace period ends.
// guarantee: 4f
#[tokio::test]
async fn leaving_server_sends_goaway_and_still_accepts() {
    let mut site = WebhookServer::start_with(|limits| limits.goaway = LONG).await;
    let mut before = site.h2().await;
    assert!(before.review("nginx").await.swapped().is_some());
    let running = site.take();
    running.leave();
    before.closed().await;
    let mut after = site.h2().await;
    for _ in 0..2 {
        assert!(after.review("nginx").await.swapped().is_some());
    }
    let drain = tokio::spawn(running.drain(LONG));
    after.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

/// The connection of an API server stays open when its machine fails or its process is stopped.
#[tokio::test]
async fn silent_http2_client_does_not_delay_shutdown() {
    let mut site =
        WebhookServer::start_with(|limits| limits.goaway = Duration::from_millis(10)).await;
    let mut silent = site.tls(&[H2]).await;
    let mut settings = vec![0; 9];
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    silent.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "the first frame is SETTINGS");
    assert_eq!(site.take().drain(LONG).await, Drained { cut: 0 });
    read_to_close(&mut silent).await;
}

#[tokio::test]
async fn http1_client_gets_one_last_answer() {
    let mut site = WebhookServer::start_with(|limits| limits.linger = LONG).await;
    let mut client = site.h1().await;
    assert!(client.review("nginx").await.headers.get(CONNECTION).is_none());
    let drain = tokio::spawn(site.take().drain(LONG));
    wait_until_draining(&site).await;
    let last = client.review("nginx").await;
    assert!(last.swapped().is_some());
    assert_eq!(last.headers[CONNECTION], "close");
    client.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

/// API servers keep idle connections for the next review.
#[tokio::test]
async fn idle_connections_do_not_delay_shutdown() {
    let mut site = WebhookServer::start_with(|limits| {
        limits.linger = Duration::from_millis(10);
        limits.goaway = LONG;
    })
    .await;
    let (mut used, unused) = (site.h1().await, site.h1().await);
    let (mut used2, unused2) = (site.h2().await, site.h2().await);
    for client in [&mut used, &mut used2] {
        assert!(client.review("nginx").await.swapped().is_some());
    }
    assert_eq!(site.take().drain(LONG).await, Drained { cut: 0 });
    for client in [used, unused, used2, unused2] {
        client.closed().await;
    }
}

// guarantee: 4f
#[tokio::test]
async fn client_in_accept_queue_is_served() {
    let mut site = WebhookServer::start_with(|limits| limits.linger = LONG).await;
    // The kernel has accepted the connection. The server has not: it runs only when this test
    // awaits, at which time it is draining.
    let connected = std::net::TcpStream::connect(site.address).unwrap();
    let running = site.take();
    let mut drain = Box::pin(running.drain(LONG));
    tokio::select! {
        biased;
        _ = &mut drain => {}
        () = std::future::ready(()) => {}
    }
    let drain = tokio::spawn(drain);
    connected.set_nonblocking(true).unwrap();
    let connected = TcpStream::from_std(connected).unwrap();
    let stream = try_tls(connected, &site.authority.certificate_file(), &[H1]).await.unwrap();
    let mut client = Client::h1(stream).await;
    assert!(client.send(post(full(mk_review("nginx")))).await.swapped().is_some());
    client.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn unfinished_request_is_cut_at_the_deadline() {
    let mut site = WebhookServer::start().await;
    let mut client = site.h1().await;
    let open = UnfinishedRequest::on(&site, &mut client).await;
    let drained = site.take().drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained { cut: 1 });
    assert!(open.answer.await.unwrap().is_err());
    client.closed().await;
}

#[tokio::test]
async fn dropped_server_closes_its_port() {
    let mut site = WebhookServer::start().await;
    let client = site.h1().await;
    drop(site.take());
    client.closed().await;
    wait_until_closed(&site).await;
}
