//! Crowds that use up what the server has: reviews of others are answered all the
//! while.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;

use crate::support::{
    Client, H1, H2, Site, empty, full, mk_padded_review, mk_review, odd, pieces, post,
    read_to_close, tcp_from,
};

/// Limits under which only giving way makes room: no time runs out.
async fn patient_site(change: impl FnOnce(&mut image_swap_webhook::Limits)) -> Site {
    Site::start_with(|limits| {
        for time in [
            &mut limits.handshake,
            &mut limits.header,
            &mut limits.body,
            &mut limits.write,
            &mut limits.idle,
        ] {
            *time = Duration::from_hours(1);
        }
        change(limits);
    })
    .await
}

/// The head of a review of `length` bytes, for HTTP/1.1.
fn head(length: usize) -> String {
    format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    // A connection that gave way takes no more.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// A review of a pod with `count` images, each of which is swapped.
fn mk_review_of(count: usize) -> Vec<u8> {
    let mut review: serde_json::Value = serde_json::from_slice(&mk_review("nginx")).unwrap();
    let containers = (0..count).map(|n| serde_json::json!({"name": format!("c{n}"), "image": "a"}));
    review["request"]["object"]["spec"]["containers"] = containers.collect();
    serde_json::to_vec(&review).unwrap()
}

#[tokio::test]
async fn requests_without_bodies_delay_no_review() {
    let site = patient_site(|_| ()).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut client = site.h2().await;
        assert!(client.review("nginx").await.swapped().is_some());
        for _ in 0..50 {
            let (sender, body) = pieces();
            client.ready().await;
            crowd.push((sender, tokio::spawn(client.begin(post(body)))));
        }
    }
    site.in_flight(1000).await;
    for mut friend in [site.h1().await, site.h2().await] {
        assert!(friend.review("nginx").await.swapped().is_some());
    }
}

#[tokio::test]
async fn unfinished_bodies_give_way_oldest_first() {
    let site = patient_site(|limits| limits.memory = 2 << 20).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut stream = site.tls_from(2, &[H1]).await;
        send(&mut stream, head(60_000).as_bytes()).await;
        send(&mut stream, &[b' '; 50_000]).await;
        crowd.push(stream);
        assert!(site.swapped("nginx").await.is_some());
    }
    // The first of them had to give way.
    read_to_close(&mut crowd[0]).await;
    // The last is still read.
    let last = crowd.last_mut().unwrap();
    send(last, &[b' '; 10_000]).await;
    let mut answer = [0; 12];
    last.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

#[tokio::test]
async fn stream_that_gives_way_is_answered_503() {
    let site = patient_site(|limits| limits.memory = 1 << 20).await;
    let mut client = Client::h2(site.tls_from(2, &[H2]).await).await;
    assert!(client.review("nginx").await.swapped().is_some());
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let (sender, body) = pieces();
        sender.send(Bytes::from(vec![b' '; 50_000])).unwrap();
        client.ready().await;
        crowd.push((sender, tokio::spawn(client.begin(post(body)))));
    }
    let first = crowd.remove(0).1.await.unwrap().unwrap();
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(site.swapped("nginx").await.is_some());
    assert!(client.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn announced_lengths_hold_nothing() {
    let site = patient_site(|_| ()).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut stream = site.tls_from(2, &[H1]).await;
        send(&mut stream, head(200_000).as_bytes()).await;
        crowd.push(stream);
    }
    site.in_flight(100).await;
    for mut friend in [site.h1().await, site.h2().await] {
        let review = mk_padded_review("nginx", 3 << 20);
        assert!(friend.send(post(full(review))).await.swapped().is_some());
    }
}

#[tokio::test]
async fn unfinished_large_bodies_give_way() {
    let site = patient_site(|_| ()).await;
    let mut crowd = Vec::new();
    for _ in 0..10 {
        let mut stream = site.tls_from(2, &[H1]).await;
        send(&mut stream, head(8 << 20).as_bytes()).await;
        send(&mut stream, &vec![b' '; 2 << 20]).await;
        crowd.push(stream);
    }
    let review = mk_padded_review("nginx", 3 << 20);
    let answer = site.h1().await.send(post(full(review))).await;
    assert!(answer.swapped().is_some());
}

/// Opens an HTTP/2 connection that grants no window for answers, and sends
/// `count` reviews on it.
async fn unread_over_http2(site: &Site, review: &[u8], count: u32) -> TlsStream<TcpStream> {
    let mut stream = site.tls_from(2, &[H2]).await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0; the connection's window is large.
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    send(&mut stream, begin).await;
    for number in 0..count {
        let id = (2 * number + 1).to_be_bytes();
        // POST, https, /mutate, the authority, and the content type, as literals.
        let mut fields = b"\x83\x87\x04\x07/mutate\x01\x01a".to_vec();
        fields.extend_from_slice(b"\x0f\x10\x10application/json");
        let mut frames = vec![0, 0, u8::try_from(fields.len()).unwrap(), 1, 4];
        frames.extend_from_slice(&id);
        frames.extend_from_slice(&fields);
        let mut pieces = review.chunks(16_000).peekable();
        while let Some(piece) = pieces.next() {
            let length = u32::try_from(piece.len()).unwrap().to_be_bytes();
            frames.extend_from_slice(&length[1..]);
            frames.extend_from_slice(&[0, u8::from(pieces.peek().is_none())]);
            frames.extend_from_slice(&id);
            frames.extend_from_slice(piece);
        }
        send(&mut stream, &frames).await;
    }
    stream
}

#[tokio::test]
async fn answers_without_window_give_way() {
    let site = patient_site(|limits| limits.memory = 1 << 20).await;
    let review = mk_review_of(200);
    let mut crowd = Vec::new();
    for _ in 0..10 {
        crowd.push(unread_over_http2(&site, &review, 5).await);
        assert!(site.swapped("nginx").await.is_some());
    }
    read_to_close(&mut crowd[0]).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn client_that_grants_no_window_is_cut() {
    let site = Site::start_with(|limits| limits.write = Duration::from_millis(50)).await;
    let mut stream = unread_over_http2(&site, &mk_review("nginx"), 1).await;
    read_to_close(&mut stream).await;
    assert!(site.swapped("nginx").await.is_some());
}

#[tokio::test]
async fn client_that_does_not_read_is_cut() {
    let site = Site::start_with(|limits| limits.write = Duration::from_millis(50)).await;
    let mut stream = site.tls(&[H1]).await;
    let review = mk_review_of(2000);
    let request = [head(review.len()).as_bytes(), &review].concat();
    // It sends until the server is gone, and never reads.
    while stream.write_all(&request).await.is_ok() {}
    assert!(site.swapped("nginx").await.is_some());
}

/// Answers to `count` reviews, each over a connection of its own, all of which are
/// open before the first is sent.
async fn burst(site: &Site, count: usize) -> usize {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(site.h1().await);
    }
    let mut answers = JoinSet::new();
    for mut client in clients {
        answers.spawn(async move {
            client.ready().await;
            let review = mk_padded_review("nginx", 8_000);
            client.begin(post(full(review))).await.map(|answer| answer.status())
        });
    }
    let answers = answers.join_all().await;
    answers.iter().filter(|status| matches!(status, Ok(StatusCode::OK))).count()
}

#[tokio::test]
async fn burst_of_reviews_from_one_address_is_answered() {
    let site = patient_site(|_| ()).await;
    assert_eq!(burst(&site, 1800).await, 1800);
}

#[tokio::test]
async fn burst_is_answered_beside_unfinished_bodies() {
    for attacker in [1, 2] {
        let site = patient_site(|_| ()).await;
        let mut crowd = Vec::new();
        for _ in 0..400 {
            let mut stream = site.tls_from(attacker, &[H1]).await;
            send(&mut stream, head(60_000).as_bytes()).await;
            send(&mut stream, &[b' '; 50_000]).await;
            crowd.push(stream);
        }
        assert_eq!(burst(&site, 1800).await, 1800, "attacker 127.0.0.{attacker}");
    }
}

#[tokio::test]
async fn unfinished_handshakes_keep_no_client_out() {
    let site = patient_site(|limits| limits.connections = 64).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut stream = tcp_from(2, site.address).await;
        // The first bytes of a record of 512 bytes.
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01").await;
        crowd.push(stream);
    }
    assert!(site.swapped("nginx").await.is_some());
    read_to_close(&mut crowd[0]).await;
}

#[tokio::test]
async fn large_headers_on_many_streams_keep_no_client_out() {
    let site = patient_site(|limits| limits.memory = 4 << 20).await;
    let large: String = "x".repeat(7_000);
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut client = Client::h2(site.tls_from(2, &[H2]).await).await;
        for _ in 0..50 {
            let (sender, body) = pieces();
            let mut request = post(body);
            request.headers_mut().insert("large", large.parse().unwrap());
            client.ready().await;
            crowd.push((sender, tokio::spawn(client.begin(request))));
        }
        assert!(site.swapped("nginx").await.is_some());
    }
}

#[tokio::test]
async fn busy_connections_keep_no_probe_out() {
    let site = Site::start().await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(site.admin).await.unwrap();
        let mut client = Client::h1(stream).await;
        let request = Request::get("/healthz").header("host", "a").body(empty()).unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::OK);
        crowd.push(client);
        assert_eq!(site.probe("/readyz").await.status, StatusCode::OK);
    }
    crowd.remove(0).closed().await;
}

#[tokio::test]
async fn refusals_reach_http2_clients_whole() {
    let site = Site::start().await;
    const JSON: Option<&str> = Some("application/json");
    for _ in 0..20 {
        for (request, status) in [
            (odd(Method::POST, "/other", JSON), StatusCode::NOT_FOUND),
            (odd(Method::PUT, "/mutate", JSON), StatusCode::METHOD_NOT_ALLOWED),
            (odd(Method::POST, "/mutate", None), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (post(full(vec![b' '; 9 << 20])), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let mut client = site.h2().await;
            let mut request = request;
            let uri = format!("https://webhook{}", request.uri());
            *request.uri_mut() = uri.parse().unwrap();
            client.ready().await;
            let answer = client.begin(request).await.unwrap();
            assert_eq!(answer.status(), status);
            // A stream that is reset ends its answer with an error.
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(text.ends_with(b"}\n"), "{text:?}");
        }
    }
}
