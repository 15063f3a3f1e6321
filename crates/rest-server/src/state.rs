//! What every handler can reach.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::Document;
use axum::response::Response;
use domain::config::{MailSettings, ServerConfig};
use domain::run::NETCAT_BYTES;
use hub::Hub;
use model::{Model, WorkerKey};
use sha2::{Digest, Sha256};
use storage::Storage;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::cookie::SessionSigner;
use crate::captcha::Captcha;
use crate::fetch::Fetcher;
use crate::interpretation::FileValues;
use crate::mail::Mailer;
use crate::peers::Peers;
use crate::repeats::Repeats;
use crate::replies::Replies;
use crate::respond;
use crate::telemetry::RecentCensus;
use crate::traffic::Traffic;

/// Settings that come from the environment instead of `config.json`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `meta.version` of every response: digits and dots.
    pub version: String,
    /// Users need `has_access`.
    pub protected_mode: bool,
    /// Store of uploads that name none (`CODALAB_DEFAULT_BUNDLE_STORE_NAME`).
    pub default_store: Option<String>,
    /// Longest silence of a server that contents are fetched from (`CODALAB_URLOPEN_TIMEOUT_SECONDS`).
    pub fetch_timeout: Duration,
    /// Directory of `/rest/static` (`CODALAB_STATIC_DIR`).
    pub static_dir: Option<PathBuf>,
    /// Where other servers on the same database reach this one (`CODALAB_REST_INTERNAL_URL`); found out when not given.
    pub internal_url: Option<String>,
    /// Asked at sign-up (`CODALAB_RECAPTCHA_SECRET_KEY`, `CODALAB_RECAPTCHA_URL`).
    pub captcha: Option<Captcha>,
    /// Goes before the `email` section of `config.json` (`CODALAB_EMAIL_HOST`, `…_USERNAME`, `…_PASSWORD`).
    pub mail: MailOverride,
}

/// What the environment says about the mail server.
#[derive(Clone, Default)]
pub struct MailOverride {
    /// Name of the server.
    pub host: Option<String>,
    /// Login name.
    pub username: Option<String>,
    /// Login password. Never printed.
    pub password: Option<String>,
}

impl MailOverride {
    fn over(&self, file: Option<MailSettings>) -> Option<MailSettings> {
        let mut settings = match (&self.host, file) {
            (Some(host), Some(file)) => MailSettings {
                host: host.clone(),
                ..file
            },
            (Some(host), None) => MailSettings::new(host),
            (None, file) => file?,
        };
        if let Some(username) = &self.username {
            settings.username.clone_from(username);
        }
        settings.password = self.password.clone().or(settings.password);
        Some(settings)
    }
}

impl std::fmt::Debug for MailOverride {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailOverride")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: api::VERSION.to_owned(),
            protected_mode: false,
            default_store: None,
            fetch_timeout: Duration::from_secs(300),
            static_dir: None,
            captcha: None,
            mail: MailOverride::default(),
            internal_url: None,
        }
    }
}

impl Settings {
    /// Reads the environment: `CODALAB_PROTECTED_MODE`, `CODALAB_DEFAULT_BUNDLE_STORE_NAME`,
    /// `CODALAB_URLOPEN_TIMEOUT_SECONDS`, `CODALAB_STATIC_DIR`, `CODALAB_REST_INTERNAL_URL`,
    /// `CODALAB_RECAPTCHA_…`, `CODALAB_EMAIL_…`.
    pub fn from_env() -> domain::Result<Self> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let protected_mode = match text("CODALAB_PROTECTED_MODE")
            .map(|value| value.to_lowercase())
            .as_deref()
        {
            None | Some("false" | "0" | "no" | "off") => false,
            Some("true" | "1" | "yes" | "on") => true,
            Some(other) => {
                let message = format!("CODALAB_PROTECTED_MODE is '{other}'; it must be True or False");
                return Err(domain::Error::usage(message));
            }
        };
        let fetch_timeout = match text("CODALAB_URLOPEN_TIMEOUT_SECONDS") {
            None => Self::default().fetch_timeout,
            Some(value) => {
                let Ok(seconds @ 1..=86_400) = value.parse::<u64>() else {
                    let message = format!(
                        "CODALAB_URLOPEN_TIMEOUT_SECONDS is '{value}'; it must be a number of seconds, 1 to 86400"
                    );
                    return Err(domain::Error::usage(message));
                };
                Duration::from_secs(seconds)
            }
        };
        let captcha = text("CODALAB_RECAPTCHA_SECRET_KEY")
            .and_then(|secret| Captcha::new(&secret, text("CODALAB_RECAPTCHA_URL").as_deref()));
        Ok(Self {
            captcha,
            mail: MailOverride {
                host: text("CODALAB_EMAIL_HOST"),
                username: text("CODALAB_EMAIL_USERNAME"),
                password: text("CODALAB_EMAIL_PASSWORD"),
            },
            protected_mode,
            fetch_timeout,
            static_dir: text("CODALAB_STATIC_DIR").map(PathBuf::from),
            internal_url: text("CODALAB_REST_INTERNAL_URL").map(|url| url.trim_end_matches('/').to_owned()),
            default_store: text("CODALAB_DEFAULT_BUNDLE_STORE_NAME"),
            ..Self::default()
        })
    }
}

/// The shared state of the server. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// See [`AppState`].
pub struct Shared {
    /// The database.
    pub model: Model,
    /// The bundle store.
    pub storage: Storage,
    /// Wake-ups.
    pub hub: Arc<dyn Hub>,
    /// The server's part of `config.json`.
    pub config: ServerConfig,
    /// Settings from the environment.
    pub settings: Settings,
    /// Ends long polls; set when the server shuts down.
    pub shutdown: CancellationToken,
    /// Bounds and counters.
    pub traffic: Arc<Traffic>,
    /// Sends mail in the background.
    pub mail: Mailer,
    pub(crate) sessions: SessionSigner,
    pub(crate) replies: Replies,
    /// The other servers on this database.
    pub(crate) peers: Peers,
    /// Answers for requests that arrive twice.
    pub(crate) repeats: Repeats,
    /// Fetches what users name by URL.
    pub(crate) fetcher: Fetcher,
    /// Values from files that worksheets show.
    pub(crate) file_values: FileValues,
    /// Work that outlives its request; the server waits for it when it shuts down.
    pub(crate) tasks: TaskTracker,
    /// Held while an upload becomes visible.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// For metrics.
    pub(crate) census: RecentCensus,
    worker_tokens: Mutex<HashMap<[u8; 32], WorkerKey>>,
    /// Workers that take netcat messages of any bytes.
    byte_workers: Mutex<HashSet<WorkerKey>>,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AppState {
    /// Puts the parts together. `shutdown` ends long polls and makes `/readyz` fail.
    pub fn new(
        model: Model,
        storage: Storage,
        hub: Arc<dyn Hub>,
        config: ServerConfig,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        let fetcher = Fetcher::new(config.fetch.clone(), settings.fetch_timeout);
        let sessions = SessionSigner::new(
            &config.secret_key,
            &config.previous_secret_keys,
            config.session_http_only,
        );
        let tasks = TaskTracker::new();
        let smtp = settings.mail.over(config.mail.clone());
        let mail = Mailer::new(smtp.as_ref(), config.mail_to_log, tasks.clone(), shutdown.clone());
        if smtp.is_some() && config.public_url.is_none() {
            tracing::warn!(
                "links in mails name the host that the request names; set server/public_url in config.json, so that nobody \
                 can make others follow a link to a host of his own"
            );
        }
        Self(Arc::new(Shared {
            model,
            storage,
            hub,
            traffic: Arc::new(Traffic::new(config.limits)),
            config,
            settings,
            shutdown,
            sessions,
            replies: Replies::default(),
            peers: Peers::default(),
            repeats: Repeats::default(),
            file_values: FileValues::default(),
            fetcher,
            tasks,
            mail,
            publishing: tokio::sync::Mutex::new(()),
            census: RecentCensus::default(),
            worker_tokens: Mutex::default(),
            byte_workers: Mutex::default(),
        }))
    }

    /// Unix seconds.
    #[allow(clippy::unused_self)] // reads as the server's clock, and leaves room for one that tests can turn
    pub fn now(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs() as i64)
    }

    /// The answer for a document.
    pub(crate) fn respond(&self, document: Document) -> Response {
        respond::json_text(document.into_text(&self.settings.version))
    }

    /// Remembers that an access token belongs to a worker, for [`Self::worker_of_token`].
    pub(crate) fn bind_token(&self, token: &str, worker: &WorkerKey) {
        const MOST: usize = 100_000;
        let mut tokens = self.worker_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(digest(token), worker.clone());
    }

    /// Remembers what a worker can do, from its check-in; every server sees one sooner or later.
    pub(crate) fn note_capabilities(&self, worker: &WorkerKey, capabilities: &[String]) {
        let takes_bytes = capabilities.iter().any(|name| name == NETCAT_BYTES);
        let mut workers = self.byte_workers.lock().unwrap_or_else(PoisonError::into_inner);
        if !takes_bytes {
            workers.remove(worker);
        } else if !workers.contains(worker) {
            workers.insert(worker.clone());
        }
    }

    /// Whether a worker takes netcat messages that are not text.
    pub(crate) fn takes_bytes(&self, worker: &WorkerKey) -> bool {
        self.byte_workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(worker)
    }

    /// The worker that checked in with this access token, if one did.
    pub(crate) fn worker_of_token(&self, token: &str) -> Option<WorkerKey> {
        self.worker_tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&digest(token))
            .cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
