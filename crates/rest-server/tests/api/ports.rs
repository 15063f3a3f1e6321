//! netcat and netcurl: programs that listen in a run, reached through its worker.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{any, get};
use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Client, TestServer, read};
use crate::workers::{check_in, check_in_body, report, running};

/// A program in a run: says what it was asked, and misbehaves on request.
async fn program() -> u16 {
    let router = Router::new()
        .route("/hello.txt", get(|| async { "hello" }))
        .route("/echo", any(echo))
        .route(
            "/teapot",
            any(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }),
        )
        .route(
            "/cookie",
            get(|| async { ([("set-cookie", "codalab_session=evil; Path=/"), ("x-mine", "1")], "") }),
        )
        .route(
            "/redirect",
            get(|| async { (StatusCode::FOUND, [("location", "/hello.txt")]) }),
        )
        .route("/bytes", get(|| async { vec![0u8, 255, 10, 13] }))
        .route(
            "/chunks",
            get(|| async {
                let parts = ["a", "bc", "def"].map(Ok::<_, std::io::Error>);
                Body::from_stream(futures::stream::iter(parts))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn echo(request: Request) -> axum::Json<Value> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: Value = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    axum::Json(json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "body": body.to_vec(),
    }))
}

/// Answers netcat messages as a worker does: that of 1.7, or one that takes any bytes.
fn serve_netcat(worker: Client, run: String, takes_bytes: bool) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let mut body = check_in_body(json!([report(&run, "running")]));
            if takes_bytes {
                body["capabilities"] = json!(["netcat-bytes"]);
            }
            for message in check_in(&worker, body).await.as_array().unwrap() {
                if message["type"] == "netcat" {
                    answer(&worker, message).await;
                }
            }
        }
    })
}

async fn answer(worker: &Client, message: &Value) {
    use base64::Engine;
    let socket = &message["socket_id"];
    let bytes = match message["message_base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
        None => message["message"].as_str().unwrap().as_bytes().to_vec(),
    };
    let port = u16::try_from(message["port"].as_u64().unwrap()).unwrap();
    let talk = async {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).await?;
        peer.write_all(&bytes).await?;
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await?;
        Ok::<_, std::io::Error>(got)
    };
    let path = "/workers/node7%2812%29/reply";
    match talk.await {
        // The worker of 1.7 sends an empty answer as an empty object.
        Ok(got) if got.is_empty() => {
            worker
                .change(Method::POST, &format!("{path}/{socket}"), json!({}))
                .await;
        }
        Ok(got) => {
            let path = format!("{path}_data/{socket}?header_message=%7B%7D");
            assert_eq!(worker.post(&path).body(got).send().await.unwrap().status(), 200);
        }
        Err(error) => {
            let error = json!({"error_code": 500, "error_message": error.to_string()});
            worker.change(Method::POST, &format!("{path}/{socket}"), error).await;
        }
    }
}

struct Scene {
    server: TestServer,
    alice: Client,
    run: String,
    port: u16,
    worker: JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Scene {
    async fn start(takes_bytes: bool) -> Self {
        let server = TestServer::start().await;
        let worker = server.login_as("codalab", "codalab_worker_client").await;
        let alice = server.login("alice").await;
        let run = running(&server, &worker, &alice, json!([])).await;
        let port = program().await;
        let worker = serve_netcat(worker, run.clone(), takes_bytes);
        Self {
            server,
            alice,
            run,
            port,
            worker,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/bundles/{}/netcurl/{}{rest}", self.run, self.port)
    }
}

#[tokio::test]
async fn netcurl_forwards_path_query_body_and_status_and_no_secrets() {
    let scene = Scene::start(false).await;
    let alice = &scene.alice;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = alice
            .request(method.clone(), &scene.path("/echo?a=1&b=%20x"))
            .header("cookie", "codalab_session=secret")
            .header("x-forwarded-for", "10.1.1.1")
            .header("x-own", "kept")
            .body("grüße")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(answer.headers()["content-security-policy"], "sandbox");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let (_, seen) = read(answer).await;
        assert_eq!(seen["method"], method.as_str());
        assert_eq!(seen["uri"], "/echo?a=1&b=%20x");
        assert_eq!(seen["body"], json!("grüße".as_bytes()), "{method}");
        assert_eq!(seen["headers"]["host"], format!("localhost:{}", scene.port));
        assert_eq!(seen["headers"]["connection"], "close");
        assert_eq!(seen["headers"]["x-own"], "kept");
        for secret in ["authorization", "cookie", "x-forwarded-for"] {
            assert!(seen["headers"].get(secret).is_none(), "{method}: {seen}");
        }
    }
    let teapot = alice.get(&scene.path("/teapot")).send().await.unwrap();
    assert_eq!(teapot.status(), 418);
    assert_eq!(teapot.text().await.unwrap(), "short and stout");
    let missing = alice.get(&scene.path("/nothing")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    let cookie = alice.get(&scene.path("/cookie")).send().await.unwrap();
    assert!(cookie.headers().get("set-cookie").is_none());
    assert_eq!(cookie.headers()["x-mine"], "1");
    let redirect = alice.get(&scene.path("/redirect")).send().await.unwrap();
    assert_eq!(redirect.status(), 302);
    assert_eq!(
        redirect.headers()["location"],
        format!("/rest{}", scene.path("/hello.txt"))
    );
    let bytes = alice.get(&scene.path("/bytes")).send().await.unwrap();
    assert_eq!(bytes.bytes().await.unwrap(), [0, 255, 10, 13].as_slice());
    let chunks = alice.get(&scene.path("/chunks")).send().await.unwrap();
    assert_eq!(chunks.text().await.unwrap(), "abcdef");
    let head = alice
        .request(Method::HEAD, &scene.path("/hello.txt"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            head.status().as_u16(),
            head.headers()["content-length"].to_str().unwrap()
        ),
        (200, "5")
    );
}

#[tokio::test]
async fn netcurl_takes_binary_bodies_where_the_worker_does() {
    for (takes_bytes, expected) in [(true, 200), (false, 400)] {
        let scene = Scene::start(takes_bytes).await;
        // The first answer shows that the worker has checked in.
        let hello = scene.alice.get(&scene.path("/hello.txt")).send().await.unwrap();
        assert_eq!(hello.text().await.unwrap(), "hello");
        let answer = scene
            .alice
            .post(&scene.path("/echo"))
            .body(vec![0xff, 0x00, 0x80])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), expected);
        let (_, seen) = read(answer).await;
        if takes_bytes {
            assert_eq!(seen["body"], json!([0xff, 0x00, 0x80]));
        } else {
            assert!(seen.as_str().unwrap().contains("takes only text"), "{seen}");
        }
    }
}

#[tokio::test]
async fn netcurl_obeys_permissions_states_and_limits() {
    let scene = Scene::start(false).await;
    let bob = scene.server.login("bob").await;
    scene.alice.hide(&scene.run).await;
    assert_eq!(bob.get(&scene.path("/hello.txt")).send().await.unwrap().status(), 403);
    let anonymous = scene.server.anonymous();
    assert_eq!(
        anonymous.get(&scene.path("/hello.txt")).send().await.unwrap().status(),
        403
    );
    let public = scene.alice.fetch("/groups/public").await["data"]["id"].clone();
    let grant = json!({"data": [{"type": "bundle-permissions", "attributes": {"permission": 1}, "relationships": {
        "group": {"data": {"type": "groups", "id": public}},
        "bundle": {"data": {"type": "bundles", "id": scene.run}}}}]});
    scene.alice.change(Method::POST, "/bundle-permissions", grant).await;
    let answer = anonymous.get(&scene.path("/hello.txt")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "hello");

    for (port, status, text) in [
        ("0", 400, "Port 0 does not exist"),
        ("65536", 400, "Port 65536 does not exist"),
        ("http", 404, "Not found: '/rest/bundles/"),
        ("-1", 404, "Not found: '/rest/bundles/"),
    ] {
        let path = format!("/bundles/{}/netcurl/{port}/x", scene.run);
        let answer = scene.alice.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{port}");
        assert!(answer.text().await.unwrap().starts_with(text), "{port}");
    }
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = silent.local_addr().unwrap().port();
    drop(silent);
    let path = format!("/bundles/{}/netcurl/{closed}/x", scene.run);
    assert_eq!(scene.alice.get(&path).send().await.unwrap().status(), 502);
    let big = scene
        .alice
        .post(&scene.path("/echo"))
        .body(vec![b'x'; 3 << 20])
        .send()
        .await
        .unwrap();
    assert_eq!(big.status(), 413);

    let done = scene.alice.dataset_with("done", b"x").await;
    let answer = scene
        .alice
        .get(&format!("/bundles/{done}/netcurl/80/"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(
        answer.text().await.unwrap(),
        "Cannot netcurl bundle, bundle already finalized."
    );
}

#[tokio::test]
async fn netcat_sends_the_message_as_it_is_and_answers_with_the_bytes() {
    let scene = Scene::start(true).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 64];
            let count = peer.read(&mut bytes).await.unwrap();
            if &bytes[..count] != b"silence" {
                peer.write_all(b"got ").await.unwrap();
                peer.write_all(&bytes[..count]).await.unwrap();
            }
        }
    });
    let path = format!("/bundles/{}/netcat/{port}/", scene.run);
    for (body, expected) in [
        (json!({"message": "yo dude!"}), &b"got yo dude!"[..]),
        (json!({"message": "'yo there'"}), b"got 'yo there'"),
        (json!({"message_base64": "/wA="}), b"got \xff\x00"),
        (json!({"message": "silence"}), b""),
    ] {
        let answer = scene.alice.put(&path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{body}");
        assert!(answer.headers().get("content-encoding").is_none());
        assert_eq!(answer.bytes().await.unwrap(), expected, "{body}");
    }
    for body in [json!({}), json!({"message": 1}), json!({"message_base64": "?"})] {
        let (status, _) = scene.alice.send(Method::PUT, &path, Some(body)).await;
        assert_eq!(status, 400);
    }
    let refused = scene.alice.new_dataset("waiting").await;
    let (status, text) = scene
        .alice
        .send(
            Method::PUT,
            &format!("/bundles/{refused}/netcat/80/"),
            Some(json!({"message": "x"})),
        )
        .await;
    assert_eq!(
        (status.as_u16(), text),
        (403, json!("Cannot netcat bundle, bundle not running."))
    );
}
