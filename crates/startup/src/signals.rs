//! SIGTERM, SIGINT and SIGHUP end a program.

use domain::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first signal cancels `shutdown`, which asks for a graceful end; the second ends the process with status 1.
///
/// Must be called inside a runtime. Fails with an internal error where the process may not listen for signals.
pub fn stop_on_signals(shutdown: &CancellationToken) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals =
            signal(kind).map_err(|error| Error::internal(format!("cannot listen for signals: {error}")))?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if shutdown.is_cancelled() {
                    std::process::exit(1);
                }
                tracing::info!("ending, as a signal asked for");
                shutdown.cancel();
            }
        });
    }
    Ok(())
}
