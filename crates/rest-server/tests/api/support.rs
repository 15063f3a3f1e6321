//! A server on a free port with a throw-away home, and a client that speaks like the Python one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::config::ServerConfig;
use domain::limits::Limits;
use domain::user::Quota;
use hub::{Hub, LocalHub};
use model::{Model, ModelOptions, NewUser};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rest_server::{AppState, Settings, listener, router};
use serde_json::{Value, json};
use storage::{Storage, StorageOptions};
use tempfile::TempDir;
use testkit::{Engine, TestDatabase};
use tokio_util::sync::CancellationToken;

/// Password of every test account.
pub const PASSWORD: &str = "correct-horse";

pub struct TestServer {
    pub address: SocketAddr,
    pub state: AppState,
    pub database: TestDatabase,
    pub home: TempDir,
    pub shutdown: CancellationToken,
    /// Ends when the last connection has ended after a shutdown.
    pub serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub fn test_config() -> ServerConfig {
    ServerConfig {
        secret_key: "a secret of this test".to_owned(),
        ..ServerConfig::default()
    }
}

fn open_storage(home: &Path) -> Storage {
    let options = StorageOptions {
        min_free_bytes: 0,
        min_free_percent: 0,
        ..StorageOptions::default()
    };
    Storage::open(home, options).unwrap()
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl TestServer {
    /// A server with the accounts `codalab` (root), `alice` and `bob`.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub async fn start_with(settings: Settings) -> Self {
        Self::start_listening(settings, listener::ListenerOptions::default()).await
    }

    /// A server with other limits.
    pub async fn start_limited(limits: Limits) -> Self {
        let config = ServerConfig {
            limits,
            ..test_config()
        };
        Self::start_configured(Settings::default(), listener::ListenerOptions::from(&limits), config).await
    }

    /// A server that may fetch URLs from these hosts and networks, although they are private.
    pub async fn start_fetching(allow: &[&str]) -> Self {
        let mut config = test_config();
        config.fetch.allow = allow.iter().map(|rule| rule.parse().unwrap()).collect();
        Self::start_configured(Settings::default(), listener::ListenerOptions::default(), config).await
    }

    pub async fn start_listening(settings: Settings, options: listener::ListenerOptions) -> Self {
        Self::start_configured(settings, options, test_config()).await
    }

    pub async fn start_configured(
        settings: Settings,
        options: listener::ListenerOptions,
        config: ServerConfig,
    ) -> Self {
        Self::start_on(Engine::Sqlite, settings, options, config).await
    }

    /// A server on a new database of this kind.
    pub async fn start_on(
        engine: Engine,
        settings: Settings,
        options: listener::ListenerOptions,
        config: ServerConfig,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = tempfile::tempdir().unwrap();
        let database = tokio::task::spawn_blocking(move || engine.fresh()).await.unwrap();
        let model = Model::connect(
            database.url(),
            &ModelOptions {
                password_cost: model::PasswordCost::CHEAPEST,
                ..ModelOptions::default()
            },
        )
        .await
        .unwrap();
        let quota = Quota {
            time_quota: 1e9,
            disk_quota: 1e9,
            parallel_run_quota: 3,
            ..Quota::default()
        };
        model.ensure_root(PASSWORD, quota, 1_700_000_000).await.unwrap();
        for name in ["alice", "bob"] {
            let user = NewUser {
                user_name: name.to_owned(),
                email: format!("{name}@example.org"),
                password: PASSWORD.to_owned(),
                is_verified: true,
                quota,
                ..NewUser::default()
            };
            model.create_user(user, 1_700_000_000).await.unwrap();
        }
        let storage = open_storage(home.path());
        let hub: Arc<dyn Hub> = Arc::new(LocalHub::new());
        let shutdown = CancellationToken::new();
        let state = AppState::new(model, storage, hub, config, settings, shutdown.clone());
        Self::listen(state, database, home, shutdown, options).await
    }

    async fn listen(
        state: AppState,
        database: TestDatabase,
        home: TempDir,
        shutdown: CancellationToken,
        options: listener::ListenerOptions,
    ) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = tokio::spawn({
            let (state, shutdown) = (state.clone(), shutdown.clone());
            async move { listener::serve_counted(socket, router(state.clone()), shutdown, options, &state.traffic).await }
        });
        Self {
            address,
            state,
            database,
            home,
            shutdown,
            serving,
        }
    }

    /// A second server on the same database, store and hub.
    pub async fn peer(&self) -> Self {
        let model = self.reopened().await;
        let shutdown = CancellationToken::new();
        let state = AppState::new(
            model,
            open_storage(self.home.path()),
            self.state.hub.clone(),
            test_config(),
            Settings::default(),
            shutdown.clone(),
        );
        // The database and the home belong to the first server; these are placeholders.
        let database = tokio::task::spawn_blocking(|| Engine::Sqlite.fresh()).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        Self::listen(state, database, home, shutdown, listener::ListenerOptions::default()).await
    }

    /// The database again, after the server has closed it.
    pub async fn reopened(&self) -> Model {
        Model::connect(self.database.url(), &ModelOptions::default())
            .await
            .unwrap()
    }

    /// A client that is not logged in.
    pub fn anonymous(&self) -> Client {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Client {
            http,
            base: format!("http://{}/rest", self.address),
            token: None,
        }
    }

    /// A client with a token of this account.
    pub async fn login(&self, name: &str) -> Client {
        self.login_as(name, "codalab_cli_client").await
    }

    /// A client with a token for one of the two OAuth clients.
    pub async fn login_as(&self, name: &str, oauth_client: &str) -> Client {
        let mut client = self.anonymous();
        let form = [("grant_type", "password"), ("username", name), ("password", PASSWORD)];
        let answer = client
            .post("/oauth2/token")
            .basic_auth(oauth_client, Some(""))
            .form(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let token: Value = answer.json().await.unwrap();
        client.token = token["access_token"].as_str().map(str::to_owned);
        client
    }

    /// Waits until no file of a transfer and nothing named after this bundle is left in the home.
    pub async fn wait_for_no_trace_of(&self, uuid: &str) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while let Some(trace) = self.trace_of(uuid) {
            assert!(tokio::time::Instant::now() < deadline, "{} stays", trace.display());
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a transfer to this bundle has begun.
    pub async fn wait_for_trace_of(&self, uuid: &str) {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.trace_of(uuid).is_none() {
            assert!(tokio::time::Instant::now() < deadline, "no transfer to {uuid} begins");
            tokio::task::yield_now().await;
        }
    }

    fn trace_of(&self, uuid: &str) -> Option<PathBuf> {
        let mut pending = vec![self.home.path().to_owned()];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let in_transfer = path
                    .components()
                    .any(|part| part.as_os_str() == "staging" || part.as_os_str() == "trash");
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if entry.file_name().to_string_lossy().contains(uuid) || (in_transfer && !is_dir) {
                    return Some(path);
                }
                if is_dir {
                    pending.push(path);
                }
            }
        }
        None
    }
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
}

impl Client {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("X-Requested-With", "XMLHttpRequest")
            .header("Accept-Encoding", "identity");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    /// Status and JSON (null for an empty body, text for other bodies).
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        read(request.send().await.unwrap()).await
    }

    /// The JSON of a successful `GET`.
    pub async fn fetch(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// The JSON of a successful request with a body.
    pub async fn change(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, value) = self.send(method, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {value}");
        value
    }

    /// Uuid of the home worksheet.
    pub async fn home_worksheet(&self) -> String {
        let found = self.fetch("/worksheets?specs=%2F").await;
        text(&found["data"][0]["id"])
    }

    /// Creates a dataset that waits for its upload.
    pub async fn new_dataset(&self, name: &str) -> String {
        let worksheet = self.home_worksheet().await;
        let body = json!({"data": [{"type": "bundles", "attributes": {
            "bundle_type": "dataset",
            "metadata": {"name": name, "description": "", "tags": [], "license": "", "source_url": ""}}}]});
        let created = self
            .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), body)
            .await;
        text(&created["data"][0]["id"])
    }

    /// Creates a run.
    pub async fn new_run(&self, command: &str, dependencies: Value) -> String {
        let worksheet = self.home_worksheet().await;
        let body = json!({"data": [{"type": "bundles", "attributes": {
            "bundle_type": "run", "command": command, "dependencies": dependencies,
            "metadata": {"name": "run-it", "description": "", "tags": [], "allow_failed_dependencies": false,
                "request_docker_image": "", "request_time": "", "request_memory": "", "request_disk": "",
                "request_cpus": 1, "request_gpus": 0, "request_queue": "", "request_priority": 0,
                "request_network": false, "exclude_patterns": []}}}]});
        let created = self
            .change(Method::POST, &format!("/bundles?worksheet={worksheet}"), body)
            .await;
        text(&created["data"][0]["id"])
    }

    /// Takes a bundle away from the public.
    pub async fn hide(&self, uuid: &str) {
        let public = self.fetch("/groups/public").await["data"]["id"].clone();
        let hide = json!({"data": [{"type": "bundle-permissions", "attributes": {"permission": 0}, "relationships": {
            "group": {"data": {"type": "groups", "id": public}},
            "bundle": {"data": {"type": "bundles", "id": uuid}}}}]});
        self.change(Method::POST, "/bundle-permissions", hide).await;
    }

    /// Uploads bytes as a file.
    pub async fn upload(&self, uuid: &str, filename: &str, bytes: impl Into<reqwest::Body>) -> (StatusCode, String) {
        let path = format!("/bundles/{uuid}/contents/blob/?filename={filename}&unpack=1&finalize_on_failure=1");
        let answer = self.put(&path).body(bytes).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// A dataset with one file.
    pub async fn dataset_with(&self, name: &str, bytes: &'static [u8]) -> String {
        let uuid = self.new_dataset(name).await;
        let (status, text) = self.upload(&uuid, "data.txt", bytes).await;
        assert_eq!(status, 200, "{text}");
        uuid
    }
}

pub async fn read(answer: Response) -> (StatusCode, Value) {
    let status = answer.status();
    let json = answer
        .headers()
        .get("content-type")
        .is_some_and(|value| value == "application/json");
    let body = answer.text().await.unwrap();
    let value = match json {
        true => serde_json::from_str(&body).unwrap(),
        false if body.is_empty() => Value::Null,
        false => Value::String(body),
    };
    (status, value)
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// State and failure message of a bundle.
pub async fn state_of(client: &Client, uuid: &str) -> (String, String) {
    let bundle = client.fetch(&format!("/bundles/{uuid}")).await;
    let attributes = &bundle["data"]["attributes"];
    let message = attributes["metadata"]["failure_message"].as_str().unwrap_or_default();
    (attributes["state"].as_str().unwrap().to_owned(), message.to_owned())
}
