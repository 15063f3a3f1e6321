//! Messages to workers, kept until delivered (scheduler section 12.3).

use domain::{Result, Uuid};
use serde_json::Value;

use crate::{Model, WorkerKey};

/// A message waiting for a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedMessage {
    pub id: i64,
    pub worker: WorkerKey,
    pub run_uuid: Option<Uuid>,
    /// `run`, `kill`, `mark_finalized`, `write`, `read`, `netcat`.
    pub kind: String,
    /// The JSON object that goes on the wire.
    pub payload: Value,
    pub created_at: i64,
    pub delivered_at: Option<i64>,
}

impl Model {
    /// Queues a message; `expires_at` none keeps it until delivered or the worker is gone.
    pub async fn queue_message(
        &self,
        _worker: &WorkerKey,
        _run: Option<Uuid>,
        _kind: &str,
        _payload: &Value,
        _now: i64,
        _expires_at: Option<i64>,
    ) -> Result<i64> {
        todo!()
    }

    /// Undelivered, unexpired messages for a worker in order of queueing. They stay until marked delivered.
    pub async fn pending_messages(&self, _worker: &WorkerKey, _now: i64, _limit: u32) -> Result<Vec<QueuedMessage>> {
        todo!()
    }

    /// Notes that messages were written to the worker. Gives how many were still undelivered.
    pub async fn mark_delivered(&self, _ids: &[i64], _now: i64) -> Result<u64> {
        todo!()
    }

    /// Makes delivered `run` messages of runs that are still `starting` deliverable once more if they were delivered
    /// at or before `delivered_before`. Gives the workers to wake.
    pub async fn redeliver_run_messages(&self, _delivered_before: i64) -> Result<Vec<WorkerKey>> {
        todo!()
    }

    /// Forgets expired messages and those delivered at or before `delivered_before`.
    pub async fn purge_messages(&self, _delivered_before: i64, _now: i64) -> Result<u64> {
        todo!()
    }
}
