//! A scheduling pass: takes a snapshot, lets `schedule` decide, and carries the decisions out.

use std::collections::HashSet;
use std::time::Instant;

use domain::run::{RunResources, WorkerMessage};
use domain::{BundleState, Permission, Result, UserId, Uuid};
use hub::Event;
use model::{BundleRecord, ObjectKind};

use crate::manager::{Manager, logged, now};
use crate::message::{add_locations, run_message};
use crate::request::RequestFields;
use crate::schedule::{Decision, Snapshot, Worker, schedule};
use crate::snapshot::{keys, live_workers, users};

/// Passes in a row when decisions turn out to rest on something that has changed.
const MOST_ROUNDS: usize = 3;
/// Status texts written before looking for events again.
const STATUS_BATCH: usize = 5;

/// How carrying out one assignment ended.
enum Outcome {
    /// Assigned, or no longer to be.
    Settled,
    /// The snapshot was wrong about it; decide again.
    Stale,
}

impl Manager {
    /// Assigns what can be assigned now.
    pub(crate) async fn schedule(&mut self) -> Result<()> {
        for _ in 0..MOST_ROUNDS {
            if self.queue.is_empty() {
                break;
            }
            let alive_since = now() - self.config.timeouts.worker.as_secs() as i64;
            let start = Instant::now();
            let workers = live_workers(&self.model, &mut self.held, alive_since).await?;
            tracing::debug!(workers = workers.len(), took = ?start.elapsed(), "workers read");
            self.known_workers = keys(&workers);
            if !self.round(&workers).await? {
                break;
            }
        }
        Ok(())
    }

    /// One snapshot and its decisions; true if it has to be repeated.
    async fn round(&mut self, workers: &[Worker]) -> Result<bool> {
        let start = Instant::now();
        let owners: HashSet<&UserId> = self.queue.runs().map(|run| &run.owner).collect();
        let users = users(&self.model, &owners, workers).await?;
        let root = UserId::from(self.model.root_user_id());
        let decisions = schedule(&Snapshot {
            queue: self.queue.runs().collect(),
            workers,
            users: &users,
            limits: &self.config.limits,
            root: &root,
            prefer_private: self.config.prefer_private,
            seed: rand::random(),
        });
        let decided = start.elapsed();
        tracing::debug!(
            queued = self.queue.len(),
            workers = workers.len(),
            ?decided,
            "scheduling pass"
        );
        let mut again = false;
        self.statuses.clear();
        for decision in decisions {
            match decision {
                Decision::Assign { uuid, worker, request } => {
                    let target = workers.iter().find(|candidate| candidate.key == worker);
                    let outcome = match target {
                        Some(target) => logged("assign", self.assign(uuid, target, request, &root).await),
                        None => None,
                    };
                    again |= matches!(outcome, Some(Outcome::Stale));
                }
                Decision::Fail { uuid, message } => {
                    logged("fail", self.fail_staged(uuid, &message).await);
                }
                Decision::Wait { uuid, status } if self.queue.status_is_due(&uuid, &status) => {
                    self.statuses.push_back((uuid, status));
                }
                Decision::Wait { .. } => {}
            }
        }
        Ok(again)
    }

    async fn assign(&mut self, uuid: Uuid, worker: &Worker, request: RunResources, root: &UserId) -> Result<Outcome> {
        let record = self.model.bundles(&[uuid]).await?.into_iter().next();
        let Some(record) = record.filter(|record| record.bundle.state == BundleState::Staged) else {
            self.queue.remove(&uuid);
            return Ok(Outcome::Settled);
        };
        let is_current = |fields: &RequestFields| *fields == RequestFields::from_metadata(&record.bundle.metadata);
        if !self.queue.get(&uuid).is_some_and(|run| is_current(&run.fields)) {
            self.queue.insert(&record);
            return Ok(Outcome::Stale);
        }
        if !self.may_run(&worker.key.user_id, &record, root).await? {
            if let Some(run) = self.queue.get_mut(&uuid) {
                run.refused_owners.insert(worker.key.user_id.clone());
            }
            return Ok(Outcome::Stale);
        }
        let mut message = run_message(&record, worker, request, now());
        if worker.shared_file_system {
            add_locations(&mut message, &self.model, &self.storage).await?;
        }
        let message = serde_json::to_value(WorkerMessage::Run(Box::new(message)))?;
        if !self.model.assign_run(uuid, &worker.key, &message, now()).await? {
            // The bundle was killed or deleted, or the worker is leaving: the next round sees which.
            return Ok(Outcome::Stale);
        }
        self.hub
            .publish(Event::message_queued(&worker.key.user_id, &worker.key.worker_id));
        self.publish_state(uuid, BundleState::Starting);
        tracing::info!(bundle = %uuid, worker = %worker.key.worker_id, owner = %worker.key.user_id, "run assigned");
        self.nudges.begin(&worker.key, Instant::now());
        self.held.note(&record);
        self.queue.remove(&uuid);
        Ok(Outcome::Settled)
    }

    /// Whether the worker's owner may run this bundle and read all of its parents. The bundle's own owner and root may.
    async fn may_run(&self, owner: &UserId, record: &BundleRecord, root: &UserId) -> Result<bool> {
        let bundle = &record.bundle;
        if owner == root || bundle.owner_id.as_ref() == Some(owner) {
            return Ok(true);
        }
        let mut uuids = vec![bundle.uuid];
        uuids.extend(bundle.dependencies.iter().map(|dependency| dependency.parent_uuid));
        let have = self
            .model
            .permissions_of(ObjectKind::Bundle, Some(owner.as_str()), &uuids)
            .await?;
        Ok(have.first() == Some(&Permission::All) && have.iter().all(|permission| *permission >= Permission::Read))
    }

    async fn fail_staged(&mut self, uuid: Uuid, message: &str) -> Result<()> {
        self.queue.remove(&uuid);
        if self
            .model
            .fail(uuid, &[BundleState::Staged], message, None, now())
            .await?
        {
            tracing::info!(bundle = %uuid, message, "run refused");
            self.publish_state(uuid, BundleState::Failed);
        }
        Ok(())
    }

    /// Writes some of the status texts that the last pass found due. They wait for everything else: with a long queue
    /// there are many, and nobody reads them in a hurry.
    pub(crate) async fn write_some_statuses(&mut self) {
        for _ in 0..STATUS_BATCH {
            let Some((uuid, status)) = self.statuses.pop_front() else {
                return;
            };
            if self.queue.status_is_due(&uuid, &status) {
                self.queue.status_is_written(&uuid, &status);
                logged("write staged_status", self.model.set_staged_status(uuid, &status).await);
            }
        }
    }
}
