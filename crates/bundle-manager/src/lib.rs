//! The bundle manager: moves bundles from `created` to where they run, makes make bundles, and notices what went silent.
//!
//! Event driven: work happens when the hub says that something changed. A slow sweep over the database finds what an
//! event that got lost would have said, and what time alone changes.
//!
//! Invariants: the database is the only truth, what is kept in memory is a cache that a sweep rebuilds; every change is
//! one conditional update in `model`, so a second manager, a kill or a deletion in between costs work, never correctness;
//! one bundle's error never stops the others.

#![forbid(unsafe_code)]

pub mod repair;
pub mod request;
pub mod schedule;
pub mod staging;

mod assign;
mod inbox;
mod make;
mod manager;
mod message;
mod nudge;
mod queue;
mod snapshot;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use domain::config::{ServerConfig, WorkerLimits};
use hub::Hub;
use model::Model;
use storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::manager::Manager;
use crate::repair::Timeouts;

/// How the manager behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits and default images of runs.
    pub limits: WorkerLimits,
    pub timeouts: Timeouts,
    /// Time between safety sweeps.
    pub sweep_interval: Duration,
    /// Prefer the workers of a run's owner and groups to public ones.
    pub prefer_private: bool,
    /// Make bundles copied at the same time.
    pub make_concurrency: usize,
    /// Other managers may share the database: act only while holding its lease.
    pub use_lease: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: WorkerLimits::default(),
            timeouts: Timeouts::default(),
            sweep_interval: Duration::from_secs(5),
            prefer_private: true,
            make_concurrency: 4,
            use_lease: false,
        }
    }
}

impl From<&ServerConfig> for Config {
    fn from(config: &ServerConfig) -> Self {
        // An SQLite database belongs to one instance; only a server database can have two managers.
        let is_mysql = config.engine_url.as_deref().is_some_and(|url| url.starts_with("mysql"));
        Self {
            limits: config.workers.clone(),
            use_lease: is_mysql,
            ..Self::default()
        }
    }
}

/// Runs until `shutdown`, then waits for the make bundles that are being copied.
///
/// Errors of single steps are logged and tried again; none ends the manager.
pub async fn run(
    model: Model,
    storage: Storage,
    hub: Arc<dyn Hub>,
    config: Config,
    shutdown: CancellationToken,
) -> Result<()> {
    Manager::new(model, storage, hub, config).run(shutdown).await;
    Ok(())
}
