//! Clients that are slow, broken or bad: they get nothing, and disturb no other.

use std::time::Duration;

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{H1, H2, WebhookServer, mk_review, pieces, post, read_to_close};

#[tokio::test]
async fn a_client_that_never_says_hello_is_hung_up_on() {
    let site =
        WebhookServer::start_with(|limits| limits.handshake = Duration::from_millis(100)).await;
    let mut silent = site.tcp().await;
    assert!(site.swapped("nginx").await.is_some());
    assert!(read_to_close(&mut silent).await.is_empty());
    assert_eq!(site.metric("image_swap_handshake_failures_total").await, Some(1.0));
}

#[tokio::test]
async fn plain_http_and_noise_on_the_tls_port_end_with_their_connection() {
    let site = WebhookServer::start().await;
    let mut friend = site.h1().await;
    for noise in [&b"POST /mutate HTTP/1.1\r\nhost: a\r\n\r\n"[..], &[0; 64], &[0xff; 4096]] {
        let mut stream = site.tcp().await;
        stream.write_all(noise).await.unwrap();
        read_to_close(&mut stream).await;
        assert!(friend.review("nginx").await.swapped().is_some());
    }
    assert_eq!(site.metric("image_swap_handshake_failures_total").await, Some(3.0));
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_counted() {
    let site = WebhookServer::start().await;
    let stranger = WebhookServer::start().await;
    let file = stranger.authority.certificate_file();
    assert!(crate::support::try_tls(site.tcp().await, &file, &[H1]).await.is_err());
    // The server hears of it when it reads the alert, after the client's `connect`.
    while site.metric("image_swap_handshake_failures_total").await != Some(1.0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_drips_its_headers_is_hung_up_on() {
    let site = WebhookServer::start_with(|limits| limits.header = Duration::from_millis(50)).await;
    let mut slow = site.tls(&[H1]).await;
    slow.write_all(b"POST /mutate HTTP/1.1\r\nhost: a\r\nx-drip: ").await.unwrap();
    assert!(site.swapped("nginx").await.is_some());
    assert!(read_to_close(&mut slow).await.is_empty());
}

#[tokio::test]
async fn a_client_that_drips_its_second_request_is_hung_up_on() {
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
async fn an_http_2_client_that_never_begins_is_hung_up_on() {
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
async fn an_http_2_client_that_speaks_http_1_ends_with_its_connection() {
    let site = WebhookServer::start().await;
    let mut confused = site.tls(&[H2]).await;
    confused.write_all(b"POST /mutate HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_to_close(&mut confused).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn a_client_that_is_done_sending_still_gets_its_answer() {
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
async fn clients_that_leave_within_a_request_leave_nothing_behind() {
    // More of them than there are places for requests.
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

#[tokio::test]
async fn crowds_of_silent_clients_keep_nobody_out() {
    let site = WebhookServer::start_with(|limits| limits.connections = 8).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(site.tcp().await);
    }
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn crowds_on_the_plain_port_keep_no_probe_out() {
    let site = WebhookServer::start().await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(site.admin).await.unwrap());
    }
    assert_eq!(site.probe("/readyz").await.status, 200);
    // The first of them had to make room.
    read_to_close(&mut crowd[0]).await;
}
