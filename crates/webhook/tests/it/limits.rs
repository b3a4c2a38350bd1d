//! Tests of the limits on clients: bytes, time, streams and connections.

use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, header::CONTENT_LENGTH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Answer, H2, WebhookServer, full, mk_review, pieces, post, read_to_close};

const LIMIT: usize = 8 << 20;

#[tokio::test]
async fn body_over_8_mib_is_too_large() {
    let site = WebhookServer::start().await;
    // The whole body is read, and is invalid JSON.
    let fits = site.h2().await.send(post(full(vec![b' '; LIMIT]))).await;
    fits.refused(StatusCode::BAD_REQUEST);
    for mut client in [site.h1().await, site.h2().await] {
        let larger = client.send(post(full(vec![b' '; LIMIT + 1]))).await;
        let message = larger.refused(StatusCode::PAYLOAD_TOO_LARGE);
        assert!(message.contains("8388608"), "{message}");
        // The connection stays usable.
        assert!(client.review("nginx").await.swapped().is_some());
    }
}

#[tokio::test]
async fn body_without_a_length_is_limited() {
    let site = WebhookServer::start_with(|limits| limits.body_bytes = 200_000).await;
    for mut client in [site.h1().await, site.h2().await] {
        let (sender, body) = pieces();
        for _ in 0..201 {
            sender.send(Bytes::from(vec![b' '; 1000])).unwrap();
        }
        drop(sender);
        client.send(post(body)).await.refused(StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn body_after_expect_is_rejected_before_sending() {
    let site = WebhookServer::start().await;
    let mut stream = site.tls(&[b"http/1.1"]).await;
    let head = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 8388609\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_to_close(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn slow_body_closes_its_connection() {
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_millis(100)).await;
    let mut client = site.h1().await;
    let (sender, body) = pieces();
    sender.send(Bytes::from_static(b"{")).unwrap();
    client.send(post(body)).await.refused(StatusCode::REQUEST_TIMEOUT);
    client.closed().await;
}

#[tokio::test]
async fn slow_http2_body_disturbs_no_other_stream() {
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_millis(100)).await;
    let mut client = site.h2().await;
    let (sender, body) = pieces();
    sender.send(Bytes::from_static(b"{")).unwrap();
    let slow = client.begin(post(body));
    assert!(client.review("nginx").await.swapped().is_some());
    Answer::read(slow.await.unwrap()).await.refused(StatusCode::REQUEST_TIMEOUT);
    assert!(client.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn headers_over_the_limit_are_rejected() {
    let site = WebhookServer::start().await;
    let large = "x".repeat(20_000);
    let mut stream = site.tls(&[b"http/1.1"]).await;
    let head = format!("POST /mutate HTTP/1.1\r\nhost: a\r\nlarge: {large}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_to_close(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let mut client = site.h2().await;
    let mut request = post(full(mk_review("nginx")));
    request.headers_mut().insert("large", large.parse().unwrap());
    let answer = client.send(request).await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(client.review("nginx").await.swapped().is_some());
}

/// Returns the value of the HTTP/2 setting `wanted` in the server's first frame (RFC 9113, 6.5).
async fn setting(site: &WebhookServer, wanted: u16) -> u32 {
    let mut stream = site.tls(&[H2]).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut settings).await.unwrap();
    let found = settings.chunks_exact(6).find(|one| one[..2] == wanted.to_be_bytes()).unwrap();
    u32::from_be_bytes(found[2..].try_into().unwrap())
}

#[tokio::test]
async fn http2_settings_contain_the_limits() {
    let site = WebhookServer::start().await;
    assert_eq!(setting(&site, 3).await, 32, "SETTINGS_MAX_CONCURRENT_STREAMS");
    assert_eq!(setting(&site, 6).await, 8 * 1024, "SETTINGS_MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn excess_streams_wait_their_turn() {
    let site = WebhookServer::start_with(|limits| limits.streams = 2).await;
    let mut client = site.h2().await;
    // The client has the server's SETTINGS for certain after the first answer.
    assert!(client.review("nginx").await.swapped().is_some());
    let mut answers = Vec::new();
    for _ in 0..20 {
        client.ready().await;
        answers.push(client.begin(post(full(mk_review("nginx")))));
    }
    for answer in answers {
        assert!(Answer::read(answer.await.unwrap()).await.swapped().is_some());
    }
}

#[tokio::test]
async fn unused_connection_makes_room_first() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 2;
        limits.linger = Duration::from_hours(1);
        limits.grace = Duration::ZERO;
    })
    .await;
    let mut used = site.h2().await;
    assert!(used.review("nginx").await.swapped().is_some());
    let unused = site.h1().await;
    assert!(site.swapped("nginx").await.is_some());
    unused.closed().await;
    assert!(used.review("nginx").await.swapped().is_some());
}

/// A client that sends a request from time to time never becomes idle for long.
#[tokio::test]
async fn recently_used_connection_makes_room_eventually() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 2;
        limits.linger = Duration::from_hours(1);
    })
    .await;
    let (mut one, mut two) = (site.h1().await, site.h1().await);
    for client in [&mut one, &mut two] {
        assert!(client.review("nginx").await.swapped().is_some());
    }
    assert!(site.swapped("nginx").await.is_some());
    one.closed().await;
}

#[tokio::test]
async fn long_idle_connection_makes_room() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 1;
        limits.linger = Duration::from_millis(50);
    })
    .await;
    let mut used = site.h1().await;
    assert!(used.review("nginx").await.swapped().is_some());
    assert!(site.swapped("nginx").await.is_some());
    used.closed().await;
}

#[tokio::test]
async fn oldest_unfinished_body_makes_room() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 2;
        limits.grace = Duration::ZERO;
    })
    .await;
    let (mut old, mut young) = (site.h1().await, site.h1().await);
    let (rest, body) = pieces();
    rest.send(Bytes::from_static(b"{")).unwrap();
    old.ready().await;
    let answer = tokio::spawn(old.begin(post(body)));
    site.in_flight(1).await;
    assert!(young.review("nginx").await.swapped().is_some());
    assert!(site.swapped("nginx").await.is_some());
    assert!(answer.await.unwrap().is_err());
    assert!(young.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let site = WebhookServer::start_with(|limits| {
        limits.idle = Duration::from_secs(2);
        limits.header = Duration::from_secs(1);
    })
    .await;
    let mut used = site.h1().await;
    assert!(used.review("nginx").await.swapped().is_some());
    let (one, two) = (site.h1().await, site.h2().await);
    one.closed().await;
    two.closed().await;
    used.closed().await;
}

#[tokio::test]
async fn huge_announced_length_is_too_large() {
    let site = WebhookServer::start().await;
    let mut request = post(full(mk_review("nginx")));
    request.headers_mut().insert(CONTENT_LENGTH, u64::MAX.to_string().parse().unwrap());
    let mut stream = site.tls(&[b"http/1.1"]).await;
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        u64::MAX - 2
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = String::from_utf8(read_to_close(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
