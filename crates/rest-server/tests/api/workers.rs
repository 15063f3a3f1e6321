//! A worker's side of the protocol: check-in, start, reading from a running bundle, the end of a run.

use std::io::Write;
use std::time::{Duration, Instant};

use domain::run::WorkerMessage;
use model::WorkerKey;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestServer, text};

const WORKER: &str = "node7(12)";

pub fn check_in_body(runs: Value) -> Value {
    json!({"tag": null, "group_name": null, "cpus": 4, "gpus": 0, "memory_bytes": 8_000_000_000_i64,
        "free_disk_bytes": 50_000_000_000_i64, "dependencies": [], "hostname": "node7", "shared_file_system": false,
        "tag_exclusive": false, "exit_after_num_runs": 999_999_999, "is_terminating": false, "preemptible": false,
        "runs": runs})
}

pub fn report(uuid: &str, state: &str) -> Value {
    json!({"uuid": uuid, "run_status": "at work", "bundle_start_time": 1.5, "container_time_total": 2.0,
        "container_time_user": 1, "container_time_system": 0, "docker_image": null, "state": state, "remote": WORKER,
        "exitcode": if state == "finalizing" { json!(0) } else { Value::Null }, "failure_message": null,
        "cpu_usage": 0.5, "memory_usage": 0.1, "disk_utilization": 10})
}

pub async fn check_in(client: &Client, body: Value) -> Value {
    client
        .change(Method::POST, "/workers/node7%2812%29/checkin", body)
        .await
}

fn key(server: &TestServer) -> WorkerKey {
    WorkerKey {
        user_id: server.state.model.root_user_id().into(),
        worker_id: WORKER.into(),
    }
}

/// A run of alice that is running on the worker of root.
pub async fn running(server: &TestServer, worker: &Client, alice: &Client, dependencies: Value) -> String {
    check_in(worker, {
        let mut body = check_in_body(json!([]));
        body["wait_seconds"] = json!(0);
        body
    })
    .await;
    let run = alice.new_run("sleep 100", dependencies).await;
    let uuid = domain::Uuid::parse(&run).unwrap();
    let model = &server.state.model;
    let now = server.state.now();
    assert!(model.stage(uuid, now).await.unwrap());
    let message = json!({"type": "run", "bundle": {"uuid": run}, "resources": {}});
    assert!(model.assign_run(uuid, &key(server), &message, now).await.unwrap());
    server
        .state
        .hub
        .publish(hub::Event::message_queued(&key(server).user_id, WORKER));
    let messages = check_in(worker, check_in_body(json!([]))).await;
    assert_eq!(messages[0]["type"], "run", "{messages}");
    let start = json!({"hostname": "node7", "start_time": now});
    let path = format!("/workers/node7%2812%29/start_bundle/{run}");
    assert_eq!(worker.change(Method::POST, &path, start).await, json!(true));
    let mut body = check_in_body(json!([report(&run, "running")]));
    body["wait_seconds"] = json!(0);
    assert_eq!(check_in(worker, body).await, json!([null]));
    let bundle = alice.fetch(&format!("/bundles/{run}")).await;
    assert_eq!(bundle["data"]["attributes"]["state"], "running");
    run
}

#[tokio::test]
async fn a_check_in_waits_for_a_message_and_ends_with_it() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let mut quick = check_in_body(json!([]));
    quick["wait_seconds"] = json!(0);
    assert_eq!(check_in(&worker, quick).await, json!([null]));

    let mut events = server.state.hub.subscribe();
    let waiting = tokio::spawn({
        let worker = worker.clone();
        async move { check_in(&worker, check_in_body(json!([]))).await }
    });
    while !matches!(hub::next_event(&mut events).await, Some(hub::Event::PollParked { .. })) {}
    let started = Instant::now();
    let uuid = domain::Uuid::from_random([3; 16]);
    let message = serde_json::to_value(WorkerMessage::MarkFinalized { uuid }).unwrap();
    let now = server.state.now();
    server
        .state
        .model
        .queue_message(&key(&server), None, "mark_finalized", &message, now, None)
        .await
        .unwrap();
    server
        .state
        .hub
        .publish(hub::Event::message_queued(&key(&server).user_id, WORKER));
    assert_eq!(waiting.await.unwrap(), json!([message]));
    assert!(started.elapsed() < Duration::from_secs(2));

    let mine = worker.fetch("/workers/info").await;
    assert_eq!(mine["data"][0]["worker_id"], WORKER);
    assert_eq!(mine["data"][0]["cpus"], 4);
    let alice = server.login("alice").await;
    assert_eq!(alice.fetch("/workers/info").await["data"], json!([]));
    let (status, _) = server
        .anonymous()
        .send(Method::POST, "/workers/w/checkin", Some(check_in_body(json!([]))))
        .await;
    assert_eq!(status, 401);
    let (status, _) = worker.send(Method::POST, "/workers/w/checkin", Some(json!({}))).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_run_goes_from_start_to_ready_and_only_its_worker_may_report() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let alice = server.login("alice").await;
    let run = running(&server, &worker, &alice, json!([])).await;

    // Somebody else's report changes nothing and is told to stop.
    let bob = server.login_as("bob", "codalab_worker_client").await;
    let answer = check_in(&bob, check_in_body(json!([report(&run, "finalizing")]))).await;
    assert_eq!(answer[0], json!({"type": "mark_finalized", "uuid": run}));
    let (status, _) = bob
        .send(
            Method::POST,
            &format!("/workers/w/start_bundle/{run}"),
            Some(json!({"start_time": 1})),
        )
        .await;
    assert_eq!(status, 403);
    assert_eq!(
        alice.fetch(&format!("/bundles/{run}")).await["data"]["attributes"]["state"],
        "running"
    );

    let path = format!("/bundles/{run}/contents/blob/?filename=bundle.txt&finalize_on_success=0&store=");
    assert_eq!(worker.put(&path).body("result").send().await.unwrap().status(), 200);
    let answer = check_in(&worker, check_in_body(json!([report(&run, "finalizing")]))).await;
    assert_eq!(answer[0], json!({"type": "mark_finalized", "uuid": run}));
    let bundle = alice.fetch(&format!("/bundles/{run}")).await;
    assert_eq!(bundle["data"]["attributes"]["state"], "ready", "{bundle}");
    assert_eq!(bundle["data"]["attributes"]["metadata"]["remote"], WORKER);
    let blob = alice
        .get(&format!("/bundles/{run}/contents/blob/"))
        .send()
        .await
        .unwrap();
    assert_eq!(blob.text().await.unwrap(), "result");
}

/// Answers the next read message as the worker would; gives the message.
async fn answer_read(worker: &Client, run: &str, reply: impl Fn(&Value) -> (Option<Value>, Vec<u8>)) -> Value {
    loop {
        let messages = check_in(worker, check_in_body(json!([report(run, "running")]))).await;
        for message in messages.as_array().unwrap() {
            if message["type"] == "read" {
                answer(worker, message, reply(message)).await;
                return message.clone();
            }
        }
    }
}

/// Sends JSON, or bytes, as the answer to a read message.
async fn answer(worker: &Client, message: &Value, reply: (Option<Value>, Vec<u8>)) {
    let socket = &message["socket_id"];
    let path = format!("/workers/node7%2812%29/reply{{}}/{socket}");
    match reply {
        (Some(json), _) => {
            worker.change(Method::POST, &path.replace("{}", ""), json).await;
        }
        (None, bytes) => {
            let path = format!("{}?header_message=%7B%7D", path.replace("{}", "_data"));
            assert_eq!(worker.post(&path).body(bytes).send().await.unwrap().status(), 200);
        }
    }
}

/// Answers reads of a running bundle that holds one file, until it is aborted.
pub async fn serve_file(worker: &Client, run: &str, name: &str, contents: &[u8]) {
    let reply = |message: &Value| {
        if message["path"] != name {
            let text = format!("{} not found in bundle", message["path"]);
            return (Some(json!({"error_code": 404, "error_message": text})), Vec::new());
        }
        if message["read_args"]["type"] == "get_target_info" {
            let info = json!({"name": name, "type": "file", "size": contents.len(), "perm": 420});
            return (Some(json!({ "target_info": info })), Vec::new());
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(contents).unwrap();
        (None, packed.finish().unwrap())
    };
    loop {
        let messages = check_in(worker, check_in_body(json!([report(run, "running")]))).await;
        let reads = messages
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["type"] == "read");
        for message in reads {
            answer(worker, message, reply(message)).await;
        }
    }
}

#[tokio::test]
async fn reads_of_a_running_bundle_are_answered_by_its_worker() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let alice = server.login("alice").await;
    let data = alice.dataset_with("data", b"dependency").await;
    let run = running(
        &server,
        &worker,
        &alice,
        json!([{"child_path": "d", "parent_uuid": data}]),
    )
    .await;

    let serving = tokio::spawn({
        let (worker, run) = (worker.clone(), run.clone());
        async move {
            loop {
                answer_read(&worker, &run, |message| {
                    let path = text(&message["path"]);
                    let file = |size| json!({"target_info": {"name": path, "type": "file", "size": size, "perm": 420}});
                    match (path.as_str(), message["read_args"]["type"].as_str().unwrap()) {
                        ("stdout", "get_target_info") => (Some(file(6)), Vec::new()),
                        ("stdout", _) => {
                            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                            packed.write_all(b"hello\n").unwrap();
                            (None, packed.finish().unwrap())
                        }
                        _ => (
                            Some(json!({"error_code": 404, "error_message": format!("{path} not found in bundle")})),
                            Vec::new(),
                        ),
                    }
                })
                .await;
            }
        }
    });
    let info = alice.fetch(&format!("/bundles/{run}/contents/info/stdout")).await;
    assert_eq!(info["data"]["size"], 6);
    assert_eq!(
        info["data"]["resolved_target"],
        json!({"bundle_uuid": run, "subpath": "stdout"})
    );
    let path = format!("/bundles/{run}/contents/blob/stdout");
    let plain = alice.get(&path).header("Range", "bytes=0-16383").send().await.unwrap();
    assert_eq!(plain.headers()["content-encoding"], "identity");
    assert_eq!(plain.text().await.unwrap(), "hello\n");
    let packed = alice.get(&path).header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");

    // What the worker does not have is looked for in the dependencies, then it is a 404.
    let through = alice
        .get(&format!("/bundles/{run}/contents/blob/d"))
        .send()
        .await
        .unwrap();
    assert_eq!(through.text().await.unwrap(), "dependency");
    let (status, _) = alice
        .send(Method::GET, &format!("/bundles/{run}/contents/info/nope"), None)
        .await;
    assert_eq!(status, 404);
    serving.abort();

    let bob = server.login("bob").await;
    let (status, message) = bob
        .send(Method::POST, "/workers/node7%2812%29/reply/1", Some(json!({})))
        .await;
    assert_eq!((status.as_u16(), message), (403, json!("Not your socket ID!")));
    let (status, message) = worker
        .send(Method::POST, "/workers/node7%2812%29/reply_data/1", None)
        .await;
    assert_eq!((status.as_u16(), message), (400, json!("Missing header message.")));
}

#[tokio::test]
async fn a_kill_reaches_the_worker_of_a_running_bundle() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let alice = server.login("alice").await;
    let run = running(&server, &worker, &alice, json!([])).await;
    let kill = json!({"data": [{"type": "bundle-actions", "attributes": {"type": "kill", "uuid": run}}]});
    alice.change(Method::POST, "/bundle-actions", kill).await;
    let messages = check_in(&worker, check_in_body(json!([report(&run, "running")]))).await;
    assert_eq!(messages[0]["type"], "kill");
    assert_eq!(messages[0]["uuid"], run.as_str());
    assert_eq!(
        alice.fetch(&format!("/bundles/{run}")).await["data"]["attributes"]["state"],
        "running"
    );
}

#[tokio::test]
async fn results_from_a_worker_that_lost_the_run_are_refused() {
    let server = TestServer::start().await;
    let worker = server.login_as("codalab", "codalab_worker_client").await;
    let alice = server.login("alice").await;
    let run = running(&server, &worker, &alice, json!([])).await;
    let other = server.login_as("codalab", "codalab_worker_client").await;
    let mut body = check_in_body(json!([]));
    body["wait_seconds"] = json!(0);
    other.change(Method::POST, "/workers/other/checkin", body).await;
    let path = format!("/bundles/{run}/contents/blob/?filename=bundle.txt&finalize_on_success=0");
    assert_eq!(other.put(&path).body("stale").send().await.unwrap().status(), 403);
}
