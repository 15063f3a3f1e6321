//! A release build of `cl-server` for measuring, on a private home, port and database.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::{Value, json};
use testkit::{Engine, TempDir, TestDatabase};

use crate::Result;
use crate::instance;
use crate::load::{self, Target};

const PASSWORD: &str = "bench-password-1";

/// The databases that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Mariadb,
}

/// Ends with the value.
pub struct Server {
    pub port: u16,
    metrics_port: u16,
    authorization: String,
    child: Child,
    /// Its engine URL is in the home's configuration.
    _database: Option<TestDatabase>,
    home: TempDir,
}

impl Server {
    /// A server with an empty database and the root account.
    pub async fn start(database: Database) -> Result<Server> {
        let home = testkit::temp_home();
        // SQLite's file lies in the home, as the configuration says by default.
        let database = (database == Database::Mariadb).then(|| Engine::Mariadb.fresh());
        if let Some(database) = &database {
            let config = json!({"server": {"class": "MySQLModel", "engine_url": database.url()}});
            fs::write(home.path().join("config.json"), config.to_string()).map_err(|error| error.to_string())?;
        }
        create_root(home.path())?;
        let (port, metrics_port) = (testkit::free_port(), testkit::free_port());
        let log = File::create(home.path().join("log")).map_err(|error| error.to_string())?;
        let child = program("cl-server")
            .arg("--home")
            .arg(home.path())
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("CODALAB_METRICS_PORT", metrics_port.to_string())
            // As `codalab-service start` and the operators' manual have it.
            .env("MALLOC_ARENA_MAX", "2")
            .env_remove("CODALAB_LOG")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cl-server: {error}"))?;
        let mut server = Server {
            port,
            metrics_port,
            authorization: String::new(),
            child,
            _database: database,
            home,
        };
        server.authorization = format!("Bearer {}", server.log_in().await?);
        Ok(server)
    }

    /// Where it keeps its files.
    #[allow(dead_code)] // not every benchmark looks
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A request of the root account.
    pub fn target(&self, method: &'static str, path: &str, body: Option<&Value>) -> Target {
        Target {
            method,
            path: path.to_owned(),
            authorization: self.authorization.clone(),
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
        }
    }

    /// Posts a document once and gives the answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) = once(self.port, &self.target("POST", path, Some(body))).await?;
        if !status {
            return Err(format!("POST {path}: {}", String::from_utf8_lossy(&answer)));
        }
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }

    /// SQL statements since the start, as the metrics tell them.
    pub async fn statements(&self) -> Option<f64> {
        let target = Target {
            method: "GET",
            path: "/metrics".to_owned(),
            authorization: String::new(),
            body: Bytes::new(),
        };
        let (_, text) = once(self.metrics_port, &target).await.ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("codalab_database_statements_total"))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Largest resident size so far (`VmHWM`).
    pub fn peak_bytes(&self) -> u64 {
        instance::memory_kib(self.child.id(), "VmHWM") * 1024
    }

    async fn log_in(&self) -> Result<String> {
        let started = Instant::now();
        loop {
            if let Ok(token) = instance::token(&format!("http://127.0.0.1:{}", self.port), "codalab", PASSWORD).await {
                return Ok(token);
            }
            if started.elapsed() > Duration::from_secs(60) {
                return Err("cl-server does not answer".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn once(port: u16, target: &Target) -> Result<(bool, Bytes)> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let (status, body) = load::ask(&mut sender, port, target).await?;
    Ok((status.is_success(), body))
}

fn create_root(home: &Path) -> Result<()> {
    let mut child = program("cl-server")
        .args([
            "create-user",
            "codalab",
            "--email",
            "root@example.org",
            "--password-stdin",
            "--verified",
            "--home",
        ])
        .arg(home)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cl-server: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{PASSWORD}").map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("create-user: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn program(name: &str) -> Command {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    Command::new(
        std::env::var_os("CODALAB_BIN_DIR")
            .map_or(target, PathBuf::from)
            .join(name),
    )
}
