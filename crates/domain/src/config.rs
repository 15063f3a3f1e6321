//! The server's part of `config.json`, read from its JSON value (service sections 12.2 and 21.2). Reading and writing
//! the file is the business of each program; unknown keys are kept because programs rewrite the value, not this view.

mod accounts;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::{AddressPolicy, AddressRule};
use crate::error::{Error, Result};
use crate::id::{ROOT_USER_ID, SYSTEM_USER_ID, UserId};
use crate::lenient::or_default;
use crate::limits::Limits;
use crate::network::Network;
use crate::{duration, size};

pub use accounts::{AttemptLimits, MailSecurity, MailSettings};

/// Default port of the REST server.
pub const DEFAULT_REST_PORT: u16 = 2900;

/// Docker's own minimum, in bytes.
const MIN_MEMORY: i64 = 4 << 20;

/// Typed settings of the server programs.
#[derive(Clone, PartialEq)]
pub struct ServerConfig {
    /// Database URL; none means the SQLite file of the home.
    pub engine_url: Option<String>,
    /// Address to bind.
    pub rest_host: String,
    /// Port to bind.
    pub rest_port: u16,
    /// Port of a separate websocket server.
    pub ws_port: u16,
    /// Signs session cookies. Never printed.
    pub secret_key: String,
    /// Login name of the root account.
    pub root_user_name: String,
    /// Id of the root account.
    pub root_user_id: UserId,
    /// Id of the system account.
    pub system_user_id: UserId,
    /// Quotas of new accounts.
    pub default_user: DefaultUser,
    /// Where errors are reported.
    pub admin_email: Option<String>,
    /// Where requests for help go.
    pub support_email: Option<String>,
    /// Prefix of mail subjects.
    pub instance_name: Option<String>,
    /// Whether accounts can be made through the web. Unless the file says so: as in CodaLab 1.7 where the database is
    /// MySQL, else not, because an instance with SQLite is usually one person's own.
    pub allow_signup: bool,
    /// The address under which browsers find the instance, without a slash at the end; none means: as the request says.
    pub public_url: Option<String>,
    /// Proxies whose word about the client's address is taken, beside those on this machine.
    pub trusted_proxies: Vec<Network>,
    /// Former secret keys whose session cookies are still accepted. Never printed.
    pub previous_secret_keys: Vec<String>,
    /// Scripts cannot read the session cookie. The web front end of CodaLab 1.7 wants to.
    pub session_http_only: bool,
    /// How often things may be tried.
    pub attempts: AttemptLimits,
    /// The mail server; none means that nothing is sent.
    pub mail: Option<MailSettings>,
    /// Without a mail server, write mails to the log.
    pub mail_to_log: bool,
    /// Limits and images of runs.
    pub workers: WorkerLimits,
    /// Which addresses the server may fetch URLs from (`storage.fetch`).
    pub fetch: AddressPolicy,
    /// What clients may do at the same time, and for how long.
    pub limits: Limits,
    /// Origins whose scripts may read answers (CORS), such as `https://lab.example.org`; `*` is every origin. Never with
    /// cookies.
    pub cors_origins: Vec<String>,
}

/// Quotas of new accounts. Seconds and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DefaultUser {
    /// Container seconds.
    pub time_quota: f64,
    /// Bytes of contents.
    pub disk_quota: i64,
    /// Container seconds for academic addresses.
    pub edu_time_quota: f64,
    /// Bytes of contents for academic addresses.
    pub edu_disk_quota: i64,
    /// Runs at the same time.
    pub parallel_run_quota: i64,
}

/// Global limits on what runs may ask for. Seconds and bytes; 0 = no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerLimits {
    /// Longest time.
    pub max_request_time: f64,
    /// Most memory.
    pub max_request_memory: i64,
    /// Least memory.
    pub min_request_memory: i64,
    /// Most disk.
    pub max_request_disk: i64,
    /// Image of runs that ask for none.
    pub default_cpu_image: String,
    /// Image of GPU runs that ask for none.
    pub default_gpu_image: String,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            max_request_time: 0.0,
            max_request_memory: 0,
            min_request_memory: MIN_MEMORY,
            max_request_disk: 0,
            default_cpu_image: "codalab/default-cpu:latest".to_owned(),
            default_gpu_image: "codalab/default-gpu:latest".to_owned(),
        }
    }
}

impl Default for DefaultUser {
    fn default() -> Self {
        Self {
            time_quota: 365.0 * 86400.0,
            disk_quota: 1 << 40,
            edu_time_quota: 365.0 * 86400.0,
            edu_disk_quota: 1 << 40,
            parallel_run_quota: 3,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            engine_url: None,
            rest_host: "localhost".to_owned(),
            rest_port: DEFAULT_REST_PORT,
            ws_port: 2901,
            secret_key: String::new(),
            root_user_name: "codalab".to_owned(),
            root_user_id: ROOT_USER_ID.into(),
            system_user_id: SYSTEM_USER_ID.into(),
            default_user: DefaultUser::default(),
            admin_email: None,
            support_email: None,
            instance_name: None,
            allow_signup: false,
            public_url: None,
            trusted_proxies: Vec::new(),
            previous_secret_keys: Vec::new(),
            session_http_only: true,
            attempts: AttemptLimits::default(),
            mail: None,
            mail_to_log: true,
            workers: WorkerLimits::default(),
            fetch: AddressPolicy::default(),
            limits: Limits::default(),
            cors_origins: Vec::new(),
        }
    }
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("rest_host", &self.rest_host)
            .field("rest_port", &self.rest_port)
            .field("ws_port", &self.ws_port)
            .field("root_user_name", &self.root_user_name)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl ServerConfig {
    /// Reads the settings from the whole value of `config.json`. Missing keys take their defaults; a key of the wrong
    /// type is an error that names it.
    pub fn from_value(config: &Value) -> Result<Self> {
        let file = File::deserialize(config).map_err(|error| Error::usage(format!("config.json: {error}")))?;
        let defaults = Self::default();
        let server = file.server;
        if let Some(class) = &server.class
            && !matches!(class.as_str(), "MySQLModel" | "SQLiteModel")
        {
            return Err(Error::usage(format!(
                "config.json: unknown server/class '{class}', expected MySQLModel or SQLiteModel"
            )));
        }
        let uses_mysql = server
            .engine_url
            .as_ref()
            .is_some_and(|url| url.starts_with("mysql") || url.starts_with("mariadb"));
        let networks = server.trusted_proxies.iter().map(|text| text.parse::<Network>());
        let public_url = server.public_url.filter(|url| !url.is_empty());
        Ok(Self {
            public_url: public_url.map(|url| accounts::public_url(&url)).transpose()?,
            trusted_proxies: networks
                .collect::<Result<_>>()
                .map_err(|error| error.context("config.json: server/trusted_proxies"))?,
            previous_secret_keys: server.previous_secret_keys,
            session_http_only: server.session_cookie_http_only.unwrap_or(true),
            attempts: server.attempts.resolve()?,
            mail_to_log: file.email.log.unwrap_or(true),
            mail: file.email.resolve()?,
            engine_url: server.engine_url,
            rest_host: server.rest_host.unwrap_or(defaults.rest_host),
            rest_port: server.rest_port.unwrap_or(defaults.rest_port),
            ws_port: file.ws_server.ws_port.unwrap_or(defaults.ws_port),
            secret_key: server.secret_key.unwrap_or_default(),
            root_user_name: server.root_user_name.unwrap_or(defaults.root_user_name),
            root_user_id: server.root_user_id.map_or(defaults.root_user_id, UserId),
            system_user_id: server.system_user_id.map_or(defaults.system_user_id, UserId),
            default_user: server.default_user_info.resolve()?,
            admin_email: server.admin_email,
            support_email: server.support_email,
            instance_name: server.instance_name,
            allow_signup: server.allow_signup.unwrap_or(uses_mysql),
            workers: file.workers.resolve()?,
            fetch: file.storage.fetch.resolve()?,
            limits: {
                let limits = server.limits.unwrap_or_default();
                limits
                    .check()
                    .map_err(|problem| Error::usage(format!("config.json: {problem}")))?;
                limits
            },
            cors_origins: server.cors_origins.unwrap_or_default(),
        })
    }
}

/// The `config.json` of a new home that uses SQLite. `database` is the absolute path of the database file.
pub fn default_config(secret_key: &str, database: &str, address: &str) -> Value {
    json!({
        "cli": {"default_address": address, "verbose": 1},
        "server": {
            "rest_host": "localhost", "rest_port": DEFAULT_REST_PORT, "class": "SQLiteModel",
            "engine_url": format!("sqlite:///{database}"), "auth": {"class": "RestOAuthHandler"}, "verbose": 1,
            "secret_key": secret_key,
        },
        "ws-server": {"ws_port": 2901},
        "aliases": {"main": "https://worksheets.codalab.org", "localhost": "http://localhost"},
        "workers": {"default_cpu_image": "codalab/default-cpu:latest", "default_gpu_image": "codalab/default-gpu:latest"},
    })
}

/// The text of a configuration or state file: keys sorted, indented by 4, a newline at the end, as the Python programs
/// write it.
pub fn to_pretty_json(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing JSON values to memory cannot fail.
    let _ = serde::Serialize::serialize(&sorted(value), &mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(deserialize_with = "or_default")]
    server: Server,
    #[serde(rename = "ws-server", deserialize_with = "or_default")]
    ws_server: WsServer,
    #[serde(deserialize_with = "or_default")]
    workers: Workers,
    #[serde(deserialize_with = "or_default")]
    storage: Storage,
    #[serde(deserialize_with = "or_default")]
    email: accounts::Email,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Storage {
    #[serde(deserialize_with = "or_default")]
    fetch: Fetch,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Fetch {
    allow_private: Option<bool>,
    allow: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Server {
    class: Option<String>,
    engine_url: Option<String>,
    rest_host: Option<String>,
    rest_port: Option<u16>,
    secret_key: Option<String>,
    root_user_name: Option<String>,
    root_user_id: Option<String>,
    system_user_id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    default_user_info: UserInfo,
    admin_email: Option<String>,
    support_email: Option<String>,
    instance_name: Option<String>,
    allow_signup: Option<bool>,
    limits: Option<Limits>,
    cors_origins: Option<Vec<String>>,
    public_url: Option<String>,
    #[serde(deserialize_with = "or_default")]
    trusted_proxies: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    previous_secret_keys: Vec<String>,
    session_cookie_http_only: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    attempts: accounts::Attempts,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WsServer {
    ws_port: Option<u16>,
}

/// The names are those of the file.
#[allow(clippy::struct_field_names)]
#[derive(Deserialize, Default)]
#[serde(default)]
struct UserInfo {
    time_quota: Option<Amount>,
    disk_quota: Option<Amount>,
    edu_time_quota: Option<Amount>,
    edu_disk_quota: Option<Amount>,
    parallel_run_quota: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Workers {
    max_request_time: Option<Amount>,
    max_request_memory: Option<Amount>,
    min_request_memory: Option<Amount>,
    max_request_disk: Option<Amount>,
    default_cpu_image: Option<String>,
    default_gpu_image: Option<String>,
}

/// A size or duration: text with a unit, or a plain number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(f64),
    Text(String),
}

fn bytes(amount: Option<Amount>, default: i64) -> Result<i64> {
    match amount {
        None => Ok(default),
        Some(Amount::Number(number)) => Ok(number as i64),
        Some(Amount::Text(text)) => size::parse(&text).map_err(|error| error.context("config.json")),
    }
}

fn seconds(amount: Option<Amount>, default: f64) -> Result<f64> {
    match amount {
        None => Ok(default),
        Some(Amount::Number(number)) => Ok(number),
        Some(Amount::Text(text)) => duration::parse(&text).map_err(|error| error.context("config.json")),
    }
}

impl UserInfo {
    fn resolve(self) -> Result<DefaultUser> {
        let defaults = DefaultUser::default();
        Ok(DefaultUser {
            time_quota: seconds(self.time_quota, defaults.time_quota)?,
            disk_quota: bytes(self.disk_quota, defaults.disk_quota)?,
            edu_time_quota: seconds(self.edu_time_quota, defaults.edu_time_quota)?,
            edu_disk_quota: bytes(self.edu_disk_quota, defaults.edu_disk_quota)?,
            parallel_run_quota: self.parallel_run_quota.unwrap_or(defaults.parallel_run_quota),
        })
    }
}

impl Fetch {
    fn resolve(self) -> Result<AddressPolicy> {
        let rules = self.allow.unwrap_or_default();
        let allow = rules
            .iter()
            .map(|text| text.parse::<AddressRule>())
            .collect::<Result<_>>();
        Ok(AddressPolicy {
            allow_private: self.allow_private.unwrap_or(false),
            allow: allow.map_err(|error| error.context("config.json: storage/fetch/allow"))?,
        })
    }
}

impl Workers {
    fn resolve(self) -> Result<WorkerLimits> {
        let defaults = WorkerLimits::default();
        Ok(WorkerLimits {
            max_request_time: seconds(self.max_request_time, defaults.max_request_time)?,
            max_request_memory: bytes(self.max_request_memory, defaults.max_request_memory)?,
            min_request_memory: bytes(self.min_request_memory, defaults.min_request_memory)?,
            max_request_disk: bytes(self.max_request_disk, defaults.max_request_disk)?,
            default_cpu_image: self.default_cpu_image.unwrap_or(defaults.default_cpu_image),
            default_gpu_image: self.default_gpu_image.unwrap_or(defaults.default_gpu_image),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        for value in [
            json!({}),
            json!({"server": null, "workers": null, "ws-server": {"ws_port": null}}),
        ] {
            assert_eq!(ServerConfig::from_value(&value).unwrap(), ServerConfig::default());
        }
    }

    #[test]
    fn settings_are_read_with_units() {
        let config = ServerConfig::from_value(&json!({
            "server": {"class": "SQLiteModel", "rest_port": 1234, "unknown": [], "default_user_info": {"disk_quota": "1g", "time_quota": 60}},
            "workers": {"max_request_time": "1h", "min_request_memory": "8m"},
        }))
        .unwrap();
        assert_eq!((config.rest_port, config.default_user.disk_quota), (1234, 1 << 30));
        assert_eq!(config.workers.min_request_memory, 8 << 20);
        assert!(
            (config.workers.max_request_time - 3600.0).abs() < 1e-9
                && (config.default_user.time_quota - 60.0).abs() < 1e-9
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (value, part) in [
            (json!({"server": {"class": "Oracle"}}), "server/class 'Oracle'"),
            (json!({"server": {"rest_port": "x"}}), "config.json: "),
            (json!({"workers": {"max_request_time": "1x"}}), "Invalid duration: 1x"),
            (
                json!({"storage": {"fetch": {"allow": ["10.0.0.0/99"]}}}),
                "storage/fetch/allow: '10.0.0.0/99'",
            ),
        ] {
            let message = ServerConfig::from_value(&value).unwrap_err().message;
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_secret_key_is_never_printed() {
        let config =
            ServerConfig::from_value(&default_config("s3cret", "/h/bundle.db", "http://localhost:2900")).unwrap();
        assert_eq!(config.secret_key, "s3cret");
        assert_eq!(config.engine_url.as_deref(), Some("sqlite:////h/bundle.db"));
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn files_are_written_as_python_writes_them() {
        assert_eq!(
            to_pretty_json(&json!({"b": [1], "a": {}})),
            "{\n    \"a\": {},\n    \"b\": [\n        1\n    ]\n}\n"
        );
    }
}
