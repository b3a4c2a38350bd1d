//! Tests with slow, broken and malicious clients, which must not disturb others.

use std::time::Duration;

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{H1, H2, WebhookServer, mk_review, pieces, post, read_to_close};

#[tokio::test]
async fn client_without_handshake_is_disconnected() {
    let site =
        WebhookServer::start_with(|limits| limits.handshake = Duration::from_millis(100)).await;
    let mut silent = site.tcp().await;
    assert!(site.swapped("nginx").await.is_some());
    assert!(read_to_close(&mut silent).await.is_empty());
    assert_eq!(site.metric("image_swap_handshake_failures_total").await, Some(1.0));
}

#[tokio::test]
async fn plain_http_and_noise_close_their_connection() {
    let site = WebhookServer::start().await;
    let mut other = site.h1().await;
    for noise in [&b"POST /mutate HTTP/1.1\r\nhost: a\r\n\r\n"[..], &[0; 64], &[0xff; 4096]] {
        let mut stream = site.tcp().await;
        stream.write_all(noise).await.unwrap();
        read_to_close(&mut stream).await;
        assert!(other.review("nginx").await.swapped().is_some());
    }
    assert_eq!(site.metric("image_swap_handshake_failures_total").await, Some(3.0));
}

#[tokio::test]
async fn client_without_trust_is_counted() {
    let site = WebhookServer::start().await;
    let stranger = WebhookServer::start().await;
    let file = stranger.authority.certificate_file();
    assert!(crate::support::try_tls(site.tcp().await, &file, &[H1]).await.is_err());
    // The server reads the alert after the client's `connect` has returned.
    while site.metric("image_swap_handshake_failures_total").await != Some(1.0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn client_with_slow_headers_is_disconnected() {
    let site = WebhookServer::start_with(|limits| limits.header = Duration::from_millis(50)).await;
    let mut slow = site.tls(&[H1]).await;
    slow.write_all(b"POST /mutate HTTP/1.1\r\nhost: a\r\nx-drip: ").await.unwrap();
    assert!(site.swapped("nginx").await.is_some());
    assert!(read_to_close(&mut slow).await.is_empty());
}

#[tokio::test]
async fn client_with_slow_second_request_is_disconnected() {
    let site = WebhookServer::start_with(|limits| limits.header = Duration::from_millis(50)).await;
    let mut slow = site.tls(&[H1]).await;
    let review = mk_review("nginx");
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        review.len()
    );
    slow.write_all(&[head.as_bytes(), &review].concat()).await.unwrap();
    let mut first = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut slow, &mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    slow.write_all(b"POST /mut").await.unwrap();
    read_to_close(&mut slow).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn http2_client_without_preface_is_disconnected() {
    let site = WebhookServer::start_with(|limits| {
        limits.idle = Duration::from_millis(100);
        limits.header = Duration::from_millis(50);
    })
    .await;
    let mut silent = site.tls(&[H2]).await;
    read_to_close(&mut silent).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn http1_request_on_http2_connection_is_disconnected() {
    let site = WebhookServer::start().await;
    let mut confused = site.tls(&[H2]).await;
    confused.write_all(b"POST /mutate HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_to_close(&mut confused).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn half_closed_client_gets_its_answer() {
    let site = WebhookServer::start().await;
    let mut stream = site.tls(&[H1]).await;
    let review = mk_review("nginx");
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        review.len()
    );
    stream.write_all(&[head.as_bytes(), &review].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = String::from_utf8(read_to_close(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn abandoned_requests_release_their_places() {
    // More clients than places for requests.
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_mins(10)).await;
    for number in 0..300 {
        let mut client = if number % 2 == 0 { site.h1().await } else { site.h2().await };
        let (sender, body) = pieces();
        sender.send(Bytes::from_static(b"{")).unwrap();
        client.ready().await;
        let answer = tokio::spawn(client.begin(post(body)));
        tokio::task::yield_now().await;
        client.vanish();
        answer.abort();
    }
    assert!(site.swapped("nginx").await.is_some());
}

// guarantee: 4g
#[tokio::test]
async fn silent_clients_block_no_review() {
    let site = WebhookServer::start_with(|limits| limits.connections = 8).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(site.tcp().await);
    }
    assert!(site.swapped("nginx").await.is_some());
}

// guarantee: 4g
#[tokio::test]
async fn silent_clients_block_no_probe() {
    let site = WebhookServer::start().await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(site.admin).await.unwrap());
    }
    assert_eq!(site.probe("/readyz").await.status, 200);
    // The first connection was closed to make room.
    read_to_close(&mut crowd[0]).await;
}
