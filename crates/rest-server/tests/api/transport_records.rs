//! What is written down about requests: the access log, and the metrics.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::TestServer;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_access_log_names_the_user_and_the_route_and_keeps_secrets() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);

    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("logged", b"0123456789").await;
    let blob = alice
        .get(&format!("/bundles/{uuid}/contents/blob/?secret=query-word"))
        .header("X-Request-Id", "seen-1")
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "0123456789");
    let header = json!({"error_message": "header-word"}).to_string();
    let target = format!("/workers/w/reply_data/7?header_message={header}");
    alice.post(&target).body("x").send().await.unwrap();
    server.anonymous().get("/account/verify/key-word").send().await.unwrap();
    server.anonymous().get("/health/live").send().await.unwrap();
    server
        .anonymous()
        .get("/user?access_token=token-word")
        .send()
        .await
        .unwrap();

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("request_id=seen-1"))
        .expect("a line for the blob");
    for part in [
        "user=\"alice\"",
        "method=GET",
        "route=\"/rest/bundles/{uuid}/contents/blob/\"",
        "status=200",
        "bytes_in=0",
        "bytes_out=10",
        "complete=true",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(log.contains("route=\"/rest/workers/{worker_id}/reply_data/{socket_id}\""));
    let access: Vec<&str> = log.lines().filter(|line| line.contains("request_id=")).collect();
    for secret in [
        "query-word",
        "header-word",
        "key-word",
        "token-word",
        alice.token.as_deref().unwrap(),
        "correct-horse",
    ] {
        assert!(!access.iter().any(|line| line.contains(secret)), "{secret}");
    }
    assert!(!access.iter().any(|line| line.contains("/health/live")));
    assert!(!log.contains(alice.token.as_deref().unwrap()) && !log.contains("correct-horse"));
}

#[tokio::test]
async fn metrics_count_by_route_and_have_a_port_of_their_own() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("counted", b"0123456789").await;
    for _ in 0..3 {
        alice.fetch(&format!("/bundles/{uuid}")).await;
    }
    alice.get("/bundles/0x0").send().await.unwrap();
    alice.get("/nowhere/at-all").send().await.unwrap();

    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(rest_server::listener::serve_router(
        socket,
        rest_server::telemetry::router(server.state.clone()),
        stop.clone(),
        rest_server::listener::ListenerOptions::default(),
    ));
    let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    assert!(
        answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = answer.text().await.unwrap();
    for line in [
        "http_requests_total{method=\"GET\",route=\"/rest/bundles/{uuid}\",status=\"200\"} 3",
        "http_requests_total{method=\"GET\",route=\"/rest/bundles/{uuid}\",status=\"404\"} 1",
        "http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "http_request_body_bytes_total{method=\"PUT\",route=\"/rest/bundles/{uuid}/contents/blob/\"} 10",
        "http_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in [
        "http_request_duration_seconds_bucket{",
        "http_connections_open ",
        "db_connections{pool=\"read\",state=\"used\"} ",
        "storage_free_bytes{partition=\"default\"} ",
        "codalab_database_statements_total ",
        "codalab_database_errors_total ",
        "codalab_database_seconds_total ",
        "codalab_bundles{state=",
        "codalab_workers{state=\"online\"} ",
        "codalab_messages_pending 0",
        "process_resident_memory_bytes ",
        "codalab_build_info{version=",
    ] {
        assert!(text.lines().any(|found| found.starts_with(name)), "{name}\n{text}");
    }
    assert!(
        !text.contains(&uuid) && !text.contains("alice"),
        "labels have no names of users or bundles"
    );
    assert_eq!(text.lines().last(), Some("# EOF"));
    let health = reqwest::get(format!("http://{address}/health")).await.unwrap();
    assert_eq!(health.status(), 200);
    // Not on the public port.
    let public = reqwest::get(format!("http://{}/metrics", server.address))
        .await
        .unwrap();
    assert_eq!(public.status(), 404);
    stop.cancel();
    serving.await.unwrap().unwrap();
}
