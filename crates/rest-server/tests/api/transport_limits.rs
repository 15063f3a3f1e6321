//! Clients that are too many, too slow, too long or ambiguous, over real sockets.

use std::time::Duration;

use domain::limits::Limits;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{Client, TestServer};

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `text` and reads until the server closes.
async fn exchange(server: &TestServer, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(text).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer));
    // A reset after the answer is an end as well.
    let _ = read.await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn targets_of_64_kilobytes_work_and_longer_ones_and_huge_heads_are_refused() {
    let server = TestServer::start().await;
    let get = |length: usize, headers: String| {
        let line = format!("GET /rest/health/live?x={}", "a".repeat(length));
        format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
    };
    let many = "x: 1\r\n".repeat(150);
    let huge = format!("x: {}\r\n", "b".repeat(200 << 10));
    for (request, status) in [
        (get(65_490, String::new()), "HTTP/1.1 200 "),
        (get(66_000, String::new()), "HTTP/1.1 414 "),
        (get(10, many), "HTTP/1.1 431 "),
        (get(10, huge), "HTTP/1.1 431 "),
        (get(1 << 20, String::new()), "HTTP/1.1 4"),
    ] {
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(
            answer.starts_with(status),
            "{status}: {}",
            &answer[..answer.len().min(200)]
        );
    }
}

#[tokio::test]
async fn requests_that_two_programs_could_read_differently_are_refused() {
    let server = TestServer::start().await;
    let chunk = "5\r\nhello\r\n0\r\n\r\n";
    for (request, fine) in [
        (
            format!(
                "POST /rest/interpret/search HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
            ),
            false,
        ),
        (
            "POST /rest/interpret/search HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
                .to_owned(),
            false,
        ),
        (
            "POST /rest/interpret/search HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc".to_owned(),
            false,
        ),
        (
            format!(
                "POST /rest/interpret/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n{chunk}"
            ),
            false,
        ),
        (
            format!("POST /rest/interpret/search HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
            false,
        ),
        (
            "GET /rest/health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),
            false,
        ),
        (
            "GET /rest/health/live HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            false,
        ),
        (
            "GET /rest/health/live HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n".to_owned(),
            false,
        ),
        ("GET /rest/health/live HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), false),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), false),
        (
            "GET http://elsewhere:1/rest/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            true,
        ),
        ("GET /rest/health/live HTTP/1.0\r\n\r\n".to_owned(), true),
    ] {
        let answer = exchange(&server, request.as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        if fine {
            assert_eq!(status, "200", "{request}\n{answer}");
        } else {
            assert!(matches!(status, "" | "400" | "501"), "{request}\n{answer}");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_odd_methods_are_refused() {
    let server = TestServer::start().await;
    let request =
        |method: &str, target: &str, more: &str| format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let pipeline = request("GET", "/rest/health/live", "")
        + &request("GET", "/rest/nowhere", "")
        + &request("BREW", "/rest/user", "")
        + &request("OPTIONS", "*", "")
        + &request("GET", "/rest/health/live", "Connection: close\r\n");
    let answer = exchange(&server, pipeline.as_bytes()).await;
    let statuses: Vec<&str> = answer
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &answer[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "404", "405", "404", "200"], "{answer}");
}

#[tokio::test]
async fn heads_that_never_end_and_idle_connections_are_closed() {
    let limits = Limits {
        head_seconds: 0.3,
        ..Limits::default()
    };
    let server = TestServer::start_limited(limits).await;
    let started = Instant::now();
    for beginning in ["", "GET /rest/he", "GET /rest/health/live HTTP/1.1\r\nHost: a\r\nx: "] {
        exchange(&server, beginning.as_bytes()).await;
    }
    let kept = exchange(&server, b"GET /rest/health/live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
    assert!(started.elapsed() < Duration::from_secs(20));
    until("no connection stays", async || {
        server.state.traffic.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn bodies_that_stop_are_given_up_and_slow_ones_are_not() {
    let limits = Limits {
        upload_stall_seconds: 0.3,
        body_seconds: 0.6,
        ..Limits::default()
    };
    let server = TestServer::start_limited(limits).await;
    let alice = server.login("alice").await;
    let token = alice.token.clone().unwrap();
    let uuid = alice.new_dataset("slow").await;
    for (target, kind) in [
        (
            format!("/rest/bundles/{uuid}/contents/blob/?filename=a&finalize_on_failure=0"),
            "text/plain",
        ),
        ("/rest/interpret/search".to_owned(), "application/json"),
        ("/rest/oauth2/token".to_owned(), "application/x-www-form-urlencoded"),
    ] {
        let method = if target.contains("blob") { "PUT" } else { "POST" };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nX-Requested-With: XMLHttpRequest\r\n\
             Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\nhalf"
        );
        let answer = exchange(&server, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{target}: {answer}");
        assert!(answer.ends_with("did not arrive in time"), "{target}: {answer}");
    }

    // Five kilobytes in fifteen pieces, each after a pause that is shorter than the patience.
    let head = format!(
        "PUT /rest/bundles/{uuid}/contents/blob/?filename=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\nContent-Length: 30000\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(&[b'x'; 2000]).await.unwrap();
    }
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_connection() {
    let limits = Limits {
        download_stall_seconds: 0.3,
        ..Limits::default()
    };
    let server = TestServer::start_limited(limits).await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("big").await;
    let (status, text) = alice.upload(&uuid, "big.bin", vec![7_u8; 24 << 20]).await;
    assert_eq!(status, 200, "{text}");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "GET /rest/bundles/{uuid}/contents/blob/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        alice.token.clone().unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200");
    drop(alice);
    until("the connection is closed", async || {
        server.state.traffic.open_connections() == 0
    })
    .await;
}

/// A worker's check-in that waits for as long as it may.
fn check_in(client: &Client) -> reqwest::RequestBuilder {
    client.post("/workers/w1/checkin").json(&json!({
        "tag": null, "group_name": null, "cpus": 1, "gpus": 0, "memory_bytes": 1, "free_disk_bytes": 1,
        "dependencies": [], "hostname": "h", "runs": [], "shared_file_system": false, "version": "1.7.3"}))
}

#[tokio::test]
async fn full_classes_are_told_to_come_back_and_do_not_hinder_each_other() {
    let limits = Limits {
        max_checkins: 1,
        max_streams: 1,
        queue_seconds: 0.0,
        ..Limits::default()
    };
    let server = TestServer::start_limited(limits).await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("one").await;

    let parked = tokio::spawn(check_in(&alice).send());
    let (sender, chunks) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    sender.send(Ok(b"first".to_vec())).await.unwrap();
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(chunks));
    let target = format!("/bundles/{uuid}/contents/blob/?filename=a.txt");
    let upload = tokio::spawn(alice.put(&target).body(body).send());
    server.wait_for_trace_of(&uuid).await;

    // A second upload and, as long as the first waits, a second check-in find no place.
    let refused = alice.put(&target).body("x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    until("a second check-in is refused", async || {
        parked.is_finished() || check_in(&alice).send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    for path in ["/user", "/health/live", "/health/ready"] {
        assert_eq!(alice.get(path).send().await.unwrap().status(), 200, "{path}");
    }

    drop(sender);
    assert_eq!(upload.await.unwrap().unwrap().status(), 200);
    let blob = alice
        .get(&format!("/bundles/{uuid}/contents/blob/"))
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "first");
    let _ = parked.await;
}

#[tokio::test]
async fn one_address_has_its_share_of_connections() {
    let limits = Limits {
        max_connections_per_address: 3,
        limit_private_addresses: true,
        ..Limits::default()
    };
    let server = TestServer::start_limited(limits).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    until("three connections", async || {
        server.state.traffic.open_connections() == 3
    })
    .await;
    let refused = exchange(&server, b"").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("Retry-After: 1\r\n"), "{refused}");
    drop(held);
    until("places again", async || server.state.traffic.open_connections() == 0).await;
    let answer = exchange(
        &server,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn hundreds_of_silent_connections_do_not_hinder_a_request() {
    let server = TestServer::start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let alice = server.login("alice").await;
    assert_eq!(alice.get("/user").send().await.unwrap().status(), 200);
    drop((silent, alice));
    until("they are gone", async || server.state.traffic.open_connections() == 0).await;
}

#[tokio::test]
async fn a_half_closed_connection_ends_and_leaves_nothing_behind() {
    let server = TestServer::start().await;
    for text in [
        "",
        "GET /rest/hea",
        "POST /rest/interpret/search HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .expect("the server closes");
    }
    until("nothing is left", async || {
        server.state.traffic.open_connections() == 0 && server.state.traffic.requests_in_flight() == 0
    })
    .await;
}
