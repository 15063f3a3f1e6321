//! The `cl-worker` program.
#![forbid(unsafe_code)]

mod args;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    start_logging(args.verbose());
    let outcome = args.into_config().and_then(|config| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| worker::Error::Internal(error.to_string()))?;
        let ended = runtime.block_on(async {
            let shutdown = CancellationToken::new();
            listen_for_signals(&shutdown)?;
            worker::run(config, shutdown).await
        });
        // Whatever still blocks, e.g. a walk over a large directory, need not be waited for.
        runtime.shutdown_background();
        ended
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Lines `<timestamp> <message>` on stderr.
fn start_logging(verbose: bool) {
    let level = if verbose {
        "info,worker=debug,cl_worker=debug"
    } else {
        "info"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_level(verbose)
        .with_target(false)
        .with_file(verbose)
        .with_line_number(verbose)
        .init();
}

fn listen_for_signals(shutdown: &CancellationToken) -> worker::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(|error| worker::Error::Internal(error.to_string()))?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                tracing::info!("Exiting");
                shutdown.cancel();
            }
        });
    }
    Ok(())
}
