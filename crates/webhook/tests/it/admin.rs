//! Tests of the plain port: probes, status and metrics.

use std::collections::BTreeSet;

use hyper::{
    Method, Request, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use image_swap_webhook::Revision;
use tokio::net::TcpStream;

use crate::support::{Client, WebhookServer, empty, full, mk_rules, odd, post};

#[tokio::test]
async fn replica_is_ready_with_rules_and_certificate() {
    let site = WebhookServer::start_empty(|_| ());
    assert_eq!(site.probe("/healthz").await.status, StatusCode::OK);
    let not_ready = site.probe("/readyz").await;
    assert_eq!(not_ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(not_ready.text.contains("declaration"), "{not_ready:?}");
    site.rules.replace(mk_rules("docker.io::a.example"));
    let not_ready = site.probe("/readyz").await;
    assert_eq!(not_ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(not_ready.text.contains("certificate"), "{not_ready:?}");
    site.certificate.replace(site.issue());
    assert_eq!(site.probe("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn status_reports_rules_settings_and_certificate() {
    let site = WebhookServer::start_empty(|_| ());
    let status = async || -> serde_json::Value {
        let answer = site.probe("/status").await;
        assert_eq!(
            (answer.status, &answer.headers[CONTENT_TYPE]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        serde_json::from_str(&answer.text).unwrap()
    };
    let nothing = status().await;
    assert_eq!(nothing["rules"], serde_json::Value::Null);
    assert_eq!(nothing["certificateExpires"], serde_json::Value::Null);
    let revision = Revision { source: "registry-info".into(), hash: "0a1b".into() };
    site.rules.replace_by(mk_rules("docker.io::a.example"), revision);
    site.certificate.replace(site.issue());
    let some = status().await;
    assert!(some["certificateExpires"].is_u64());
    let expected = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"), "serving": true, "source": "registry-info",
        "hash": "0a1b", "rules": 1, "mode": "enforce", "pullSecret": false,
        "certificateExpires": some["certificateExpires"],
    });
    assert_eq!(some, expected);
    // Rules without a revision have an empty hash.
    site.rules.replace(mk_rules("docker.io::a.example"));
    assert_eq!(status().await["hash"], "");
}

#[tokio::test]
async fn other_paths_and_methods_are_rejected() {
    let site = WebhookServer::start().await;
    site.probe("/").await.refused(StatusCode::NOT_FOUND);
    site.probe("/mutate").await.refused(StatusCode::NOT_FOUND);
    let mut client = Client::h1(TcpStream::connect(site.admin).await.unwrap()).await;
    let answer = client.send(odd(Method::POST, "/metrics", None)).await;
    answer.refused(StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers[ALLOW], "GET, HEAD");
    let head = Request::head("/readyz").header("host", "probe").body(empty()).unwrap();
    let mut client = Client::h1(TcpStream::connect(site.admin).await.unwrap()).await;
    let head = client.send(head).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn decisions_requests_and_times_are_counted() {
    let site = WebhookServer::start().await;
    let mut client = site.h1().await;
    for image in ["nginx", "redis", "ghcr.io/a/b"] {
        client.review(image).await;
    }
    client.send(post(full("no json"))).await;
    let count = |line: &'static str| site.metric(line);
    assert_eq!(count(r#"image_swap_decisions_total{reason="rule"}"#).await, Some(2.0));
    assert_eq!(count(r#"image_swap_decisions_total{reason="no-rule"}"#).await, Some(1.0));
    assert_eq!(count(r#"image_swap_decisions_total{reason="exact"}"#).await, Some(0.0));
    assert_eq!(count(r#"image_swap_requests_total{code="200"}"#).await, Some(3.0));
    assert_eq!(count(r#"image_swap_requests_total{code="400"}"#).await, Some(1.0));
    assert_eq!(count("image_swap_admission_duration_seconds_count").await, Some(3.0));
    assert_eq!(count("image_swap_requests_in_flight").await, Some(0.0));
    assert_eq!(count(r#"image_swap_declaration_reloads_total{result="success"}"#).await, Some(0.0));
    assert_eq!(count(r#"image_swap_certificate_reloads_total{result="failure"}"#).await, Some(0.0));
    assert!(count("image_swap_rules").await.unwrap() > 0.0);
    let build = format!(r#"image_swap_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
    let text = site.probe("/metrics").await.text;
    assert!(text.contains(&format!("{build} 1")), "{text}");
}

#[tokio::test]
async fn metrics_are_in_the_openmetrics_format() {
    let site = WebhookServer::start().await;
    site.swapped("nginx").await;
    let answer = site.probe("/metrics").await;
    let kind = answer.headers[CONTENT_TYPE].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(answer.text.ends_with("# EOF\n"));
    // Every sample belongs to a family with a TYPE line.
    let families = answer.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families = families.map(|line| line.split(' ').next().unwrap()).collect::<BTreeSet<_>>();
    for sample in answer.text.lines().filter(|line| !line.starts_with('#')) {
        let name = sample.split(['{', ' ']).next().unwrap();
        assert!(families.iter().any(|family| name.starts_with(family)), "{sample}");
    }
}

#[tokio::test]
async fn alerts_of_the_chart_use_existing_metrics() {
    let rule =
        include_str!("../../../../charts/image-swap/templates/monitoring/prometheusrule.yaml");
    let text = WebhookServer::start().await.probe("/metrics").await.text;
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let names = rule.match_indices("image_swap_").map(|(at, _)| {
        let name = &rule[at..];
        name.split_once(|it: char| !is_name(it)).map_or(name, |(name, _)| name)
    });
    // The controller exports the others.
    let names: Vec<&str> = names.filter(|it| !it.starts_with("image_swap_controller_")).collect();
    assert_eq!(names.len(), 5);
    for name in names {
        let is_sample = |line: &str| line.split(['{', ' ']).next() == Some(name);
        assert!(text.lines().any(is_sample), "{name} is not in {text}");
    }
}

#[tokio::test]
async fn client_input_creates_no_metric_series() {
    let site = WebhookServer::start().await;
    let series = async || {
        let text = site.probe("/metrics").await.text;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<BTreeSet<_>>()
    };
    let mut client = site.h1().await;
    let mut odds = async |number: usize| {
        client.send(odd(Method::POST, &format!("/{number}"), None)).await;
        client
            .send(odd(Method::from_bytes(format!("M{number}").as_bytes()).unwrap(), "/", None))
            .await;
        client.send(odd(Method::POST, "/", Some(&format!("text/{number}")))).await;
        client.send(post(full(format!("{{{number}")))).await;
        client.review(&format!("host{number}.example/image:{number}")).await;
        client.review(&format!("IN VALID {number}")).await;
    };
    odds(0).await;
    let before = series().await;
    for number in 1..20 {
        odds(number).await;
    }
    assert_eq!(series().await, before);
}
