//! `cl-ws-server`: the websocket server as a process of its own.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hub::LocalHub;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Pings workers to check in and relays events between the CodaLab services.
#[derive(Parser)]
#[command(name = "cl-ws-server", version)]
struct Arguments {
    /// Port to listen on
    #[arg(long)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    host: IpAddr,
    /// Key that other services present to exchange events here; without it the event relay is closed
    #[arg(long, env = "CODALAB_HUB_KEY", hide_env_values = true)]
    hub_key: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "websocket server failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> std::io::Result<()> {
    let shutdown = CancellationToken::new();
    let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    tokio::spawn(stop_on_signals(signals, shutdown.clone()));
    let config = ws_server::Config {
        bind: SocketAddr::new(arguments.host, arguments.port),
        relay_key: arguments.hub_key,
    };
    ws_server::serve(config, Arc::new(LocalHub::new()), shutdown).await
}

/// The first signal asks for a clean end, the second forces one.
async fn stop_on_signals([mut terminate, mut interrupt]: [Signal; 2], shutdown: CancellationToken) {
    loop {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        if shutdown.is_cancelled() {
            std::process::exit(1);
        }
        shutdown.cancel();
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
