//! Reading from running bundles, writing to them and talking to their ports.

use rstest::rstest;
use serde_json::json;

use crate::setting::{Setting, dependency};
use crate::support::{new_uuid, text, untar};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_running_bundle_can_be_read_but_not_escaped(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let data = new_uuid();
    setting.server.look(|records| {
        records
            .contents
            .insert(format!("{data}/"), ("file", 0o644, b"x".to_vec()));
    });
    let _worker = setting.worker();
    let command = "echo one; echo two; mkdir d; echo in >d/f; ln -s d latest; ln -s / trap; ln -s /etc/passwd message; \
                   while [ ! -e go ]; do sleep 0.05; done; cat go";
    let uuid = setting.run(
        command,
        &json!({"bundle": {"dependencies": [dependency(&data, "", "data")]}}),
    );
    setting.server.reported(&uuid, "running").await;
    let server = &setting.server;
    server
        .wait("the links are made", |_| {
            setting
                .work()
                .join("runs")
                .join(&uuid)
                .join("message")
                .is_symlink()
                .then_some(())
        })
        .await;
    let info = server
        .read(&uuid, "", json!({"type": "get_target_info", "depth": 1}))
        .await
        .unwrap_err();
    let names: Vec<&str> = info["target_info"]["contents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["d", "latest", "message", "stderr", "stdout", "trap"]);
    assert_eq!(info["target_info"]["resolved_target"]["bundle_uuid"], json!(uuid));
    let file = json!({"type": "stream_file"});
    assert_eq!(server.read(&uuid, "stdout", file.clone()).await.unwrap(), b"one\ntwo\n");
    assert_eq!(server.read(&uuid, "latest/f", file.clone()).await.unwrap(), b"in\n");
    let section = |offset| json!({"type": "read_file_section", "offset": offset, "length": 3});
    assert_eq!(server.read(&uuid, "stdout", section(4)).await.unwrap(), b"two");
    assert_eq!(server.read(&uuid, "stdout", section(99)).await.unwrap(), b"");
    let tail = json!({"type": "summarize_file", "num_head_lines": 0, "num_tail_lines": 1, "max_line_length": 9,
        "truncation_text": ""});
    assert_eq!(server.read(&uuid, "stdout", tail).await.unwrap(), b"two\n");
    let tree = untar(
        &server
            .read(&uuid, "", json!({"type": "stream_directory"}))
            .await
            .unwrap(),
    );
    assert!(
        tree.contains_key("d/f") && !tree.contains_key("data"),
        "{:?}",
        tree.keys()
    );
    for (path, code) in [
        ("trap/etc/passwd", 404),
        ("../../x", 404),
        ("data", 404),
        ("nothing", 404),
        ("message", 403),
    ] {
        let error = server.read(&uuid, path, file.clone()).await.unwrap_err();
        assert_eq!(error["error_code"], code, "{path}: {error}");
    }
    let unknown = server.read(&new_uuid(), "", file).await.unwrap_err();
    assert_eq!(
        unknown,
        json!({"error_code": 500, "error_message": "Bundle no longer running"})
    );
    server.send(json!({"type": "write", "uuid": uuid, "subpath": "message", "string": "broken"}));
    server.send(json!({"type": "write", "uuid": uuid, "subpath": "go", "string": "hello\tworld"}));
    let (_, files) = server.result(&uuid).await;
    assert_eq!(text(&files, "stdout"), "one\ntwo\nhello\tworld");
    assert_eq!(text(&files, "message"), "/etc/passwd");
    assert!(server.look(|records| records.replies.values().all(|all| all.len() == 1)));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn netcat_reaches_a_port_of_the_run(#[values("process", "docker")] runtime: &'static str) {
    let Some(setting) = Setting::new(runtime).await else {
        return;
    };
    let _worker = setting.worker();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let serve = format!(
        "python3 -c 'import socket\ns = socket.create_server((\"0.0.0.0\", {port}))\nopen(\"ready\", \"w\")\n\
         c, _ = s.accept()\nc.sendall(b\"got \" + c.recv(99))'"
    );
    let uuid = setting.run(&serve, &json!({}));
    setting.server.reported(&uuid, "running").await;
    let ready = setting.work().join("runs").join(&uuid).join("ready");
    setting
        .server
        .wait("the port is open", |_| ready.exists().then_some(()))
        .await;
    let netcat = json!({"type": "netcat", "uuid": uuid, "socket_id": 5, "port": port, "message": "hi"});
    assert_eq!(setting.server.ask(5, netcat).await, (true, b"got hi".to_vec()));
    setting.server.result(&uuid).await;
    let netcat = json!({"type": "netcat", "uuid": uuid, "socket_id": 6, "port": port, "message": "hi"});
    let (is_data, error) = setting.server.ask(6, netcat).await;
    assert!(!is_data && String::from_utf8_lossy(&error).contains("500"));
}
