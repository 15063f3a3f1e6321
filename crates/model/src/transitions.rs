//! Every state transition of a bundle (data-model section 6.2): one function, one transaction, one conditional update.
//! A function that gives `bool` says whether it won; false means that the bundle was not in the state it needs.

use domain::{BundleState, Result, Uuid};
use serde_json::Value;

use crate::{BundleContents, Model, WorkerKey};

/// The worker's report that it begins a run.
#[derive(Clone, Debug)]
pub struct StartRun {
    pub run: Uuid,
    pub worker: WorkerKey,
    pub hostname: String,
    /// Unix seconds, the worker's clock.
    pub start_time: i64,
}

/// How making a bundle ended.
#[derive(Clone, Debug)]
pub enum MakeOutcome {
    Done(Box<BundleContents>),
    Failed { message: String, traceback: Option<String> },
}

/// What a kill did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillOutcome {
    /// No worker had it; it is killed now.
    Killed,
    /// The worker was told.
    Sent(WorkerKey),
}

impl Model {
    /// `created` → `staged`, with the standard `staged_status`.
    pub async fn stage(&self, _uuid: Uuid, _now: i64) -> Result<bool> {
        todo!()
    }

    /// Any of `from` → `failed` with a message (and traceback). Removes an assignment; tells its worker to kill.
    pub async fn fail(
        &self,
        _uuid: Uuid,
        _from: &[BundleState],
        _message: &str,
        _traceback: Option<&str>,
        _now: i64,
    ) -> Result<bool> {
        todo!()
    }

    /// `staged` → `making`.
    pub async fn start_making(&self, _uuid: Uuid, _now: i64) -> Result<bool> {
        todo!()
    }

    /// `making` → `staged`, for makes that no live task owns.
    pub async fn restart_making(&self, _uuid: Uuid) -> Result<bool> {
        todo!()
    }

    /// `making` → `ready` with size and accounting, or → `failed`. When the owner is over quota it fails and the
    /// result is an error 400; the caller then removes the contents.
    pub async fn finish_making(&self, _uuid: Uuid, _outcome: &MakeOutcome, _now: i64) -> Result<bool> {
        todo!()
    }

    /// `staged` → `starting` on a worker that is known and not terminating: assignment, `last_updated` and the `run`
    /// message with this payload, in one transaction.
    pub async fn assign_run(&self, _run: Uuid, _worker: &WorkerKey, _message: &Value, _now: i64) -> Result<bool> {
        todo!()
    }

    /// `starting` → `staged`: not delivered, not claimed or stuck. Resets as data-model 6.3.
    pub async fn unassign_run(&self, _run: Uuid, _now: i64) -> Result<bool> {
        todo!()
    }

    /// `starting` → `preparing`, asked for by the worker. 404 without the bundle, 403 without *all* permission; false
    /// if the run is not assigned to this worker (any more). A repeated call by the same worker gives true again.
    pub async fn start_run(&self, _start: &StartRun) -> Result<bool> {
        todo!()
    }

    /// `preparing`, `running`, `finalizing` → `worker_offline`, or `staged` if it was on a preemptible worker.
    pub async fn lose_worker(&self, _run: Uuid, _now: i64) -> Result<bool> {
        todo!()
    }

    /// `finalizing` → `ready`, `failed` or `killed` by the stored failure message and exit code. Gives the new state
    /// if it won.
    pub async fn finalize_run(&self, _run: Uuid, _now: i64) -> Result<Option<BundleState>> {
        todo!()
    }

    /// Kills a bundle that no worker has, or queues `message` (default: a `kill`) for the worker that has it; notes
    /// the action. 400 if the bundle is final.
    pub async fn kill(&self, _uuid: Uuid, _message: Option<&Value>, _now: i64) -> Result<KillOutcome> {
        todo!()
    }

    /// Queues a `write` for the worker that has the run and notes the action. 400 if final or without a worker.
    pub async fn write_to_run(&self, _uuid: Uuid, _subpath: &str, _text: &str, _now: i64) -> Result<WorkerKey> {
        todo!()
    }

    /// An upload has been published: contents row, location (if a store is given), `is_dir`, `storage_type`,
    /// `data_size`, `disk_used`, and the final state if one is given. If the owner is over quota with it, the bundle
    /// fails (unless `state` is none: then only sizes go back to 0) and the result is the error 400
    /// `Upload failed: …`; the caller then removes the contents. 403 if the bundle is already final.
    pub async fn finish_upload(
        &self,
        _contents: &BundleContents,
        _storage_type: &str,
        _store: Option<Uuid>,
        _state: Option<BundleState>,
        _now: i64,
    ) -> Result<()> {
        todo!()
    }

    /// An upload failed: message, traceback, size 0, contents rows forgotten; the state becomes `failed` if
    /// `finalize`. False if the bundle is already final.
    pub async fn fail_upload(
        &self,
        _uuid: Uuid,
        _reason: &str,
        _traceback: Option<&str>,
        _finalize: bool,
        _now: i64,
    ) -> Result<bool> {
        todo!()
    }

    /// Any non-final state → a final one, reported by a client that has stored the contents itself.
    pub async fn report_final_state(
        &self,
        _uuid: Uuid,
        _state: BundleState,
        _message: Option<&str>,
        _now: i64,
    ) -> Result<bool> {
        todo!()
    }

    /// Fails bundles without news since `before` (Unix seconds) in any non-final state. Gives those that it failed.
    pub async fn fail_stuck_bundles(&self, _before: i64, _now: i64) -> Result<Vec<Uuid>> {
        todo!()
    }
}
