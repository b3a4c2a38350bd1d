//! Tests with clients that try to exhaust shared resources. Reviews are still answered, and the
//! attackers' connections give way.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, client::conn::http2, header::CONTENT_TYPE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::support::{
    Client, ClientBody, H1, H2, WebhookServer, empty, full, mk_padded_review, mk_review, pieces,
    post, read_to_close, try_tls,
};

/// Upper bound of the bytes that clients may occupy: `MEMORY` and `ANSWERS` of limits.rs, plus
/// one answer and one read.
const MOST: f64 = 40.0 * 1024.0 * 1024.0;
/// Metric of the connections that were closed to make room.
const EVICTED: &str = "image_swap_connections_evicted_total";
/// Beginning of a review request, without its length.
const HEAD: &str = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";

/// Returns a review with ten thousand images: 270 KiB, with an answer of more than a MiB.
fn mk_review_of_images() -> Bytes {
    let one = |number| serde_json::json!({"name": format!("c{number}"), "image": "a"});
    let mut review: serde_json::Value = serde_json::from_slice(&mk_review("nginx")).unwrap();
    review["request"]["object"]["spec"]["containers"] = (0..10_000).map(one).collect();
    serde_json::to_vec(&review).unwrap().into()
}

async fn assert_memory_is_bounded(site: &WebhookServer) {
    let used = site.metric("image_swap_client_memory_bytes").await.unwrap();
    assert!(used < MOST, "{used}");
}

// guarantee: 4g
#[tokio::test]
async fn requests_without_bodies_delay_no_review() {
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_hours(1)).await;
    let mut crowd = Vec::new();
    let mut begun = JoinSet::new();
    for _ in 0..40 {
        let mut client = site.h2().await;
        for _ in 0..30 {
            let (sender, body) = pieces();
            client.ready().await;
            let answer = client.begin(post(body));
            begun.spawn(async move {
                let _unfinished = sender;
                answer.await.is_ok()
            });
        }
        crowd.push(client);
    }
    site.in_flight(1200).await;
    for _ in 0..10 {
        assert!(site.swapped("nginx").await.is_some());
    }
    site.in_flight(1200).await;
}

// guarantee: 4g
#[tokio::test]
async fn announced_bodies_without_bytes_delay_no_large_review() {
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_hours(1)).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut stream = site.tls(&[H1]).await;
        stream.write_all(format!("{HEAD}content-length: 200000\r\n\r\n").as_bytes()).await.unwrap();
        crowd.push(stream);
    }
    site.in_flight(40).await;
    let large = mk_padded_review("nginx", 200_000);
    for _ in 0..10 {
        assert!(site.h1().await.send(post(full(large.clone()))).await.swapped().is_some());
    }
    site.in_flight(40).await;
}

// guarantee: 4g
#[tokio::test]
async fn unfinished_large_bodies_give_way_to_reviews() {
    let site = WebhookServer::start_with(|limits| limits.body = Duration::from_hours(1)).await;
    let mut crowd = JoinSet::new();
    for _ in 0..8 {
        let mut stream = site.tls(&[H1]).await;
        crowd.spawn(async move {
            let head = format!("{HEAD}content-length: 8000000\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            // The last bytes never come.
            let _ = stream.write_all(&vec![b' '; 7_900_000]).await;
            read_to_close(&mut stream).await
        });
    }
    site.in_flight(8).await;
    let large = mk_padded_review("nginx", 1 << 20);
    while site.metric(EVICTED).await == Some(0.0) {
        assert!(site.swapped("nginx").await.is_some());
        assert!(site.h1().await.send(post(full(large.clone()))).await.swapped().is_some());
        assert_memory_is_bounded(&site).await;
    }
    // The attacker's request was cut off or rejected.
    crowd.join_next().await.unwrap().unwrap();
}

/// Opens an HTTP/2 connection with a flow-control window of 0 for answers.
async fn without_window(site: &WebhookServer) -> http2::SendRequest<ClientBody> {
    let stream = site.tls(&[H2]).await;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

// guarantee: 4g
#[tokio::test]
async fn http2_answers_without_window_give_way() {
    let site = WebhookServer::start_with(|limits| limits.answer = Duration::from_hours(1)).await;
    let review = mk_review_of_images();
    let mut begun = JoinSet::new();
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut client = without_window(&site).await;
        for _ in 0..30 {
            if client.ready().await.is_err() {
                break;
            }
            let request = Request::post("https://webhook/mutate");
            let request = request.header(CONTENT_TYPE, "application/json");
            begun.spawn(client.send_request(request.body(full(review.clone())).unwrap()));
            assert_memory_is_bounded(&site).await;
        }
        crowd.push(client);
    }
    while site.metric(EVICTED).await == Some(0.0) {
        assert!(site.swapped("nginx").await.is_some());
        assert_memory_is_bounded(&site).await;
    }
    assert!(site.swapped("nginx").await.is_some());
}

// guarantee: 4g
#[tokio::test]
async fn http2_client_that_reads_nothing_is_disconnected() {
    let site = WebhookServer::start_with(|limits| limits.answer = Duration::from_millis(50)).await;
    let mut client = without_window(&site).await;
    client.ready().await.unwrap();
    let request = Request::post("https://webhook/mutate").header(CONTENT_TYPE, "application/json");
    let answer = client.send_request(request.body(full(mk_review("nginx"))).unwrap());
    // The headers arrive, but no byte of the body.
    let answer = answer.await.unwrap();
    assert!(http_body_util::BodyExt::collect(answer.into_body()).await.is_err());
    assert!(site.swapped("nginx").await.is_some());
}

// guarantee: 4g
#[tokio::test]
async fn http1_client_that_reads_nothing_is_disconnected() {
    let site = WebhookServer::start_with(|limits| limits.answer = Duration::from_millis(50)).await;
    let mut stream = site.tls(&[H1]).await;
    let review = mk_review_of_images();
    let head = format!("{HEAD}content-length: {}\r\n\r\n", review.len());
    let attack = tokio::spawn(async move {
        // The kernel buffers some answers. After that the server can neither write nor read.
        loop {
            let sent = stream.write_all(head.as_bytes()).await;
            if sent.is_err() || stream.write_all(&review).await.is_err() {
                return;
            }
        }
    });
    while !attack.is_finished() {
        assert!(site.swapped("nginx").await.is_some());
        assert_memory_is_bounded(&site).await;
    }
    attack.await.unwrap();
}

// guarantee: 4g
#[tokio::test]
async fn concurrent_reviews_of_one_address_are_all_answered() {
    const COUNT: usize = 1800;
    let site = WebhookServer::start_with(|limits| limits.handshake = Duration::from_hours(1)).await;
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        clients.push(site.h1().await);
    }
    let mut reviews = JoinSet::new();
    for mut client in clients {
        reviews.spawn(async move { (client.review("nginx").await.swapped().is_some(), client) });
    }
    // The connections stay open.
    let answered = reviews.join_all().await;
    assert!(answered.iter().all(|(swapped, _)| *swapped));
    assert_eq!(answered.len(), COUNT);
    assert_memory_is_bounded(&site).await;
}

// guarantee: 4g
#[tokio::test]
async fn bursts_of_reviews_are_answered_while_others_connect() {
    let site = Arc::new(
        WebhookServer::start_with(|limits| limits.handshake = Duration::from_hours(1)).await,
    );
    let mut reviews = JoinSet::new();
    for _ in 0..1800 {
        let site = Arc::clone(&site);
        reviews.spawn(async move {
            let mut client = site.h1().await;
            (client.review("nginx").await.swapped().is_some(), client)
        });
    }
    // The connections stay open, unless the server closes them after the answer.
    let answered = reviews.join_all().await;
    assert!(answered.iter().all(|(swapped, _)| *swapped));
    assert_memory_is_bounded(&site).await;
}

// guarantee: 4g
#[tokio::test]
async fn excess_connections_block_no_review() {
    let site = WebhookServer::start_with(|limits| limits.connections = 100).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(site.tcp().await);
    }
    assert!(site.swapped("nginx").await.is_some());
    read_to_close(&mut crowd[0]).await;
    assert!(site.metric("image_swap_connections").await.unwrap() <= 100.0);
}

// guarantee: 4g
#[tokio::test]
async fn unfinished_handshakes_give_way_to_reviews() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 64;
        limits.handshake = Duration::from_hours(1);
    })
    .await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut stream = site.tcp().await;
        // The first bytes of a ClientHello of 512 bytes.
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await;
        crowd.push(stream);
    }
    for _ in 0..10 {
        assert!(site.swapped("nginx").await.is_some());
    }
    read_to_close(&mut crowd[0]).await;
}

/// Connects from `address`, another address of this machine.
async fn connect_from(site: &WebhookServer, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    socket.connect(site.address).await.unwrap()
}

// guarantee: 4g
#[tokio::test]
async fn address_with_most_unfinished_work_gives_way_first() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 20;
        limits.grace = Duration::ZERO;
        limits.body = Duration::from_hours(1);
    })
    .await;
    // The oldest unfinished body of all.
    let mut slow = site.h1().await;
    let (rest, body) = pieces();
    let review = mk_review("nginx");
    rest.send(Bytes::copy_from_slice(&review[..10])).unwrap();
    slow.ready().await;
    let answer = tokio::spawn(slow.begin(post(body)));
    site.in_flight(1).await;

    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(connect_from(&site, "127.0.0.2:0").await);
    }
    read_to_close(&mut crowd[0]).await;
    rest.send(Bytes::copy_from_slice(&review[10..])).unwrap();
    drop(rest);
    let answer = crate::support::Answer::read(answer.await.unwrap().unwrap()).await;
    assert!(answer.swapped().is_some());
}

/// API servers may share an address with an attacker, by masquerading or a tunnel.
// guarantee: 4g
#[tokio::test]
async fn review_is_answered_despite_attackers_at_its_address() {
    let site = WebhookServer::start_with(|limits| {
        limits.connections = 50;
        limits.body = Duration::from_hours(1);
    })
    .await;
    let file = site.authority.certificate_file();
    let address = site.address;
    let mut attack = JoinSet::new();
    for _ in 0..100 {
        let file = file.clone();
        attack.spawn(async move {
            loop {
                let Ok(stream) = TcpStream::connect(address).await else { continue };
                let Ok(mut stream) = try_tls(stream, &file, &[H1]).await else { continue };
                let head = format!("{HEAD}content-length: 20000\r\n\r\n{{");
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.read_u8().await;
            }
        });
    }
    while site.metric(EVICTED).await == Some(0.0) {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert!(site.swapped("nginx").await.is_some());
    }
    assert!(site.metric(EVICTED).await > Some(0.0));
}

/// Kubelet probes a port whose connections are held open by other clients.
// guarantee: 4g
#[tokio::test]
async fn keep_alive_connections_block_no_probe() {
    let site = WebhookServer::start().await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let stream = TcpStream::connect(site.admin).await.unwrap();
        let mut client = Client::h1(stream).await;
        let request = Request::get("/healthz").header("host", "crowd").body(empty()).unwrap();
        assert_eq!(client.send(request).await.status, 200);
        crowd.push(client);
    }
    for _ in 0..5 {
        assert_eq!(site.probe("/healthz").await.status, 200);
    }
    crowd.remove(0).closed().await;
}
