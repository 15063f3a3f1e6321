//! The smallest server that a worker can work for: hands out messages, records what is reported, uploaded and replied.

pub mod registry;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub const DEADLINE: Duration = Duration::from_secs(60);
pub const OWNER: &str = "17";

/// Names and contents of an uploaded directory; a link's text for links.
pub type Files = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
pub struct Records {
    /// Waiting for the next check-in.
    pub queue: Vec<Value>,
    /// Every run entry of every check-in.
    pub reports: Vec<(Instant, Value)>,
    pub check_ins: Vec<Value>,
    pub uploads: BTreeMap<String, Vec<Files>>,
    pub starts: BTreeMap<String, usize>,
    pub replies: BTreeMap<i64, Vec<(bool, Vec<u8>)>>,
    /// `uuid/path` to type, permissions and body.
    pub contents: BTreeMap<String, (&'static str, u32, Vec<u8>)>,
    /// Statuses with which the next uploads are refused.
    pub refuse_uploads: Vec<u16>,
}

#[derive(Clone)]
pub struct Server {
    pub address: String,
    records: Arc<Mutex<Records>>,
    wake: broadcast::Sender<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self {
            address,
            records: Arc::default(),
            wake: broadcast::Sender::new(16),
        };
        let router = Router::new()
            .route("/rest/oauth2/token", post(token))
            .route(
                "/rest/user",
                get(async || json_answer(&json!({"data": {"type": "users", "id": OWNER}}))),
            )
            .route("/rest/workers/{id}/checkin", post(check_in))
            .route("/rest/workers/{id}/start_bundle/{uuid}", post(start_bundle))
            .route("/rest/workers/{id}/reply/{socket}", post(reply))
            .route("/rest/workers/{id}/reply_data/{socket}", post(reply_data))
            .route("/rest/bundles/{uuid}/contents/blob/", put(upload).get(blob_root))
            .route("/rest/bundles/{uuid}/contents/blob/{*path}", get(blob))
            .route("/rest/bundles/{uuid}/contents/info/", get(info_root))
            .route("/rest/bundles/{uuid}/contents/info/{*path}", get(info))
            .route("/ws/worker/{id}", get(websocket))
            .layer(DefaultBodyLimit::disable())
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub fn look<T>(&self, look: impl FnOnce(&mut Records) -> T) -> T {
        look(&mut self.records.lock().unwrap())
    }

    /// Queues a message and wakes the worker up.
    pub fn send(&self, message: Value) {
        self.look(|records| records.queue.push(message));
        let _ = self.wake.send(());
    }

    /// Waits until `probe` gives something.
    pub async fn wait<T>(&self, what: &str, mut probe: impl FnMut(&mut Records) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = self.look(&mut probe) {
                return found;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "waited in vain: {what}; {:?}",
                self.look(|r| r.reports.last().cloned())
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The first report of a run in the given state.
    pub async fn reported(&self, uuid: &str, state: &str) -> Value {
        self.wait(&format!("{uuid} {state}"), |records| {
            let mut reports = records.reports.iter().map(|(_, report)| report);
            reports
                .find(|report| report["uuid"] == uuid && report["state"] == state)
                .cloned()
        })
        .await
    }

    /// What the run's last upload holds, once the run is finalizing.
    pub async fn result(&self, uuid: &str) -> (Value, Files) {
        let report = self.reported(uuid, "finalizing").await;
        let files = self.look(|records| records.uploads.get(uuid).and_then(|all| all.last()).cloned());
        (report, files.unwrap_or_default())
    }

    /// Sends a request about a running bundle and gives the only reply: whether it is data, and its bytes.
    pub async fn ask(&self, socket: i64, message: Value) -> (bool, Vec<u8>) {
        self.send(message);
        self.wait(&format!("reply {socket}"), |records| {
            records.replies.get(&socket).map(|all| all[0].clone())
        })
        .await
    }

    pub async fn read(&self, uuid: &str, path: &str, args: Value) -> Result<Vec<u8>, Value> {
        let socket = rand::random::<u32>().into();
        let message = json!({"type": "read", "uuid": uuid, "socket_id": socket, "path": path, "read_args": args});
        let (is_data, bytes) = self.ask(socket, message).await;
        if is_data {
            Ok(gunzip(&bytes))
        } else {
            Err(serde_json::from_slice(&bytes).unwrap())
        }
    }

    /// Starts a worker with the binary.
    pub fn worker(&self, work: &Path, options: &[&str]) -> Worker {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(work.with_extension("log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cl-worker"))
            .args(["--server", &self.address, "--verbose", "--work-dir"])
            .arg(work)
            .args(options)
            .env("CODALAB_USERNAME", "ann")
            .env("CODALAB_PASSWORD", "secret")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Worker(child)
    }
}

/// Killed, like with `kill -9`, when dropped.
pub struct Worker(pub Child);

impl Worker {
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub fn terminate(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `run` message; `changes` are merged into it.
pub fn run_message(uuid: &str, command: &str, changes: &Value) -> Value {
    let mut message = json!({
        "type": "run",
        "bundle": {
            "uuid": uuid, "bundle_type": "run", "owner_id": OWNER, "command": command, "state": "starting",
            "frozen": null, "is_anonymous": false, "metadata": {"exclude_patterns": [], "store": "", "name": "r"},
            "args": "", "dependencies": [], "location": null,
        },
        "resources": {"cpus": 1, "gpus": 0, "docker_image": "codalab/default-cpu:latest", "time": 0,
            "memory": 268_435_456, "disk": 0, "network": true, "tag": "", "tag_exclusive": false, "runs_left": null},
    });
    merge(&mut message, changes);
    message
}

fn merge(target: &mut Value, changes: &Value) {
    match (target, changes) {
        (Value::Object(target), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, changes) => *target = changes.clone(),
    }
}

pub fn new_uuid() -> String {
    format!("0x{:032x}", rand::random::<u128>())
}

pub fn text(files: &Files, name: &str) -> String {
    String::from_utf8_lossy(files.get(name).map_or(&[][..], Vec::as_slice)).into_owned()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

/// The members of a tar, without `./`.
pub fn untar(bytes: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry
            .path()
            .unwrap()
            .to_string_lossy()
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let mut body = Vec::new();
        match entry.link_name().unwrap() {
            Some(target) => body = target.to_string_lossy().into_owned().into_bytes(),
            None => drop(entry.read_to_end(&mut body).unwrap()),
        }
        if !name.is_empty() {
            files.insert(name, body);
        }
    }
    files
}

/// A tar.gz of the given files.
pub fn tar_gz(files: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, body, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(*mode);
        builder
            .append_data(&mut header, format!("./{name}"), body.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn json_answer(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

async fn token() -> Response {
    json_answer(&json!({"token_type": "Bearer", "access_token": "t", "expires_in": 3600}))
}

async fn check_in(State(server): State<Server>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let hold = Duration::from_secs(request["wait_seconds"].as_u64().unwrap_or(5));
    let mut woken = server.wake.subscribe();
    let mut answer = server.look(|records| {
        let mut answer = Vec::new();
        for run in request["runs"].as_array().unwrap() {
            records.reports.push((Instant::now(), run.clone()));
            if run["state"] == "finalizing" {
                answer.push(json!({"type": "mark_finalized", "uuid": run["uuid"]}));
            }
        }
        records.check_ins.push(request.clone());
        answer.append(&mut records.queue);
        answer
    });
    if answer.is_empty() && tokio::time::timeout(hold, woken.recv()).await.is_ok() {
        answer = server.look(|records| std::mem::take(&mut records.queue));
    }
    if answer.is_empty() {
        answer.push(Value::Null);
    }
    json_answer(&Value::Array(answer))
}

async fn start_bundle(State(server): State<Server>, UrlPath((_, uuid)): UrlPath<(String, String)>) -> Response {
    server.look(|records| *records.starts.entry(uuid).or_default() += 1);
    json_answer(&json!(true))
}

async fn reply(State(server): State<Server>, UrlPath((_, socket)): UrlPath<(String, i64)>, body: Bytes) {
    server.look(|records| records.replies.entry(socket).or_default().push((false, body.to_vec())));
}

async fn reply_data(State(server): State<Server>, UrlPath((_, socket)): UrlPath<(String, i64)>, body: Bytes) {
    server.look(|records| records.replies.entry(socket).or_default().push((true, body.to_vec())));
}

async fn upload(State(server): State<Server>, UrlPath(uuid): UrlPath<String>, body: Bytes) -> Response {
    let refused = server.look(|records| records.refuse_uploads.pop());
    if let Some(status) = refused {
        return (StatusCode::from_u16(status).unwrap(), "Upload failed: no room").into_response();
    }
    let files = untar(&gunzip(&body));
    server.look(|records| records.uploads.entry(uuid).or_default().push(files));
    StatusCode::OK.into_response()
}

fn find(server: &Server, uuid: &str, path: &str) -> Option<(&'static str, u32, Vec<u8>)> {
    server.look(|records| records.contents.get(&format!("{uuid}/{path}")).cloned())
}

async fn info_root(server: State<Server>, UrlPath(uuid): UrlPath<String>) -> Response {
    info(server, UrlPath((uuid, String::new()))).await
}

async fn info(State(server): State<Server>, UrlPath((uuid, path)): UrlPath<(String, String)>) -> Response {
    match find(&server, &uuid, &path) {
        Some((kind, perm, _)) => json_answer(&json!({"data": {"name": path, "type": kind, "size": 1, "perm": perm}})),
        None => (StatusCode::NOT_FOUND, "not found").into_response(),
    }
}

async fn blob_root(server: State<Server>, UrlPath(uuid): UrlPath<String>) -> Response {
    blob(server, UrlPath((uuid, String::new()))).await
}

async fn blob(State(server): State<Server>, UrlPath((uuid, path)): UrlPath<(String, String)>) -> Response {
    match find(&server, &uuid, &path) {
        Some((kind, _, body)) => ([("target-type", kind)], body).into_response(),
        None => (StatusCode::NOT_FOUND, "not found").into_response(),
    }
}

async fn websocket(State(server): State<Server>, UrlPath(id): UrlPath<String>, upgrade: WebSocketUpgrade) -> Response {
    let mut wake = server.wake.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        loop {
            tokio::select! {
                Ok(()) = wake.recv() => {
                    if socket.send(Message::Text(id.clone().into())).await.is_err() {
                        return;
                    }
                }
                message = socket.recv() => {
                    if message.is_none_or(|message| message.is_err()) {
                        return;
                    }
                }
            }
        }
    })
}
