//! Tests of requests and answers: protocols, paths, methods, content types and bodies.

use hyper::{Method, StatusCode, header::ALLOW};

use crate::support::{Client, WebhookServer, full, mk_padded_review, mk_review, odd, post};

const SWAPPED: &str = "mirror.example/docker.io/library/nginx";
const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn review_is_answered_over_http1() {
    let site = WebhookServer::start().await;
    assert_eq!(site.h1().await.review("nginx").await.swapped().unwrap(), SWAPPED);
}

#[tokio::test]
async fn review_is_answered_over_http2() {
    let site = WebhookServer::start().await;
    assert_eq!(site.h2().await.review("nginx").await.swapped().unwrap(), SWAPPED);
}

#[tokio::test]
async fn http2_is_preferred() {
    let site = WebhookServer::start().await;
    let stream = site.tls(&[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(Client::h2(stream).await.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn client_without_alpn_is_answered_over_http1() {
    let site = WebhookServer::start().await;
    let stream = site.tls(&[]).await;
    assert!(Client::h1(stream).await.review("nginx").await.swapped().is_some());
}

#[tokio::test]
async fn one_connection_takes_many_reviews() {
    let site = WebhookServer::start().await;
    for mut client in [site.h1().await, site.h2().await] {
        for image in ["nginx", "redis", "ghcr.io/a/b", "nginx"] {
            let expected = (!image.starts_with("ghcr"))
                .then(|| format!("mirror.example/docker.io/library/{image}"));
            assert_eq!(client.review(image).await.swapped(), expected);
        }
    }
}

#[tokio::test]
async fn http2_connection_takes_concurrent_reviews() {
    let site = WebhookServer::start().await;
    let mut client = site.h2().await;
    let mut answers = Vec::new();
    for number in 0..30 {
        client.ready().await;
        answers.push((number, client.begin(post(full(mk_review(&format!("team/app:{number}")))))));
    }
    for (number, answer) in answers {
        let answer = crate::support::Answer::read(answer.await.unwrap()).await;
        let expected = format!("mirror.example/docker.io/team/app:{number}");
        assert_eq!(answer.swapped().unwrap(), expected);
    }
}

#[tokio::test]
async fn large_review_is_answered() {
    let site = WebhookServer::start().await;
    for mut client in [site.h1().await, site.h2().await] {
        let review = mk_padded_review("nginx", 3 << 20);
        assert_eq!(client.send(post(full(review))).await.swapped().unwrap(), SWAPPED);
    }
}

#[tokio::test]
async fn both_paths_accept_reviews_with_any_query() {
    let site = WebhookServer::start().await;
    let mut client = site.h1().await;
    for path in ["/", "/mutate", "/mutate?timeout=5s", "/?timeout=5s"] {
        let answer = client.send(odd(Method::POST, path, JSON)).await;
        assert_eq!(answer.swapped().unwrap(), SWAPPED, "{path}");
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let site = WebhookServer::start().await;
    let mut client = site.h1().await;
    for path in ["/mutate/", "/validate", "//", "/metrics"] {
        let message =
            client.send(odd(Method::POST, path, JSON)).await.refused(StatusCode::NOT_FOUND);
        assert!(message.contains("/mutate"), "{message}");
    }
}

#[tokio::test]
async fn large_body_to_other_path_gets_an_answer() {
    let site = WebhookServer::start().await;
    for mut client in [site.h1().await, site.h2().await] {
        let mut request = post(full(vec![b' '; 1 << 20]));
        *request.uri_mut() = "/validate".parse().unwrap();
        client.send(request).await.refused(StatusCode::NOT_FOUND);
        assert_eq!(client.review("nginx").await.swapped().unwrap(), SWAPPED);
    }
}

#[tokio::test]
async fn other_methods_are_rejected_with_allow_header() {
    let site = WebhookServer::start().await;
    let mut client = site.h1().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = client.send(odd(method, "/mutate", JSON)).await;
        answer.refused(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[ALLOW], "POST");
    }
}

#[tokio::test]
async fn only_json_content_types_are_accepted() {
    let site = WebhookServer::start().await;
    let mut client = site.h1().await;
    for json in ["application/json", "application/json; charset=utf-8", "Application/JSON ;a=b"] {
        assert!(
            client.send(odd(Method::POST, "/", Some(json))).await.swapped().is_some(),
            "{json}"
        );
    }
    for other in
        [Some("text/plain"), Some("application/yaml"), Some("application/jsonx"), Some(""), None]
    {
        let answer = client.send(odd(Method::POST, "/", other)).await;
        let message = answer.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(message.contains("application/json"), "{message}");
    }
}

#[tokio::test]
async fn invalid_review_does_not_end_the_connection() {
    let site = WebhookServer::start().await;
    let invalid_reviews = [
        "",
        "{",
        "null",
        "[]",
        r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
        r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#,
        r#"{"kind":"Pod","apiVersion":"v1","request":{"uid":"1"}}"#,
        "\u{1F4A5}",
    ];
    for mut client in [site.h1().await, site.h2().await] {
        for body in invalid_reviews {
            let answer = client.send(post(full(body))).await;
            assert!(!answer.refused(StatusCode::BAD_REQUEST).is_empty());
            assert_eq!(client.review("nginx").await.swapped().unwrap(), SWAPPED);
        }
    }
}

#[tokio::test]
async fn review_without_rules_is_unavailable() {
    let site = WebhookServer::start_empty(|_| ());
    site.certificate.replace(site.issue());
    let mut client = site.h1().await;
    client.review("nginx").await.refused(StatusCode::SERVICE_UNAVAILABLE);
    site.rules.replace(crate::support::mk_rules(crate::support::LIST));
    assert_eq!(client.review("nginx").await.swapped().unwrap(), SWAPPED);
}
