//! A server on either database that can be stopped and started again, a mail server beside it, and browsers.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use domain::config::{AttemptLimits, MailSecurity, MailSettings, ServerConfig};
use domain::user::Quota;
use futures::FutureExt;
use hub::LocalHub;
use model::{Model, ModelOptions, NewUser, PasswordCost};
use reqwest::{Method, RequestBuilder};
use rest_server::{AppState, Settings, listener, router};
use serde_json::Value;
use storage::{Storage, StorageOptions};
use tempfile::TempDir;
use testkit::{Engine, TestDatabase};
use tokio_util::sync::CancellationToken;

use crate::smtp::{Mood, SmtpServer};
use crate::support::PASSWORD;

/// Declares tests that run once per database.
macro_rules! on_both {
    ($(async fn $name:ident($site:ident) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn check($site: &mut $crate::site::Site) $body

            #[tokio::test]
            async fn sqlite() {
                $crate::site::with(testkit::Engine::Sqlite, |_, _| {}, async |site| check(site).await).await;
            }

            #[tokio::test]
            async fn mariadb() {
                $crate::site::with(testkit::Engine::Mariadb, |_, _| {}, async |site| check(site).await).await;
            }
        })*
    };
}

pub struct Site {
    pub address: SocketAddr,
    pub state: AppState,
    pub config: ServerConfig,
    pub mails: SmtpServer,
    settings: Settings,
    database: TestDatabase,
    home: TempDir,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Runs a test on a fresh site with the verified accounts `codalab` (root), `alice`, `bob`, and `carol`, who is not verified.
pub async fn with(
    engine: Engine,
    configure: impl FnOnce(&mut ServerConfig, &mut Settings),
    test: impl AsyncFnOnce(&mut Site),
) {
    let mut site = Site::start(engine, configure).await;
    let outcome = AssertUnwindSafe(test(&mut site)).catch_unwind().await;
    site.stop().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The same on SQLite alone, for what no SQL is involved in.
pub async fn configured(configure: impl FnOnce(&mut ServerConfig, &mut Settings), test: impl AsyncFnOnce(&mut Site)) {
    with(Engine::Sqlite, configure, test).await;
}

impl Site {
    async fn start(engine: Engine, configure: impl FnOnce(&mut ServerConfig, &mut Settings)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let database = tokio::task::spawn_blocking(move || engine.fresh()).await.unwrap();
        let mails = SmtpServer::start(Mood::Good).await;
        let mut config = ServerConfig {
            secret_key: "a secret of this test".to_owned(),
            allow_signup: true,
            attempts: unlimited(),
            mail: Some(mail_settings(mails.port)),
            ..ServerConfig::default()
        };
        let mut settings = Settings::default();
        configure(&mut config, &mut settings);
        let home = tempfile::tempdir().unwrap();
        let model = connect(&database).await;
        model
            .ensure_root(PASSWORD, Quota::default(), 1_700_000_000)
            .await
            .unwrap();
        for name in ["alice", "bob", "carol"] {
            let user = NewUser {
                user_name: name.to_owned(),
                email: format!("{name}@example.org"),
                password: PASSWORD.to_owned(),
                is_verified: name != "carol",
                ..NewUser::default()
            };
            model.create_user(user, 1_700_000_000).await.unwrap();
        }
        let (state, address, shutdown, serving) = serve(model, &home, &config, &settings).await;
        Self {
            address,
            state,
            config,
            mails,
            settings,
            database,
            home,
            shutdown,
            serving,
        }
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        let _ = (&mut self.serving).await;
        self.state.model.close().await;
    }

    /// Ends the server and starts another one with the same database and this configuration.
    pub async fn restart(&mut self, config: ServerConfig) {
        self.stop().await;
        let model = connect(&self.database).await;
        let (state, address, shutdown, serving) = serve(model, &self.home, &config, &self.settings).await;
        (self.state, self.address, self.shutdown, self.serving, self.config) =
            (state, address, shutdown, serving, config);
    }

    pub fn browser(&self) -> Browser {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        Browser {
            http: http.build().unwrap(),
            origin: format!("http://{}", self.address),
            cookie: None,
            headers: Vec::new(),
        }
    }

    /// A browser that is logged in.
    pub async fn logged_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser
            .post("/account/login", &[("username", name), ("password", PASSWORD)])
            .await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/"));
        browser
    }

    pub async fn user_id(&self, name: &str) -> String {
        self.state.model.find_user(name).await.unwrap().user_id.to_string()
    }
}

pub fn unlimited() -> AttemptLimits {
    AttemptLimits {
        login_account_from_address: None,
        login_account: None,
        login_address: None,
        signup_address: None,
        mail_account: None,
        mail_address: None,
    }
}

pub fn mail_settings(port: u16) -> MailSettings {
    MailSettings {
        port,
        security: MailSecurity::None,
        ..MailSettings::new("127.0.0.1")
    }
}

async fn connect(database: &TestDatabase) -> Model {
    let options = ModelOptions {
        password_cost: PasswordCost::CHEAPEST,
        ..ModelOptions::default()
    };
    Model::connect(database.url(), &options).await.unwrap()
}

async fn serve(
    model: Model,
    home: &TempDir,
    config: &ServerConfig,
    settings: &Settings,
) -> (
    AppState,
    SocketAddr,
    CancellationToken,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let storage_options = StorageOptions {
        min_free_bytes: 0,
        min_free_percent: 0,
        ..StorageOptions::default()
    };
    let storage = Storage::open(home.path(), storage_options).unwrap();
    let shutdown = CancellationToken::new();
    let hub = Arc::new(LocalHub::new());
    let state = AppState::new(model, storage, hub, config.clone(), settings.clone(), shutdown.clone());
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = tokio::spawn(listener::serve_router(
        socket,
        router(state.clone()),
        shutdown.clone(),
        listener::ListenerOptions::default(),
    ));
    (state, address, shutdown, serving)
}

/// A browser: keeps its session cookie, follows no redirects, and sends forms from our own pages.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
    pub origin: String,
    /// `codalab_session=…`
    pub cookie: Option<String>,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The target of a redirect without our origin.
    pub location: String,
    pub set_cookie: Vec<String>,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The path of the redirect.
    pub fn page(&self) -> &str {
        self.location.split('?').next().unwrap_or_default()
    }

    /// A parameter of the redirect.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.location.split_once('?')?.1;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl Browser {
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut browser = self.clone();
        browser.headers.push((name.to_owned(), value.to_owned()));
        browser
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    pub async fn head(&mut self, path: &str) -> Answer {
        let request = self.request(Method::HEAD, path);
        self.send(request).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, path).form(form);
        self.send(request).await
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}/rest{path}", self.origin));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    pub async fn send(&mut self, request: RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let headers = answer.headers().clone();
        let location = headers.get("location").map_or("", |value| value.to_str().unwrap());
        let set_cookie: Vec<String> = headers
            .get_all("set-cookie")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        if let Some(set) = set_cookie.first() {
            let pair = set.split(';').next().unwrap().to_owned();
            self.cookie = (!set.contains("Max-Age=-1")).then_some(pair);
        }
        Answer {
            status: answer.status().as_u16(),
            location: location.strip_prefix(&self.origin).unwrap_or(location).to_owned(),
            set_cookie,
            headers,
            body: answer.text().await.unwrap(),
        }
    }

    /// The name of who is logged in.
    pub async fn who(&mut self) -> Option<String> {
        let request = self
            .request(Method::GET, "/user")
            .header("X-Requested-With", "XMLHttpRequest");
        let answer = self.send(request).await;
        match answer.status {
            200 => answer.json()["data"]["attributes"]["user_name"]
                .as_str()
                .map(str::to_owned),
            401 => None,
            other => panic!("{other}: {}", answer.body),
        }
    }
}
