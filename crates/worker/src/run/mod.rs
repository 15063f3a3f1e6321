//! One run on its way through the worker: a task per run walks the stages, each of which can be repeated after a crash.

mod execute;
mod finish;
pub mod links;
mod prepare;
pub mod state;
pub mod store;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Uuid;
use futures::FutureExt;
use tokio::sync::watch;

use self::state::{RunState, Stage};
use self::store::Store;
use crate::slots::Lease;
use crate::worker::Shared;

/// A run that this worker holds.
pub struct Run {
    pub uuid: Uuid,
    /// Its working directory.
    pub directory: PathBuf,
    state: Mutex<RunState>,
    /// What others want of the run's task.
    orders: watch::Sender<Orders>,
    store: Store,
    /// One save at a time, so that an older state never replaces a newer one.
    saving: tokio::sync::Mutex<()>,
    lease: Mutex<Option<Lease>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Orders {
    /// Killed or handed back: the command should not run (any longer).
    over: bool,
    restaged: bool,
    finalized: bool,
}

impl Run {
    pub fn new(state: RunState, directory: PathBuf, store: Store) -> Self {
        let orders = Orders {
            over: state.is_over(),
            restaged: state.is_restaged,
            finalized: state.finalized,
        };
        Self {
            uuid: state.uuid(),
            directory,
            state: Mutex::new(state),
            orders: watch::Sender::new(orders),
            store,
            saving: tokio::sync::Mutex::default(),
            lease: Mutex::default(),
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state in memory and passes on what the run's task has to know.
    pub fn update(&self, change: impl FnOnce(&mut RunState)) {
        let orders = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            Orders {
                over: state.is_over(),
                restaged: state.is_restaged,
                finalized: state.finalized,
            }
        };
        self.orders
            .send_if_modified(|known| std::mem::replace(known, orders) != orders);
    }

    /// Brings the state to disk. A failure is logged: the run goes on, it would only not survive a crash.
    pub async fn save(self: &Arc<Self>) {
        let _turn = self.saving.lock().await;
        let run = self.clone();
        let saved = tokio::task::spawn_blocking(move || {
            let state = run.read(RunState::clone);
            if state.stage == Stage::Finished {
                Ok(())
            } else {
                run.store.save(&state)
            }
        });
        if let Ok(Err(error)) = saved.await {
            tracing::error!("{}: the state of the run cannot be saved: {error}", self.uuid);
        }
    }

    /// Removes the state from disk.
    async fn forget(&self) {
        let _turn = self.saving.lock().await;
        self.store.forget(self.uuid);
    }

    /// Returns when the run was killed or handed back.
    async fn until_over(&self) {
        let _ = self.orders.subscribe().wait_for(|orders| orders.over).await;
    }

    async fn until_restaged(&self) {
        let _ = self.orders.subscribe().wait_for(|orders| orders.restaged).await;
    }

    async fn until_finalized(&self) {
        let _ = self
            .orders
            .subscribe()
            .wait_for(|orders| orders.finalized || orders.restaged)
            .await;
    }

    fn hold(&self, lease: Option<Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    fn status(&self, text: &str) {
        self.update(|state| text.clone_into(&mut state.run_status));
    }
}

/// Takes the run through its stages to the end, whatever happens on the way.
pub async fn drive(run: Arc<Run>, shared: Arc<Shared>) {
    if run.read(|state| state.stage == Stage::Running) {
        let (cpus, gpus) = run.read(|state| (state.cpuset.clone(), state.gpuset.clone()));
        run.hold(Some(shared.slots.reclaim(&cpus, &gpus)));
    }
    loop {
        let stage = run.read(|state| state.stage);
        let step = AssertUnwindSafe(step(stage, &run, &shared)).catch_unwind().await;
        let (next, reason) = step.unwrap_or_else(|_| {
            run.update(|state| state.fail("Internal error of the worker; see its log"));
            (after_failure(stage), "internal error".to_owned())
        });
        if next == stage {
            return;
        }
        tracing::info!(
            "Bundle {} is transitioning from {} to {}. Reason: {reason}",
            run.uuid,
            stage.name(),
            next.name()
        );
        run.update(|state| state.enter(next, unix_now()));
        if next == Stage::Finished {
            run.forget().await;
            shared.drop_run(run.uuid);
        } else {
            run.save().await;
        }
        shared.changes.now();
    }
}

/// Where a stage leads, and why.
async fn step(stage: Stage, run: &Arc<Run>, shared: &Arc<Shared>) -> (Stage, String) {
    match stage {
        Stage::Preparing => prepare::prepare(run, shared).await,
        Stage::Running => execute::execute(run, shared).await,
        Stage::CleaningUp => finish::clean_up(run, shared).await,
        Stage::UploadingResults => finish::upload(run, shared).await,
        Stage::Finalizing => finish::finalize(run, shared).await,
        Stage::Finished | Stage::Restaged => (stage, String::new()),
    }
}

/// A stage that panicked is not repeated.
const fn after_failure(stage: Stage) -> Stage {
    match stage {
        Stage::Preparing | Stage::Running => Stage::CleaningUp,
        _ => Stage::Finalizing,
    }
}

/// Growing pauses between attempts at the same thing.
struct Backoff {
    pause: Duration,
    failures: u32,
}

impl Backoff {
    const LONGEST: Duration = Duration::from_secs(60);

    const fn new() -> Self {
        Self {
            pause: Duration::from_secs(1),
            failures: 0,
        }
    }

    async fn wait(&mut self) {
        self.failures += 1;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Self::LONGEST);
    }
}

/// Seconds since 1970.
pub fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
