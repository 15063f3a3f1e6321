//! `cl-bundle-manager`: the bundle manager as a process of its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bundle_manager::Config;
use clap::Parser;
use domain::{Error, Result};
use hub::{Hub, LocalHub, RemoteHub, RemoteHubConfig};
use model::{Model, ModelOptions};
use startup::logging::{self, Format};
use startup::{Home, stop_on_signals};
use storage::{Storage, StorageOptions};
use tokio_util::sync::CancellationToken;

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
    logging::start("info", Format::Json);
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
    stop_on_signals(&shutdown)?;
    let home = Home::read(&Home::default_dir())?;
    let options = ModelOptions {
        root_user_id: home.config.root_user_id.to_string(),
        root_user_name: home.config.root_user_name.clone(),
        ..ModelOptions::default()
    };
    let model = Model::connect(&home.engine_url(), &options).await?;
    let storage = Storage::open(&home.dir, StorageOptions::default())?;
    let hub: Arc<dyn Hub> = match arguments.hub_url {
        Some(url) => Arc::new(RemoteHub::connect(RemoteHubConfig {
            url,
            key: arguments.hub_key,
        })),
        None => Arc::new(LocalHub::new()),
    };
    let mut config = Config::from(&home.config);
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
