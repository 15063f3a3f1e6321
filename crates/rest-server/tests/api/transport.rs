//! Routing, error bodies, headers, and odd but legal HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::TestServer;

#[tokio::test]
async fn errors_are_bare_text_for_the_command_line_and_a_page_for_browsers() {
    let server = TestServer::start().await;
    let client = server.anonymous();
    let answer = client.get("/nowhere").send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(!answer.headers()["x-request-id"].is_empty());
    assert_eq!(answer.text().await.unwrap(), "Not found: '/rest/nowhere'");

    let page = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = page.get(format!("{}/bundles/0x1", client.base)).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let text = answer.text().await.unwrap();
    assert!(text.contains("<title>Error: 404 Not Found</title>"), "{text}");
    assert!(text.contains("<pre>Not found: '/rest/bundles/0x1'</pre>"), "{text}");
}

#[tokio::test]
async fn methods_bodies_and_prefixes_follow_the_rules() {
    let server = TestServer::start().await;
    let client = server.login("alice").await;
    let (status, text) = client.send(Method::PATCH, "/workers/info", None).await;
    assert_eq!((status.as_u16(), text), (405, json!("Method not allowed.")));

    // A broken body is a 400 even for somebody who is not logged in.
    let answer = server
        .anonymous()
        .post("/bundles")
        .header("content-type", "application/json; charset=utf-8")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
        (400, "Invalid JSON")
    );

    let big = format!("\"{}\"", "x".repeat(9 << 20));
    let answer = client
        .post("/worksheets")
        .header("content-type", "application/json")
        .body(big)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
        (413, "Request to large")
    );

    let answer = client.request(Method::HEAD, "/user").send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let doubled = client.base.replace("/rest", "//rest");
    let answer = reqwest::get(format!("{doubled}/health/live")).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn json_objects_carry_the_version_and_the_exact_content_type() {
    let server = TestServer::start().await;
    let client = server.login("alice").await;
    let answer = client
        .get("/user")
        .header("Accept-Encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(answer.headers().get("content-encoding").is_none());
    let value: serde_json::Value = answer.json().await.unwrap();
    let version = value["meta"]["version"].as_str().unwrap();
    assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
}

#[tokio::test]
async fn probes_say_whether_the_server_lives_and_can_serve() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz", "/rest/health/live", "/rest/health/ready"] {
        let answer = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let value: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(value["status"], "ok", "{path}: {value}");
    }
    server.state.shutdown.cancel();
}

/// The chunked uploader of the Python client: absolute request target, and NUL bytes while it waits for the answer.
#[tokio::test]
async fn the_old_uploader_is_answered_in_spite_of_its_odd_http() {
    let server = TestServer::start().await;
    let client = server.login("alice").await;
    let uuid = client.new_dataset("odd").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PUT http://{0}/rest/bundles/{uuid}/contents/blob/?filename=a.txt HTTP/1.1\r\nHost: {0}\r\n\
         Transfer-Encoding: chunked\r\nX-Requested-With: XMLHttpRequest\r\nAuthorization: Bearer {1}\r\n\r\n",
        server.address,
        client.token.clone().unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"5\r\nhello\r\n0\r\n\r\n\0\0").await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("an answer and the end")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let blob = client
        .get(&format!("/bundles/{uuid}/contents/blob/"))
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "hello");
}
