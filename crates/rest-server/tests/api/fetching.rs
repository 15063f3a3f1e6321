//! Contents that the server fetches by URL: files, archives, git repositories, and what it must not fetch.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, TestServer, state_of};

/// A web server of the test, at 127.0.0.1, and how often its files were asked for.
struct Origin {
    base: String,
    port: u16,
    asked: Arc<AtomicUsize>,
    repositories: TempDir,
}

#[derive(Clone)]
struct Files {
    asked: Arc<AtomicUsize>,
    repositories: PathBuf,
    port: u16,
}

async fn origin() -> Origin {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let repositories = tempfile::tempdir().unwrap();
    let files = Files {
        asked: Arc::default(),
        repositories: repositories.path().to_owned(),
        port,
    };
    let asked = files.asked.clone();
    let router = Router::new()
        .route("/notes.txt", get(|| async { "some notes\n" }))
        .route(
            "/set.tar.gz",
            get(|| async { include_bytes!("../data/set.tar.gz").as_slice() }),
        )
        .route("/moved", get(|| async { Redirect::temporary("/notes.txt") }))
        .route(
            "/moved.git/{*rest}",
            get(|request: Request| async move {
                let to = request.uri().to_string().replace("/moved.git", "/git/repo.git");
                Redirect::permanent(&to)
            }),
        )
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route(
            "/inside",
            get(|State(files): State<Files>| async move {
                Redirect::temporary(&format!("http://127.0.0.2:{}/notes.txt", files.port))
            }),
        )
        .route("/disk", get(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route(
            "/slow",
            get(|State(files): State<Files>| async move {
                files.asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        )
        .route(
            "/endless",
            get(|| async {
                let chunk = bytes::Bytes::from(vec![b'x'; 65536]);
                Body::from_stream(futures::stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(chunk.clone())
                }))
            }),
        )
        .route("/announced", get(|| async { vec![0u8; 100_000] }))
        .route(
            "/broken",
            get(|| async {
                let parts = [Ok("half"), Err(std::io::Error::other("gone"))];
                Body::from_stream(futures::stream::iter(parts))
            }),
        )
        .route("/git/{*path}", get(git_backend).post(git_backend))
        .with_state(files);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Origin {
        base: format!("http://127.0.0.1:{port}"),
        port,
        asked,
        repositories,
    }
}

/// The smart protocol, by git's own CGI program.
async fn git_backend(State(files): State<Files>, request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &files.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", parts.uri.path().strip_prefix("/git").unwrap())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&body).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut response = axum::response::Response::new(Body::from(output[end + 4..].to_vec()));
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            *response.status_mut() = value[..3].parse().unwrap();
        } else {
            let name = http::HeaderName::try_from(name).unwrap();
            response.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    response
}

fn git(dir: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

impl Origin {
    /// Makes `repo.git` with two commits.
    fn make_repository(&self) {
        let work = self.repositories.path().join("work");
        std::fs::create_dir(&work).unwrap();
        git(&work, &["init", "-q"]);
        for text in ["one", "two"] {
            std::fs::write(work.join("README"), text).unwrap();
            git(&work, &["add", "."]);
            git(&work, &["commit", "-q", "-m", text]);
        }
        git(self.repositories.path(), &["clone", "-q", "--bare", "work", "repo.git"]);
    }
}

async fn fetch(client: &Client, uuid: &str, query: &str) -> (u16, String) {
    let path = format!("/bundles/{uuid}/contents/blob/?finalize_on_failure=1&{query}");
    let answer = client.put(&path).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn blob(client: &Client, uuid: &str, path: &str) -> String {
    let answer = client
        .get(&format!("/bundles/{uuid}/contents/blob/{path}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn files_and_archives_are_fetched_and_redirects_followed() {
    let origin = origin().await;
    let server = TestServer::start_fetching(&["127.0.0.1"]).await;
    let alice = server.login("alice").await;
    for (path, query, file, expected) in [
        ("/notes.txt", "", "", "some notes\n"),
        ("/moved", "", "", "some notes\n"),
        ("/set.tar.gz?v=2", "", "a.txt", "A\n"),
        ("/set.tar.gz", "&git=0&unpack=1", "sub/b.txt", "B\n"),
    ] {
        let uuid = alice.new_dataset("fetched").await;
        let url = origin.base.clone() + path;
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        assert_eq!(
            fetch(&alice, &uuid, &format!("urls={url}{query}")).await,
            (200, String::new()),
            "{path}"
        );
        assert_eq!(state_of(&alice, &uuid).await.0, "ready");
        assert_eq!(blob(&alice, &uuid, file).await, expected, "{path}");
    }
    // Not unpacked when that is not wanted.
    let uuid = alice.new_dataset("packed").await;
    assert_eq!(
        fetch(&alice, &uuid, &format!("unpack=0&urls={}/set.tar.gz", origin.base))
            .await
            .0,
        200
    );
    let info = alice.fetch(&format!("/bundles/{uuid}/contents/info/")).await;
    assert_eq!(info["data"]["type"], "file");
}

#[tokio::test]
async fn a_failed_fetch_says_why_and_fails_the_bundle() {
    let origin = origin().await;
    let server = TestServer::start_fetching(&["127.0.0.1"]).await;
    let alice = server.login("alice").await;
    let base = &origin.base;
    for (query, reason) in [
        (
            format!("urls={base}/nothing"),
            format!("Can not fetch {base}/nothing: HTTP status 404."),
        ),
        (
            format!("urls={base}/loop"),
            format!("Can not fetch {base}/loop: too many redirects."),
        ),
        (
            format!("urls={base}/inside"),
            format!("Can not fetch {base}/inside: address not allowed. "),
        ),
        (
            format!("urls={base}/disk"),
            format!("Can not fetch {base}/disk: it redirects to a file address."),
        ),
        (format!("urls={base}/broken"), format!("Can not fetch {base}/broken: ")),
        (
            format!("urls=http://[::1]:{}/", origin.port),
            String::from("Can not fetch "),
        ),
        (
            String::from("urls=http://169.254.169.254/latest/meta-data"),
            String::from("Can not fetch "),
        ),
        (
            String::from("urls=http://2130706434/"),
            String::from("Can not fetch http://127.0.0.2/: address not allowed. "),
        ),
        (
            String::from("urls=ftp://host/x"),
            String::from("Can not fetch ftp://host/x: ftp is not supported."),
        ),
        (
            String::from("urls=file:///etc/passwd"),
            String::from("Path must be a URL."),
        ),
        (String::from("urls="), String::from("Path must be a URL.")),
        (
            format!("git=1&urls={base}/notes.txt"),
            format!("Can not fetch {base}/notes.txt: HTTP status 404."),
        ),
        (
            format!("git=1&urls={base}/inside"),
            format!("Can not fetch {base}/inside: HTTP status 404."),
        ),
        (
            format!("git=1&urls=http://127.0.0.2:{}/git/repo.git", origin.port),
            String::from("Can not fetch "),
        ),
        (
            String::from("git=1&urls=ext::sh%20-c%20true"),
            String::from("Path must be a URL."),
        ),
        (
            String::from("git=1&urls=--upload-pack=true"),
            String::from("Path must be a URL."),
        ),
    ] {
        let uuid = alice.new_dataset("unlucky").await;
        let (status, message) = fetch(&alice, &uuid, &query).await;
        assert_eq!(status, 400, "{query}: {message}");
        assert!(
            message.starts_with(&format!("Upload failed: {reason}")),
            "{query}: {message}"
        );
        assert_eq!(state_of(&alice, &uuid).await, ("failed".to_owned(), message), "{query}");
        server.wait_for_no_trace_of(&uuid).await;
    }
}

#[tokio::test]
async fn without_permission_nothing_of_the_private_network_is_fetched() {
    let origin = origin().await;
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        for git in [0, 1] {
            let uuid = alice.new_dataset("curious").await;
            let query = format!("git={git}&urls=http://{host}:{}/notes.txt", origin.port);
            let (status, message) = fetch(&alice, &uuid, &query).await;
            assert_eq!(status, 400, "{host}");
            assert!(message.contains(": address not allowed. "), "{host}: {message}");
        }
    }
}

#[tokio::test]
async fn a_malformed_request_leaves_the_bundle_alone() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("patient").await;
    for (query, message) in [
        (
            "urls=http://a/&urls=http://b/",
            "Upload failed: Exactly one url must be provided.",
        ),
        ("urls=http://a/&git=yes", "'git' parameter must be integer boolean"),
        ("urls=http://a/&unpack=", "'unpack' parameter must be integer boolean"),
        (
            "filename=x&finalize_on_success=x",
            "'finalize_on_success' parameter must be integer boolean",
        ),
    ] {
        assert_eq!(fetch(&alice, &uuid, query).await, (400, message.to_owned()), "{query}");
        assert_eq!(
            state_of(&alice, &uuid).await,
            ("uploading".to_owned(), String::new()),
            "{query}"
        );
    }
}

#[tokio::test]
async fn fetches_are_held_against_the_quota_while_they_run() {
    let origin = origin().await;
    origin.make_repository();
    let server = TestServer::start_fetching(&["127.0.0.1"]).await;
    let root = server.login("codalab").await;
    let alice = server.login("alice").await;
    let id = alice.fetch("/user").await["data"]["id"].clone();
    let body = json!({"data": [{"type": "users", "id": id, "attributes": {"disk_quota": 2000}}]});
    root.change(Method::PATCH, "/users", body).await;
    for query in [
        "git=0&urls=/endless",
        "git=0&urls=/announced",
        "git=1&urls=/git/repo.git",
    ] {
        let uuid = alice.new_dataset("greedy").await;
        let query = query.replace("urls=", &format!("urls={}", origin.base));
        let (status, message) = fetch(&alice, &uuid, &query).await;
        assert_eq!(status, 400, "{query}: {message}");
        assert!(
            message.starts_with("Upload failed: user disk quota exceeded"),
            "{query}: {message}"
        );
        assert_eq!(state_of(&alice, &uuid).await.0, "failed");
        server.wait_for_no_trace_of(&uuid).await;
    }
    assert_eq!(alice.fetch("/user").await["data"]["attributes"]["disk_used"], 0);
}

#[tokio::test]
async fn a_git_repository_is_cloned_with_its_newest_commit() {
    let origin = origin().await;
    origin.make_repository();
    let server = TestServer::start_fetching(&["127.0.0.1"]).await;
    let alice = server.login("alice").await;
    for path in ["/git/repo.git", "/git/repo.git/", "/moved.git"] {
        let uuid = alice.new_dataset("cloned").await;
        let url = origin.base.replace("http://", "http://me:secret@");
        let answer = fetch(&alice, &uuid, &format!("git=1&urls={url}{path}")).await;
        assert_eq!(answer, (200, String::new()), "{path}");
        assert_eq!(blob(&alice, &uuid, "README").await, "two");
        let config = blob(&alice, &uuid, ".git/config").await;
        assert!(
            config.contains("/git/repo.git") && !config.contains("secret"),
            "{config}"
        );
        assert!(
            !blob(&alice, &uuid, ".git/shallow").await.is_empty(),
            "the history is left out"
        );
        let info: Value = alice
            .fetch(&format!("/bundles/{uuid}/contents/info/.git?depth=1"))
            .await;
        let names: Vec<&str> = info["data"]["contents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap())
            .collect();
        assert!(!names.contains(&"hooks"), "{names:?}");
    }
    let uuid = alice.new_dataset("no-repository").await;
    let (status, message) = fetch(&alice, &uuid, &format!("git=1&urls={}/git/nothing.git", origin.base)).await;
    assert_eq!(status, 400);
    assert!(message.ends_with("/git/nothing.git: HTTP status 404."), "{message}");
}

/// A client of 1.7 asks again after five minutes without an answer, and after every failure.
#[tokio::test]
async fn a_fetch_that_is_asked_for_again_joins_the_first() {
    let origin = origin().await;
    let server = TestServer::start_fetching(&["127.0.0.1"]).await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("twice").await;
    let query = format!("urls={}/slow", origin.base);
    let (first, second) = tokio::join!(fetch(&alice, &uuid, &query), fetch(&alice, &uuid, &query));
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);

    let uuid = alice.new_dataset("twice-failed").await;
    let query = format!("urls={}/nothing", origin.base);
    let first = fetch(&alice, &uuid, &query).await;
    assert_eq!(first.0, 400);
    assert_eq!(fetch(&alice, &uuid, &query).await, first, "the reason is told again");
}
