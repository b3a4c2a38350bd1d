//! The end: nothing that was accepted is lost.

use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, header::CONNECTION};
use image_swap_serve::Drained;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Answer, Client, H1, H2, Site, full, mk_review, pieces, post, read_to_close, try_tls,
};

const LONG: Duration = Duration::from_mins(10);

/// A request that has been begun and can be finished.
struct Begun {
    rest: tokio::sync::mpsc::UnboundedSender<Bytes>,
    answer: tokio::task::JoinHandle<hyper::Result<hyper::Response<hyper::body::Incoming>>>,
}

impl Begun {
    async fn on(site: &Site, client: &mut Client) -> Self {
        let (rest, body) = pieces();
        rest.send(Bytes::copy_from_slice(&mk_review("nginx")[..20])).unwrap();
        client.ready().await;
        let answer = tokio::spawn(client.begin(post(body)));
        site.in_flight(1).await;
        Self { rest, answer }
    }

    async fn finish(self) -> Answer {
        self.rest.send(Bytes::copy_from_slice(&mk_review("nginx")[20..])).unwrap();
        drop(self.rest);
        Answer::read(self.answer.await.unwrap().unwrap()).await
    }
}

/// Waits until `/readyz` says that the server is leaving.
async fn draining(site: &Site) {
    while site.probe("/readyz").await.status != StatusCode::SERVICE_UNAVAILABLE {
        tokio::task::yield_now().await;
    }
}

/// Waits until nobody listens.
async fn deaf(site: &Site) {
    while TcpStream::connect(site.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_whose_body_ends_after_the_signal_is_answered() {
    for http2 in [false, true] {
        let mut site = Site::start_with(|limits| limits.linger = Duration::ZERO).await;
        let mut client = if http2 { site.h2().await } else { site.h1().await };
        let begun = Begun::on(&site, &mut client).await;
        let drain = tokio::spawn(site.take().drain(LONG));
        draining(&site).await;
        deaf(&site).await;
        let answer = begun.finish().await;
        assert!(answer.swapped().is_some());
        if !http2 {
            assert_eq!(answer.headers[CONNECTION], "close");
        }
        client.closed().await;
        assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
    }
}

#[tokio::test]
async fn while_draining_it_is_alive_and_not_ready() {
    let mut site = Site::start().await;
    assert_eq!(site.probe("/readyz").await.status, StatusCode::OK);
    let mut client = site.h2().await;
    let begun = Begun::on(&site, &mut client).await;
    let drain = tokio::spawn(site.take().drain(LONG));
    draining(&site).await;
    assert!(site.probe("/readyz").await.text.contains("draining"));
    assert_eq!(site.probe("/healthz").await.status, StatusCode::OK);
    assert!(begun.finish().await.swapped().is_some());
    drain.await.unwrap();
}

#[tokio::test]
async fn an_http_2_client_is_told_to_go_at_once() {
    let mut site = Site::start_with(|limits| limits.linger = LONG).await;
    let client = site.h2().await;
    let drain = tokio::spawn(site.take().drain(LONG));
    client.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

/// So that a replica that is given little time to end is not asked until its last moment.
#[tokio::test]
async fn who_was_connected_by_http_2_is_told_to_go_while_others_are_still_accepted() {
    let mut site = Site::start_with(|limits| limits.farewell = LONG).await;
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

/// An API server whose machine is gone, or that was stopped: the connection stays.
#[tokio::test]
async fn an_http_2_client_that_answers_nothing_does_not_keep_it_from_leaving() {
    let mut site = Site::start_with(|limits| limits.farewell = Duration::from_millis(10)).await;
    let mut silent = site.tls(&[H2]).await;
    let mut settings = vec![0; 9];
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    silent.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "the server's settings, to which there is no answer either");
    assert_eq!(site.take().drain(LONG).await, Drained { cut: 0 });
    read_to_close(&mut silent).await;
}

#[tokio::test]
async fn an_http_1_1_client_may_ask_once_more_and_is_told_that_it_was_the_last_time() {
    let mut site = Site::start_with(|limits| limits.linger = LONG).await;
    let mut client = site.h1().await;
    assert!(client.review("nginx").await.headers.get(CONNECTION).is_none());
    let drain = tokio::spawn(site.take().drain(LONG));
    draining(&site).await;
    let last = client.review("nginx").await;
    assert!(last.swapped().is_some());
    assert_eq!(last.headers[CONNECTION], "close");
    client.closed().await;
    assert_eq!(drain.await.unwrap(), Drained { cut: 0 });
}

/// As API servers keep theirs for the next review.
#[tokio::test]
async fn idle_connections_do_not_keep_it_from_leaving() {
    let mut site = Site::start_with(|limits| {
        limits.linger = Duration::from_millis(10);
        limits.farewell = LONG;
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

#[tokio::test]
async fn a_client_that_had_connected_is_served() {
    let mut site = Site::start_with(|limits| limits.linger = LONG).await;
    // Known to the kernel, but not yet to the server, which this call does not
    // let run until it is draining.
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
async fn what_does_not_end_in_time_is_cut() {
    let mut site = Site::start().await;
    let mut client = site.h1().await;
    let begun = Begun::on(&site, &mut client).await;
    let drained = site.take().drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained { cut: 1 });
    assert!(begun.answer.await.unwrap().is_err());
    client.closed().await;
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone() {
    let mut site = Site::start().await;
    let client = site.h1().await;
    drop(site.take());
    client.closed().await;
    deaf(&site).await;
}
