//! Workers, their sockets, dependencies and runs (data-model section 13). Everything is keyed by (user, worker).

use domain::run::CheckInRequest;
use domain::{Result, UserId, UtcTime, Uuid, WorkerId};

use crate::Model;

/// Identity of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerKey {
    pub user_id: UserId,
    pub worker_id: WorkerId,
}

/// A worker as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    pub key: WorkerKey,
    pub group_uuid: Option<Uuid>,
    pub tag: Option<String>,
    pub cpus: i64,
    pub gpus: i64,
    pub memory_bytes: i64,
    pub free_disk_bytes: Option<i64>,
    pub checkin_time: UtcTime,
    pub socket_id: i64,
    pub shared_file_system: bool,
    pub tag_exclusive: bool,
    pub exit_after_num_runs: i64,
    pub is_terminating: bool,
    pub preemptible: bool,
    /// Runs assigned to it, in order of creation.
    pub run_uuids: Vec<Uuid>,
    /// Cached `(bundle uuid, path)` pairs.
    pub dependencies: Vec<(String, String)>,
    /// Sums of `request_cpus` and `request_gpus` over its runs.
    pub cpus_in_use: i64,
    pub gpus_in_use: i64,
}

/// One row of `worker_run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAssignment {
    pub run_uuid: Uuid,
    pub worker: WorkerKey,
}

impl Model {
    /// Stores what a worker said; gives its permanent socket id.
    pub async fn worker_checkin(&self, _worker: &WorkerKey, _checkin: &CheckInRequest, _now: i64) -> Result<i64> {
        todo!()
    }

    /// All workers, ordered by (user, worker).
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        todo!()
    }

    /// The workers a viewer may see: root all, others their own and those of their groups (public included).
    pub async fn workers_visible_to(&self, _viewer: &str) -> Result<Vec<WorkerRecord>> {
        todo!()
    }

    /// One worker.
    pub async fn worker(&self, _worker: &WorkerKey) -> Result<Option<WorkerRecord>> {
        todo!()
    }

    /// Removes workers that were silent since `silent_since` (Unix seconds), with sockets, dependencies, messages
    /// and assignments, and moves their runs to `worker_offline` or `staged`, or back to `staged` if `starting`.
    /// Gives each worker with the runs it lost.
    pub async fn remove_silent_workers(&self, _silent_since: i64, _now: i64) -> Result<Vec<(WorkerKey, Vec<Uuid>)>> {
        todo!()
    }

    /// The same for one worker, whenever it was last heard of. Gives the runs it lost.
    pub async fn remove_worker(&self, _worker: &WorkerKey, _now: i64) -> Result<Vec<Uuid>> {
        todo!()
    }

    /// Writes back how many more runs a worker takes.
    pub async fn set_exit_after_num_runs(&self, _worker: &WorkerKey, _runs: i64) -> Result<()> {
        todo!()
    }

    /// A new socket id on which this worker may answer.
    pub async fn allocate_socket(&self, _worker: &WorkerKey) -> Result<i64> {
        todo!()
    }

    /// Gives a socket id back.
    pub async fn release_socket(&self, _socket_id: i64) -> Result<()> {
        todo!()
    }

    /// Whether this worker may answer on this socket.
    pub async fn has_socket(&self, _worker: &WorkerKey, _socket_id: i64) -> Result<bool> {
        todo!()
    }

    /// The worker a run is assigned to.
    pub async fn worker_of_run(&self, _run: Uuid) -> Result<Option<WorkerKey>> {
        todo!()
    }

    /// All assignments.
    pub async fn run_assignments(&self) -> Result<Vec<RunAssignment>> {
        todo!()
    }
}
