//! What a worker is told when it starts: where its server is, who it is, and what it may use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Text that `{:?}` does not show.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// How the worker proves who it is.
#[derive(Clone)]
pub enum Credentials {
    /// A token is requested with the password grant of the OAuth client `codalab_worker_client`.
    Password { username: String, password: Secret },
    /// Tokens come from the program that embeds the worker.
    Tokens(Arc<dyn client::TokenSource>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::Tokens(_) => f.write_str("Tokens"),
        }
    }
}

/// What executes bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Containers of a Docker engine; no engine is an error.
    Docker,
    /// Child processes, for bundles of the worker's own account only.
    Process,
    /// Docker when an engine answers, else `Process`.
    Auto,
}

/// Which GPUs bundles may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    All,
    None,
    /// Indices or UUIDs, as given.
    Listed(Vec<String>),
}

/// Everything a worker is told at its start. [`Config::new`] has the defaults of the command line.
#[derive(Clone, Debug)]
pub struct Config {
    /// Base URL of the server, without `/rest` and without a trailing slash.
    pub server: String,
    /// Base URL of the websocket server (`ws://…`); derived from `server` when absent.
    pub ws_server: Option<String>,
    pub credentials: Credentials,
    pub work_dir: PathBuf,
    /// Worker id; when absent `<hostname>(<pid>)`, kept in the work directory and reused by the next start.
    pub id: Option<String>,
    pub runtime: RuntimeKind,
    /// Tag for `request_queue` matching.
    pub tag: Option<String>,
    /// Only run bundles that ask for the tag.
    pub tag_exclusive: bool,
    /// Name of a user group whose members may use this worker too.
    pub group: Option<String>,
    pub network_prefix: String,
    /// CPU indices that bundles may use; all of the process's affinity mask when absent.
    pub cpuset: Option<Vec<u32>>,
    pub gpuset: Gpus,
    /// Cap of the dependency cache, bytes on disk.
    pub max_work_dir_size: u64,
    /// Cap of the image cache, bytes; images are never removed without it.
    pub max_image_cache_size: Option<u64>,
    /// Larger images are refused, bytes.
    pub max_image_size: Option<u64>,
    /// Memory offered to bundles, bytes; physical memory when absent.
    pub max_memory: Option<u64>,
    pub exit_when_idle: bool,
    pub idle_time: Duration,
    /// Heartbeat: the longest time between two check-ins when nothing happens.
    pub checkin_interval: Duration,
    pub pass_down_termination: bool,
    pub delete_work_dir_on_exit: bool,
    pub exit_after_num_runs: u64,
    /// Attempts to download one dependency, in total.
    pub download_attempts: u32,
    /// `/dev/shm` of run containers, bytes.
    pub shared_memory_size: u64,
    pub preemptible: bool,
}

impl Config {
    /// The defaults of `cl-worker`, for the given server, account and work directory.
    pub fn new(server: impl Into<String>, credentials: Credentials, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            server: server.into().trim_end_matches('/').to_owned(),
            ws_server: None,
            credentials,
            work_dir: work_dir.into(),
            id: None,
            runtime: RuntimeKind::Docker,
            tag: None,
            tag_exclusive: false,
            group: None,
            network_prefix: "codalab_worker_network".to_owned(),
            cpuset: None,
            gpuset: Gpus::All,
            max_work_dir_size: 10 << 30,
            max_image_cache_size: None,
            max_image_size: None,
            max_memory: None,
            exit_when_idle: false,
            idle_time: Duration::ZERO,
            checkin_interval: Duration::from_secs(5),
            pass_down_termination: false,
            delete_work_dir_on_exit: false,
            exit_after_num_runs: 999_999_999,
            download_attempts: 3,
            shared_memory_size: 1 << 30,
            preemptible: false,
        }
    }

    /// Base URL of the websocket server, without a trailing slash.
    pub fn websocket_base(&self) -> String {
        if let Some(given) = &self.ws_server {
            return given.trim_end_matches('/').to_owned();
        }
        let server = self.server.trim_end_matches('/');
        let socket = server
            .strip_prefix("https://")
            .map(|rest| format!("wss://{rest}"))
            .or_else(|| server.strip_prefix("http://").map(|rest| format!("ws://{rest}")))
            .unwrap_or_else(|| server.to_owned());
        format!("{socket}/ws")
    }
}
