//! `cl-ws-server`: the websocket server as a process of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hub::LocalHub;
use startup::logging::{self, Format};
use tokio_util::sync::CancellationToken;

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
    logging::start("info", Format::Json);
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "websocket server failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> domain::Result<()> {
    let shutdown = CancellationToken::new();
    startup::stop_on_signals(&shutdown)?;
    let config = ws_server::Config {
        bind: SocketAddr::new(arguments.host, arguments.port),
        relay_key: arguments.hub_key,
    };
    ws_server::serve(config, Arc::new(LocalHub::new()), shutdown).await?;
    Ok(())
}
