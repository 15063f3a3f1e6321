//! Reads from the database what a scheduling pass needs besides the queue: workers with what they hold, and users.

use std::collections::{HashMap, HashSet};

use domain::{Result, UserId, Uuid};
use model::{BundleRecord, Model, WorkerKey, WorkerRecord};

use crate::request::{QuotaLeft, RequestFields};
use crate::schedule::{HeldRun, User, Worker};

/// What runs on workers hold. Requests cannot change while a run is assigned, so they are read once.
#[derive(Default)]
pub struct HeldRuns {
    runs: HashMap<Uuid, HeldRun>,
}

impl HeldRuns {
    /// Notes (again) what a run holds.
    pub fn note(&mut self, record: &BundleRecord) {
        let metadata = &record.bundle.metadata;
        let held = RequestFields::from_metadata(metadata).held();
        // A run without owner occupies its worker, but nobody's quota.
        let owner = record.bundle.owner_id.clone().unwrap_or_else(|| UserId::from(""));
        self.runs.insert(
            record.bundle.uuid,
            HeldRun {
                owner,
                held,
                disk_used: metadata.int("data_size"),
            },
        );
    }

    /// Reads what is not known yet of these runs and forgets all others.
    async fn follow(&mut self, model: &Model, assigned: &HashSet<Uuid>) -> Result<()> {
        self.runs.retain(|uuid, _| assigned.contains(uuid));
        let unknown: Vec<Uuid> = assigned
            .iter()
            .filter(|uuid| !self.runs.contains_key(uuid))
            .copied()
            .collect();
        if !unknown.is_empty() {
            model
                .bundles(&unknown)
                .await?
                .iter()
                .for_each(|record| self.note(record));
        }
        Ok(())
    }
}

/// Workers that checked in after `alive_since` (Unix seconds), with what is assigned to them.
pub async fn live_workers(model: &Model, held: &mut HeldRuns, alive_since: i64) -> Result<Vec<Worker>> {
    let mut records = model.workers().await?;
    records.retain(|record| record.checkin_time.unix() >= alive_since);
    let assigned: HashSet<Uuid> = records
        .iter()
        .flat_map(|record| record.run_uuids.iter().copied())
        .collect();
    held.follow(model, &assigned).await?;
    Ok(records.into_iter().map(|record| worker(record, held)).collect())
}

fn worker(record: WorkerRecord, held: &HeldRuns) -> Worker {
    let cached = record.dependencies.into_iter();
    Worker {
        key: record.key,
        group: record.group_uuid,
        tag: record.tag.filter(|tag| !tag.is_empty()),
        tag_exclusive: record.tag_exclusive,
        cpus: record.cpus,
        gpus: record.gpus,
        memory: record.memory_bytes,
        free_disk: record.free_disk_bytes.unwrap_or(0),
        runs_left: record.exit_after_num_runs,
        is_terminating: record.is_terminating,
        shared_file_system: record.shared_file_system,
        own_bundles_only: record.own_bundles_only,
        // Runs that the database does not know any more hold nothing.
        runs: record
            .run_uuids
            .iter()
            .filter_map(|uuid| held.runs.get(uuid).cloned())
            .collect(),
        cached: cached
            .filter_map(|(uuid, path)| Some((Uuid::parse(&uuid).ok()?, path)))
            .collect(),
    }
}

/// The owners of the queue with quotas, and with their groups if any worker belongs to a group.
pub async fn users(model: &Model, owners: &HashSet<&UserId>, workers: &[Worker]) -> Result<HashMap<UserId, User>> {
    let ids: Vec<&str> = owners.iter().map(|owner| owner.as_str()).collect();
    let with_groups = workers.iter().any(|worker| worker.group.is_some());
    let mut users = HashMap::with_capacity(ids.len());
    for (id, account) in model.users(&ids).await? {
        let groups = if with_groups {
            model.groups_of(Some(id.as_str())).await?.into_iter().collect()
        } else {
            HashSet::new()
        };
        let quota = account.quota;
        let left = QuotaLeft {
            disk: quota.disk_left() as i64,
            time: quota.time_left(),
        };
        users.insert(
            id,
            User {
                left,
                parallel_run_quota: quota.parallel_run_quota,
                groups,
            },
        );
    }
    Ok(users)
}

/// Keys of these workers.
pub fn keys(workers: &[Worker]) -> HashSet<WorkerKey> {
    workers.iter().map(|worker| worker.key.clone()).collect()
}
