//! The worker: checks in with a CodaLab server, receives run bundles and executes them, in Docker containers or as
//! plain processes, then uploads what they wrote.
//!
//! The binary `cl-worker` and local mode both call [`run`].
#![forbid(unsafe_code)]

mod answers;
mod cache;
mod checkin;
mod config;
mod error;
mod machine;
mod probe;
mod run;
mod runtime;
mod slots;
mod websocket;
mod workdir;
mod worker;

pub use config::{Config, Credentials, Gpus, RuntimeKind, Secret};
pub use error::{Error, Result};
pub use probe::docker_answers;

use tokio_util::sync::CancellationToken;

/// Runs a worker until `shutdown` is cancelled or one of its exit conditions holds (idle, number of runs).
///
/// Runs that are still going when it returns are left alone and picked up by the next worker that uses the same work
/// directory and id, unless [`Config::pass_down_termination`] is set: then they are handed back to the server.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    worker::live(config, shutdown).await
}
