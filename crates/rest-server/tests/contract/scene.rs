//! The scene that every row finds: a server on a database of its own, a few accounts, worksheets, bundles, a group and a
//! store; and the `given` preparations.
//!
//! | name | what it is |
//! |---|---|
//! | `root` `alice` `bob` | verified accounts; ids `$ROOT` `$ALICE` `$BOB` |
//! | `carol` | an account that never verified its address; id `$CAROL` |
//! | `$PUBLIC` `$TEAM` | the public group; the group `team` of alice with the member bob |
//! | `$WS` `$HIDDEN` | alice's worksheets `alice-lab` (everybody reads) and `alice-private` (nobody else) |
//! | `$DATA` | alice's dataset `code` on `$WS`: `train.py`, `sub/b.txt`, the link `latest` |
//! | `$SECRET` | alice's dataset `secret` on `$HIDDEN`: one file |
//! | `$RUN` | alice's run `run-train` on `$WS`, not started, with `$DATA/train.py` as `train.py` |
//! | `$STORE` | the store `fastdisk` of root |
//! | `$NONE` | a uuid that nothing has |
//! | `$N` | another number in every row |

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use domain::config::ServerConfig;
use domain::user::Quota;
use model::{NewUser, WorkerKey};
use rest_server::{Settings, listener};
use serde_json::{Value, json};
use testkit::Engine;

use crate::pattern::{Bindings, fill};
use crate::sql::Sql;
use crate::support::{PASSWORD, TestServer};
use crate::wire::{self, Answer, Request};

pub struct Scene {
    pub server: TestServer,
    pub sql: Sql,
    /// What every row knows.
    pub names: Bindings,
    tokens: HashMap<String, String>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.abort();
        }
    }
}

impl Scene {
    pub async fn start(engine: Engine, settings: Settings) -> Self {
        // Everybody may sign up, as often as the rows like, and mails end in the log.
        let config = json!({"server": {"allow_signup": true,
            "limits": {"login_account_from_address": "off", "login_account": "off", "login_address": "off",
                "signup_address": "off", "mail_account": "off", "mail_address": "off"}}});
        let mut config = ServerConfig::from_value(&config).unwrap();
        "a secret of this test".clone_into(&mut config.secret_key);
        let server = TestServer::start_on(engine, settings, listener::ListenerOptions::default(), config).await;
        let mut sql = Sql::connect(server.database.url()).await;
        let model = &server.state.model;
        let carol = NewUser {
            user_name: "carol".to_owned(),
            email: "carol@example.org".to_owned(),
            password: PASSWORD.to_owned(),
            is_verified: false,
            quota: quota(),
            ..NewUser::default()
        };
        model.create_user(carol, 1_700_000_000).await.unwrap();
        let mut names = Bindings::new();
        for name in ["alice", "bob", "carol"] {
            names.insert(
                name.to_uppercase(),
                model.find_user(name).await.unwrap().user_id.as_str().to_owned(),
            );
        }
        names.insert("ROOT".to_owned(), model.root_user_id().to_owned());
        names.insert("PUBLIC".to_owned(), model.public_group().to_string());
        names.insert("NONE".to_owned(), "0x00000000000000000000000000000bad".to_owned());
        names.insert("HOST".to_owned(), server.address.to_string());
        // Everybody here may use a protected instance, so that the same scene serves both modes; `given` takes it away.
        if server.state.settings.protected_mode {
            sql.run("UPDATE `user` SET `has_access` = 1 WHERE `user_name` IN ('alice', 'codalab')")
                .await;
        }
        let mut scene = Self {
            server,
            sql,
            names,
            tokens: HashMap::new(),
            workers: Vec::new(),
        };
        scene.furnish().await;
        scene
    }

    async fn furnish(&mut self) {
        let mut names = self.names.clone();
        for line in [
            "group TEAM of alice named team",
            "worksheet WS of alice named alice-lab",
            "private worksheet HIDDEN of alice named alice-private",
            "directory DATA of alice named code on $WS",
            "dataset SECRET of alice named secret on $HIDDEN",
            "run RUN of alice named run-train on $WS",
            "store STORE named fastdisk",
        ] {
            self.give(line, &mut names)
                .await
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        self.names = names;
        let members = self.names["TEAM"].clone();
        let bob = json!({"data": [{"type": "users", "id": self.names["BOB"]}]});
        self.must(
            "alice",
            "POST",
            &format!("/groups/{members}/relationships/members"),
            &bob,
        )
        .await
        .unwrap();
    }

    /// A token of this account; made at its first request.
    pub async fn token(&mut self, role: &str) -> String {
        if let Some(token) = self.tokens.get(role) {
            return token.clone();
        }
        let name = if role == "root" { "codalab" } else { role };
        let form = format!("grant_type=password&client_id=codalab_cli_client&username={name}&password={PASSWORD}");
        let request = Request::new("POST", "/rest/oauth2/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = wire::send(self.server.address, &request).await.unwrap();
        assert_eq!(answer.status, 200, "login of {role}: {}", answer.text());
        let token: Value = serde_json::from_slice(&answer.body).unwrap();
        let token = token["access_token"].as_str().unwrap().to_owned();
        self.tokens.insert(role.to_owned(), token.clone());
        token
    }

    /// A request of this account, as the command line sends it.
    pub async fn request(&mut self, role: &str, method: &str, path: &str) -> Request {
        let target = if let Some(outside) = path.strip_prefix("//") {
            format!("/{outside}")
        } else {
            format!("/rest{path}")
        };
        let request = Request::new(method, target);
        if role == "anonymous" {
            return request;
        }
        let token = self.token(role).await;
        request.header("Authorization", &format!("Bearer {token}"))
    }

    async fn send(&mut self, request: &Request) -> Answer {
        wire::send(self.server.address, request).await.unwrap()
    }

    /// The JSON of a request that must succeed.
    pub async fn must(&mut self, role: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let request = self
            .request(role, method, path)
            .await
            .header("X-Requested-With", "XMLHttpRequest")
            .header("Content-Type", "application/json")
            .body(body.to_string());
        let answer = self.send(&request).await;
        if !(200..300).contains(&answer.status) {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.text()));
        }
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Carries out a `given` line, which may bind names.
    pub async fn give(&mut self, line: &str, names: &mut Bindings) -> Result<(), String> {
        let line = fill(line, names);
        if let Some(sql) = line.strip_prefix("sql ") {
            self.sql.run(sql).await;
            return Ok(());
        }
        let words: Vec<&str> = line.split(' ').collect();
        let after = |word: &str| {
            words
                .iter()
                .position(|found| *found == word)
                .and_then(|at| words.get(at + 1))
                .copied()
        };
        let owner = after("of").unwrap_or("alice");
        let private = words[0] == "private";
        let words = if private { &words[1..] } else { &words[..] };
        let variable = words.get(1).copied().unwrap_or_default().to_owned();
        let named = after("named").map_or_else(
            || {
                format!(
                    "{}-{}",
                    variable.to_lowercase(),
                    names.get("N").map_or("0", String::as_str)
                )
            },
            str::to_owned,
        );
        let value = match words[0] {
            "worksheet" => self.give_worksheet(owner, &named, private).await?,
            "group" => {
                let body = json!({"data": [{"type": "groups", "attributes": {"name": named}}]});
                id(&self.must(owner, "POST", "/groups", &body).await?)
            }
            "member" => {
                let user = names.get(&variable.to_uppercase()).cloned().unwrap_or_default();
                let group = after("of").unwrap_or_default();
                let group_owner = after("by").unwrap_or("alice");
                let body = json!({"data": [{"type": "users", "id": user}]});
                self.must(
                    group_owner,
                    "POST",
                    &format!("/groups/{group}/relationships/members"),
                    &body,
                )
                .await?;
                return Ok(());
            }
            "account" => {
                let user = NewUser {
                    user_name: named.clone(),
                    email: format!("{named}@example.org"),
                    password: PASSWORD.to_owned(),
                    is_verified: !words.contains(&"unverified"),
                    quota: quota(),
                    ..NewUser::default()
                };
                let user = self.server.state.model.create_user(user, 1_700_000_000).await;
                user.map_err(|error| error.to_string())?.user_id.as_str().to_owned()
            }
            "store" => {
                let body = json!({"data": [{"type": "bundle_stores", "attributes": {"name": named, "storage_type": "disk",
                    "storage_format": "uncompressed"}}]});
                id(&self.must("root", "POST", "/bundle_stores", &body).await?)
            }
            "uploading" => self.give_dataset(owner, &named, after("on")).await?,
            "dataset" => {
                let uuid = self.give_dataset(owner, &named, after("on")).await?;
                let text = after("with")
                    .unwrap_or("hello world")
                    .replace("\\n", "\n")
                    .replace("\\s", " ");
                self.upload(owner, &uuid, "data.txt", text.into_bytes()).await?;
                uuid
            }
            "directory" => {
                let uuid = self.give_dataset(owner, &named, after("on")).await?;
                self.upload(owner, &uuid, "code.tar.gz", directory()).await?;
                uuid
            }
            "run" => self.give_run(owner, &named, after("on"), names).await?,
            "running" => self.give_running(owner, &named, names).await?,
            "answering" => {
                self.give_answering(&variable, names).await;
                return Ok(());
            }
            _ => return Err("no such preparation".to_owned()),
        };
        names.insert(format!("{variable}_NAME"), named);
        names.insert(variable, value);
        Ok(())
    }

    async fn give_worksheet(&mut self, owner: &str, name: &str, private: bool) -> Result<String, String> {
        let body = json!({"data": [{"type": "worksheets", "attributes": {"name": name}}]});
        let uuid = id(&self.must(owner, "POST", "/worksheets", &body).await?);
        if private {
            let body = json!({"data": [{"type": "worksheet-permissions", "attributes": {"permission": 0}, "relationships": {
                "group": {"data": {"type": "groups", "id": self.names["PUBLIC"]}},
                "worksheet": {"data": {"type": "worksheets", "id": uuid}}}}]});
            self.must(owner, "POST", "/worksheet-permissions", &body).await?;
        }
        Ok(uuid)
    }

    async fn give_dataset(&mut self, owner: &str, name: &str, worksheet: Option<&str>) -> Result<String, String> {
        let body = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "dataset",
            "metadata": {"name": name, "description": "", "tags": [], "license": "", "source_url": ""}}}]});
        Ok(id(&self
            .must(owner, "POST", &new_bundle_path(worksheet), &body)
            .await?))
    }

    async fn give_run(
        &mut self,
        owner: &str,
        name: &str,
        worksheet: Option<&str>,
        names: &Bindings,
    ) -> Result<String, String> {
        let dependencies = match names.get("DATA") {
            Some(data) => json!([{"child_path": "train.py", "parent_uuid": data, "parent_path": "train.py"}]),
            None => json!([]),
        };
        let body = json!({"data": [{"type": "bundles", "attributes": {"bundle_type": "run", "command": "python train.py",
            "dependencies": dependencies, "metadata": {"name": name, "description": "", "tags": [],
            "allow_failed_dependencies": false, "request_docker_image": "python:3.10", "request_time": "",
            "request_memory": "2g", "request_disk": "", "request_cpus": 1, "request_gpus": 0, "request_queue": "",
            "request_priority": 0, "request_network": true, "exclude_patterns": []}}}]});
        Ok(id(&self
            .must(owner, "POST", &new_bundle_path(worksheet), &body)
            .await?))
    }

    pub async fn upload(&mut self, owner: &str, uuid: &str, filename: &str, bytes: Vec<u8>) -> Result<(), String> {
        let path = format!("/bundles/{uuid}/contents/blob/?filename={filename}");
        let request = self.request(owner, "PUT", &path).await.body(bytes);
        let answer = self.send(&request).await;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("upload: {status} {}", answer.text())),
        }
    }

    /// A run of `owner` that runs on the owner's worker `worker-<name>`, which does nothing by itself.
    async fn give_running(&mut self, owner: &str, name: &str, names: &mut Bindings) -> Result<String, String> {
        let worker = format!("worker-{name}");
        let run = self.give_run(owner, name, None, names).await?;
        let check_in = format!("/workers/{worker}/checkin");
        self.must(owner, "POST", &check_in, &check_in_body(&json!([]))).await?;
        let uuid = domain::Uuid::parse(&run).unwrap();
        let key = WorkerKey {
            user_id: names[&owner.to_uppercase()].as_str().into(),
            worker_id: worker.as_str().into(),
        };
        let (model, now) = (self.server.state.model.clone(), self.server.state.now());
        let message = json!({"type": "run", "bundle": {"uuid": run}, "resources": {}});
        let staged = model.stage(uuid, now).await.map_err(|error| error.to_string())?;
        let assigned = model
            .assign_run(uuid, &key, &message, now)
            .await
            .map_err(|error| error.to_string())?;
        if !staged || !assigned {
            return Err("the run could not be assigned".to_owned());
        }
        self.must(owner, "POST", &check_in, &check_in_body(&json!([]))).await?;
        let start = json!({"hostname": "node7", "start_time": now});
        self.must(owner, "POST", &format!("/workers/{worker}/start_bundle/{run}"), &start)
            .await?;
        self.must(
            owner,
            "POST",
            &check_in,
            &check_in_body(&json!([report(&run, &worker, "running")])),
        )
        .await?;
        names.insert(
            format!("{}_WORKER", name.split('-').next().unwrap_or(name).to_uppercase()),
            worker,
        );
        Ok(run)
    }

    /// From now on the worker of this run answers what the server asks: its only file is `stdout` with the text
    /// `hello stdout`, and the process in it says `pong` to any message that is not HTTP, and a page to HTTP.
    async fn give_answering(&mut self, variable: &str, names: &Bindings) {
        let worker = names[&format!("{variable}_WORKER")].clone();
        let run = names[variable].clone();
        let token = self.token("alice").await;
        let address = self.server.address;
        self.workers.push(tokio::spawn(async move {
            let post = |path: String, kind: &'static str, body: Vec<u8>| {
                Request::new("POST", path)
                    .header("Authorization", &format!("Bearer {token}"))
                    .header("X-Requested-With", "XMLHttpRequest")
                    .header("Content-Type", kind)
                    .body(body)
            };
            loop {
                let mut body = check_in_body(&json!([report(&run, &worker, "running")]));
                body["wait_seconds"] = json!(5);
                let request = post(
                    format!("/rest/workers/{worker}/checkin"),
                    "application/json",
                    body.to_string().into(),
                );
                let Ok(answer) = wire::send(address, &request).await else {
                    return;
                };
                let messages: Vec<Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
                for message in messages {
                    let socket = &message["socket_id"];
                    let request = match worker_answer(&message) {
                        None => continue,
                        Some(Reply::Json(value)) => post(
                            format!("/rest/workers/{worker}/reply/{socket}"),
                            "application/json",
                            value.to_string().into(),
                        ),
                        Some(Reply::Data(bytes)) => post(
                            format!("/rest/workers/{worker}/reply_data/{socket}?header_message=%7B%7D"),
                            "application/x-www-form-urlencoded",
                            bytes,
                        ),
                    };
                    let _ = wire::send(address, &request).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
}

enum Reply {
    Json(Value),
    Data(Vec<u8>),
}

fn worker_answer(message: &Value) -> Option<Reply> {
    match (
        message["type"].as_str()?,
        message["path"].as_str(),
        message["read_args"]["type"].as_str(),
    ) {
        ("netcat", ..) => {
            let text = message["message"].as_str().unwrap_or_default();
            Some(Reply::Data(match text.split("\r\n").next() {
                Some(line) if line.ends_with("HTTP/1.1") => {
                    let body = format!("you asked: {}", line.trim_end_matches(" HTTP/1.1"));
                    format!("HTTP/1.1 203 Fine\r\nContent-Type: text/plain\r\nX-Inner: yes\r\nSet-Cookie: a=b\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                        .into_bytes()
                }
                _ => b"pong\n".to_vec(),
            }))
        }
        ("read", Some(path @ ("" | "stdout")), Some("get_target_info")) => {
            Some(Reply::Json(json!({"target_info": if path.is_empty() {
                json!({"name": "run", "type": "directory", "size": 4096, "perm": 493,
                    "contents": [{"name": "stdout", "type": "file", "size": 13, "perm": 420}]})
            } else {
                json!({"name": "stdout", "type": "file", "size": 13, "perm": 420})
            }})))
        }
        ("read", Some("stdout"), Some(_)) => Some(Reply::Data(gzip(b"hello stdout\n"))),
        ("read", Some(path), _) => Some(Reply::Json(
            json!({"error_code": 404, "error_message": format!("Path '{path}' not found")}),
        )),
        _ => None,
    }
}

/// A check-in that does not wait for messages.
pub fn check_in_body(runs: &Value) -> Value {
    json!({"tag": null, "group_name": null, "cpus": 4, "gpus": 0, "memory_bytes": 8_000_000_000_i64,
        "free_disk_bytes": 50_000_000_000_i64, "dependencies": [], "hostname": "node7", "shared_file_system": false,
        "tag_exclusive": false, "exit_after_num_runs": 999_999_999, "is_terminating": false, "preemptible": false,
        "runs": runs, "wait_seconds": 0})
}

fn report(uuid: &str, worker: &str, state: &str) -> Value {
    json!({"uuid": uuid, "run_status": "at work", "bundle_start_time": 1.5, "container_time_total": 2.0,
        "container_time_user": 1, "container_time_system": 0, "docker_image": null, "state": state, "remote": worker,
        "exitcode": null, "failure_message": null, "cpu_usage": 0.5, "memory_usage": 0.1, "disk_utilization": 10})
}

fn new_bundle_path(worksheet: Option<&str>) -> String {
    match worksheet {
        Some(worksheet) => format!("/bundles?worksheet={worksheet}"),
        None => "/bundles?detached=1".to_owned(),
    }
}

fn id(document: &Value) -> String {
    document["data"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id: {document}"))
        .to_owned()
}

fn quota() -> Quota {
    Quota {
        time_quota: 1e9,
        disk_quota: 1e9,
        parallel_run_quota: 3,
        ..Quota::default()
    }
}

/// `train.py`, `sub/b.txt` and the link `latest` to the latter, as `.tar.gz`.
fn directory() -> Vec<u8> {
    let mut files = tar::Builder::new(Vec::new());
    add_file(&mut files, "train.py", "print('hello')\n");
    add_file(&mut files, "sub/b.txt", "one\ntwo\nthree\n");
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    link.set_mode(0o777);
    files.append_link(&mut link, "latest", "sub/b.txt").unwrap();
    gzip(&files.into_inner().unwrap())
}

/// A `.tar.gz` of these files.
pub fn archive(files: &[(String, String)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        add_file(&mut builder, name, text);
    }
    gzip(&builder.into_inner().unwrap())
}

fn add_file(files: &mut tar::Builder<Vec<u8>>, name: &str, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    // Written by hand: the library refuses the hostile names that some rows need.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    files.append(&header, text.as_bytes()).unwrap();
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
