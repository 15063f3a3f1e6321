//! `cl-bundle-manager`: the bundle manager as a process of its own.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bundle_manager::Config;
use clap::Parser;
use domain::config::ServerConfig;
use domain::{Error, Result};
use hub::{Hub, LocalHub, RemoteHub, RemoteHubConfig};
use model::{Model, ModelOptions};
use storage::{Storage, StorageOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Stages, makes and schedules bundles, and notices workers that are gone.
#[derive(Parser)]
#[command(name = "cl-bundle-manager", version)]
struct Arguments {
    /// Seconds between safety sweeps (events need no sweep)
    #[arg(long, default_value_t = 0.5)]
    sleep_time: f64,
    /// A worker without check-in for longer is dead, a run without update for longer is offline
    #[arg(long, default_value_t = 60)]
    worker_timeout_seconds: u64,
    /// Address of the websocket server that relays events, e.g. ws://ws-server:2901; without it only sweeps find work
    #[arg(long, env = "CODALAB_HUB_URL")]
    hub_url: Option<String>,
    /// Key of the event relay
    #[arg(long, env = "CODALAB_HUB_KEY", hide_env_values = true, default_value = "")]
    hub_key: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "bundle manager failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let shutdown = CancellationToken::new();
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let signals = kinds.into_iter().map(signal).collect::<std::io::Result<Vec<_>>>()?;
    stop_on_signals(signals, &shutdown);
    let home = home()?;
    let server = read_config(&home)?;
    let database = server
        .engine_url
        .clone()
        .unwrap_or_else(|| format!("sqlite://{}", home.join("bundle.db").display()));
    let options = ModelOptions {
        root_user_id: server.root_user_id.to_string(),
        root_user_name: server.root_user_name.clone(),
        ..ModelOptions::default()
    };
    let model = Model::connect(&database, &options).await?;
    let storage = Storage::open(&home, StorageOptions::default())?;
    let hub: Arc<dyn Hub> = match arguments.hub_url {
        Some(url) => Arc::new(RemoteHub::connect(RemoteHubConfig {
            url,
            key: arguments.hub_key,
        })),
        None => Arc::new(LocalHub::new()),
    };
    let mut config = Config::from(&server);
    config.sweep_interval = seconds(arguments.sleep_time)?;
    config.timeouts.worker = Duration::from_secs(arguments.worker_timeout_seconds);
    bundle_manager::run(model.clone(), storage, hub, config, shutdown).await?;
    model.close().await;
    Ok(())
}

fn seconds(value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::usage(format!("--sleep-time {value}: expected seconds, 0 or more")))
}

fn home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CODALAB_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let user = std::env::home_dir().ok_or_else(|| Error::usage("there is no home directory; set CODALAB_HOME"))?;
    Ok(user.join(".codalab"))
}

/// The configuration, or the defaults if there is no file.
fn read_config(home: &Path) -> Result<ServerConfig> {
    let path = std::env::var_os("CODALAB_CONFIG").map_or_else(|| home.join("config.json"), PathBuf::from);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ServerConfig::default()),
        Err(error) => return Err(Error::internal(format!("cannot read {}: {error}", path.display()))),
    };
    let value =
        serde_json::from_str(&text).map_err(|e| Error::usage(format!("Invalid JSON in {}: {e}", path.display())))?;
    ServerConfig::from_value(&value)
}

/// The first signal asks for a clean end, the second forces one.
fn stop_on_signals(signals: Vec<Signal>, shutdown: &CancellationToken) {
    for mut signal in signals {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                if shutdown.is_cancelled() {
                    std::process::exit(1);
                }
                shutdown.cancel();
            }
        });
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("CODALAB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match std::env::var("CODALAB_LOG_FORMAT").as_deref() {
        Ok("json") => log.json().init(),
        _ => log.init(),
    }
}
