//! Uploads and downloads.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use rest_server::{Settings, listener};

use crate::support::{TestServer, state_of};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// A tar of files, made by hand so that names can be hostile.
pub fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, text) in files {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[tokio::test]
async fn a_file_is_served_whole_in_ranges_and_as_summary() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("words.txt", b"red\ngreen\nblue\n").await;
    assert_eq!(state_of(&alice, &uuid).await.0, "ready");
    let path = format!("/bundles/{uuid}/contents/blob/");

    let whole = alice.get(&path).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-encoding", "identity"),
        ("content-disposition", "inline; filename=\"words.txt\""),
        ("target-type", "file"),
        ("x-codalab-target-size", "15"),
        ("content-length", "15"),
        ("access-control-allow-origin", "*"),
        ("content-security-policy", "sandbox"),
    ] {
        assert_eq!(whole.headers()[name], value, "{name}");
    }
    assert_eq!(whole.text().await.unwrap(), "red\ngreen\nblue\n");

    for (range, expected) in [
        ("bytes=4-8", "green"),
        ("bytes=10-16393", "blue\n"),
        ("bytes=15-20", ""),
        ("bytes=999-1000", ""),
    ] {
        let part = alice.get(&path).header("Range", range).send().await.unwrap();
        assert_eq!(part.status(), 200);
        assert!(part.headers().get("content-range").is_none());
        assert_eq!(part.text().await.unwrap(), expected, "{range}");
    }
    for (query, expected) in [
        ("?head=1", "red\n"),
        ("?tail=1", "blue\n"),
        ("?head=1&tail=1&truncation_text=%0A...%0A", "red\n\n...\nblue\n"),
    ] {
        let part = alice.get(&format!("{path}{query}")).send().await.unwrap();
        assert_eq!(part.text().await.unwrap(), expected, "{query}");
    }
    let packed = alice
        .request(Method::GET, &path)
        .header("Accept-Encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(gunzip(&packed.bytes().await.unwrap()), b"red\ngreen\nblue\n");

    for (query, range, message) in [
        ("", Some("bytes=1-"), "Range must be 'bytes=START-END'."),
        ("?head=1", Some("bytes=1-2"), "Head and range not supported"),
        ("?head=x", None, "Invalid int 'x'"),
        ("?head=-1", None, "'head' must not be negative"),
    ] {
        let mut request = alice.get(&format!("{path}{query}"));
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert!(answer.text().await.unwrap().starts_with(message), "{message}");
    }
}

#[tokio::test]
async fn a_directory_is_unpacked_listed_and_packed_again() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("tree").await;
    let archive = gzip(&tar(&[("./a.txt", "A"), ("./sub/b.txt", "BB")]));
    let (status, message) = alice.upload(&uuid, "tree.tar.gz", archive).await;
    assert_eq!(status, 200, "{message}");

    let info = alice.fetch(&format!("/bundles/{uuid}/contents/info/?depth=2")).await;
    assert_eq!(info["data"]["type"], "directory");
    assert_eq!(
        info["data"]["resolved_target"],
        json!({"bundle_uuid": uuid, "subpath": ""})
    );
    let names: Vec<&str> = info["data"]["contents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a.txt", "sub"]);
    let (status, message) = alice
        .send(Method::GET, &format!("/bundles/{uuid}/contents/info/nope"), None)
        .await;
    assert_eq!(
        (status.as_u16(), message),
        (404, json!(format!("Path 'nope' in bundle {uuid} not found")))
    );
    let (status, _) = alice
        .send(Method::GET, &format!("/bundles/{uuid}/contents/info/?depth=-1"), None)
        .await;
    assert_eq!(status, 400);

    let file = alice
        .get(&format!("/bundles/{uuid}/contents/blob/sub/b.txt"))
        .send()
        .await
        .unwrap();
    assert_eq!(file.headers()["content-disposition"], "inline; filename=\"b.txt\"");
    assert_eq!(file.text().await.unwrap(), "BB");
    let dir = alice
        .get(&format!("/bundles/{uuid}/contents/blob/"))
        .send()
        .await
        .unwrap();
    assert_eq!(dir.headers()["content-type"], "application/gzip");
    assert_eq!(dir.headers()["content-encoding"], "identity");
    assert_eq!(dir.headers()["target-type"], "directory");
    assert_eq!(
        dir.headers()["content-disposition"],
        "attachment; filename=\"tree.tar.gz\""
    );
    let bytes = gunzip(&dir.bytes().await.unwrap());
    assert!(bytes.windows(12).any(|window| window == b"./sub/b.txt\0"));
    let ranged = alice
        .get(&format!("/bundles/{uuid}/contents/blob/"))
        .header("Range", "bytes=0-1")
        .send()
        .await
        .unwrap();
    assert_eq!(ranged.status(), 400);
}

#[tokio::test]
async fn paths_lead_through_dependencies() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let data = alice.dataset_with("data", b"inside").await;
    let run = alice
        .new_run("cat d", json!([{"child_path": "d", "parent_uuid": data}]))
        .await;
    let info = alice.fetch(&format!("/bundles/{run}/contents/info/d")).await;
    assert_eq!(
        info["data"]["resolved_target"],
        json!({"bundle_uuid": data, "subpath": ""})
    );
    let blob = alice
        .get(&format!("/bundles/{run}/contents/blob/d"))
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "inside");
}

#[tokio::test]
async fn bad_archives_fail_the_bundle_and_leave_no_trace() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let before = alice.fetch("/user").await["data"]["attributes"]["disk_used"].clone();
    for (name, bytes) in [
        ("evil.tar.gz", gzip(&tar(&[("ok", "x"), ("../evil", "y")]))),
        ("text.tar.gz", b"this is no archive".to_vec()),
        ("short.tar.gz", gzip(&tar(&[("ok", "x")]))[..40].to_vec()),
        ("no.zip", b"PK nonsense".to_vec()),
    ] {
        let uuid = alice.new_dataset("bad").await;
        let (status, message) = alice.upload(&uuid, name, bytes).await;
        assert_eq!(status, 400, "{name}: {message}");
        assert!(
            message.starts_with("Upload failed: Invalid archive upload: failed to unpack"),
            "{name}: {message}"
        );
        let (state, failure) = state_of(&alice, &uuid).await;
        assert_eq!((state.as_str(), failure), ("failed", message), "{name}");
        server.wait_for_no_trace_of(&uuid).await;
    }
    assert_eq!(alice.fetch("/user").await["data"]["attributes"]["disk_used"], before);
    assert!(!server.home.path().join("evil").exists());
}

#[tokio::test]
async fn a_body_cut_off_in_the_middle_leaves_no_trace() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let uuid = alice.new_dataset("cut").await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "PUT /rest/bundles/{uuid}/contents/blob/?filename=a.bin&finalize_on_failure=1 HTTP/1.1\r\nHost: x\r\n{framing}\r\n\
             X-Requested-With: XMLHttpRequest\r\nAuthorization: Bearer {}\r\n\r\n",
            alice.token.clone().unwrap()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"400\r\n").await.unwrap();
        stream.write_all(&[b'x'; 1024]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(
            !String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"),
            "{framing}"
        );
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        while state_of(&alice, &uuid).await.0 != "failed" {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{framing}: the bundle never failed"
            );
            tokio::task::yield_now().await;
        }
        let (_, failure) = state_of(&alice, &uuid).await;
        assert!(failure.starts_with("Upload failed: "), "{failure}");
        server.wait_for_no_trace_of(&uuid).await;
    }
}

#[tokio::test]
async fn uploads_obey_state_and_parameters() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.dataset_with("done", b"1").await;
    let (status, message) = alice.upload(&uuid, "x", "2").await;
    assert_eq!(
        (status.as_u16(), message.as_str()),
        (403, "Contents cannot be modified, bundle already finalized.")
    );

    let open = alice.new_dataset("open").await;
    for (query, expected) in [
        (
            "filename=a&state_on_success=running",
            "state_on_success must be one of failed|ready|killed",
        ),
        ("filename=a&unpack=yes", "'unpack' parameter must be integer boolean"),
        (
            "filename=a&store=nowhere",
            "Can not find the BundleStore with name nowhere.",
        ),
    ] {
        let (status, message) = alice
            .send(Method::PUT, &format!("/bundles/{open}/contents/blob/?{query}"), None)
            .await;
        assert_eq!((status.as_u16(), message), (400, json!(expected)), "{query}");
    }
    assert_eq!(state_of(&alice, &open).await.0, "uploading");

    // Whatever the content type says, the body is taken as it is; a worker's upload leaves the state alone.
    let path = format!("/bundles/{open}/contents/blob/?filename=a.txt&finalize_on_success=0&store=");
    let form = alice
        .put(&path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("a=b&c");
    assert_eq!(form.send().await.unwrap().status(), 200);
    assert_eq!(state_of(&alice, &open).await.0, "uploading");
    let typed = alice
        .put(&path)
        .header("content-type", "application/json")
        .body("{not json");
    assert_eq!(typed.send().await.unwrap().status(), 200);
    let blob = alice
        .get(&format!("/bundles/{open}/contents/blob/"))
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "{not json");

    // No file name: only the state is set.
    let path = format!("/bundles/{open}/contents/blob/?state_on_success=killed");
    assert_eq!(alice.put(&path).send().await.unwrap().status(), 200);
    assert_eq!(state_of(&alice, &open).await.0, "killed");
    let (status, _) = alice
        .send(Method::GET, &format!("/bundles/{open}/contents/info/"), None)
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_upload_over_the_quota_is_refused_and_gives_the_space_back() {
    let server = TestServer::start().await;
    let root = server.login("codalab").await;
    let alice = server.login("alice").await;
    let id = alice.fetch("/user").await["data"]["id"].clone();
    let uuid = alice.new_dataset("big").await;
    let body = json!({"data": [{"type": "users", "id": id, "attributes": {"disk_quota": 100}}]});
    root.change(Method::PATCH, "/users", body).await;
    let (status, message) = alice.upload(&uuid, "big.bin", vec![0u8; 5000]).await;
    assert_eq!(status, 400);
    assert!(
        message.starts_with("Upload failed: ") && message.contains("user disk quota exceeded"),
        "{message}"
    );
    assert_eq!(state_of(&alice, &uuid).await.0, "failed");
    assert_eq!(alice.fetch("/user").await["data"]["attributes"]["disk_used"], 0);
    server.wait_for_no_trace_of(&uuid).await;
}

#[tokio::test]
async fn the_way_before_an_upload_says_to_use_the_server() {
    let server = TestServer::start().await;
    let alice = server.login("alice").await;
    let uuid = alice.new_dataset("x").await;
    let body = json!({"data": [{"type": "bundle_locations",
        "attributes": {"bundle_uuid": uuid, "bundle_store_uuid": null}}]});
    let answer = alice
        .change(
            Method::POST,
            &format!("/bundles/{uuid}/locations/?need_bypass=1&is_dir=0"),
            body,
        )
        .await;
    let attributes = &answer["data"][0]["attributes"];
    for name in ["bundle_conn_str", "index_conn_str", "bundle_url"] {
        assert_eq!(attributes.get(name), Some(&serde_json::Value::Null), "{name}");
    }
    let increment = json!({"data": [{"type": "user/increment_disk_used",
        "attributes": {"disk_used_increment": 16384, "bundle_uuid": uuid}}]});
    let me = alice
        .change(Method::PATCH, "/user/increment_disk_used", increment)
        .await;
    assert_eq!(me["data"][0]["attributes"]["disk_used"], 16384);
    let (status, _) = alice.upload(&uuid, "x", "12345").await;
    assert_eq!(status, 200);
    assert_eq!(alice.fetch("/user").await["data"]["attributes"]["disk_used"], 5);
    assert_eq!(
        alice.fetch(&format!("/bundles/{uuid}/locations/")).await["data"],
        json!([])
    );
}

#[tokio::test]
async fn a_shutdown_lets_uploads_finish_and_never_takes_half_of_one_for_whole() {
    let patient = listener::ListenerOptions::default();
    let hasty = listener::ListenerOptions {
        drain: Duration::from_millis(200),
        ..patient
    };
    for (options, finish, expected) in [(patient, true, "ready"), (hasty, false, "failed")] {
        let mut server = TestServer::start_listening(Settings::default(), options).await;
        let alice = server.login("alice").await;
        let uuid = alice.new_dataset("last").await;
        let (sender, chunks) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(1);
        sender.send(Ok(b"first half".to_vec())).await.unwrap();
        let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(chunks));
        let uploading = tokio::spawn({
            let (alice, uuid) = (alice.clone(), uuid.clone());
            async move {
                let path = format!("/bundles/{uuid}/contents/blob/?filename=x&finalize_on_failure=1");
                alice.put(&path).body(body).send().await
            }
        });
        server.wait_for_trace_of(&uuid).await;
        sender.send(Ok(b", second half".to_vec())).await.unwrap();
        let bundle = domain::Uuid::parse(&uuid).unwrap();
        server.shutdown.cancel();
        if finish {
            drop(sender);
            assert_eq!(uploading.await.unwrap().unwrap().status(), 200);
        }
        (&mut server.serving).await.unwrap().unwrap();
        rest_server::finish(&server.state, Duration::from_secs(20)).await;
        let record = server.reopened().await.bundle(bundle).await.unwrap();
        assert_eq!(record.bundle.state.as_str(), expected);
    }
}
