//! The safety sweep: finds what lost events would have said, and what time alone changes.

use std::collections::HashSet;

use domain::{BundleState, BundleType, Result, Uuid};
use hub::Event;
use model::{BundleRecord, WorkerKey};

use crate::manager::{Manager, logged, now};
use crate::repair::{Repair, Watched, repair};

/// Known staged runs that each sweep reads again, longest unread first.
const REFRESH: usize = 500;
/// Every so many sweeps, also created bundles that are known to wait are looked at.
const THOROUGH: u64 = 6;
/// Every so many sweeps, old rows are cleaned up and stuck bundles failed.
const CLEAN_UP: u64 = 720;
/// Every so many sweeps (a day), the usage counters of all users are compared with the sums over their bundles.
const RECONCILE: u64 = 24 * CLEAN_UP;
/// Contents of bundles that were deleted this many seconds ago are nobody's work any more.
const LEFTOVER_AGE: i64 = 3600;
/// Most of them removed at once.
const LEFTOVERS: u32 = 1000;
/// A worker or run that was silent for longer than this before we started is not excused by our own absence.
const EXCUSED: i64 = 3600;
const KEEP_MESSAGES: i64 = 24 * 3600;
/// A leaving worker without runs is forgotten this soon after its last word.
const LEAVING: i64 = 15;

impl Manager {
    /// Looks at everything. Scheduling follows in the caller.
    pub(crate) async fn sweep(&mut self) {
        let number = self.sweeps;
        self.sweeps += 1;
        self.expect_no_events();
        logged("remove workers", self.remove_workers().await);
        logged("repair active runs", self.repair_active_runs().await);
        logged("redeliver", self.redeliver().await);
        logged("recover makes", self.recover_makes().await);
        logged(
            "read created bundles",
            self.sweep_created(number.is_multiple_of(THOROUGH)).await,
        );
        logged("read staged bundles", self.sweep_staged().await);
        if number.is_multiple_of(CLEAN_UP) {
            logged("clean up", self.clean_up().await);
            // Changes of totals are appended row by row; nobody may count for a long time.
            logged("merge totals", self.model.merge_totals().await);
        }
        if number % RECONCILE == CLEAN_UP {
            // What it repairs, it logs.
            logged(
                "compare usage with bundles",
                self.model.reconcile_usage().await.map(drop),
            );
        }
        tracing::debug!(queued = self.queue.len(), waiting = self.waiting.len(), "swept");
    }

    /// Unix seconds before which silence counts as death. While we were away nobody could check in: what was alive
    /// shortly before gets one time-out to come back.
    fn silent_since(&self) -> i64 {
        let timeout = self.config.timeouts.worker.as_secs() as i64;
        let now = now();
        if now - self.started_at < timeout {
            (self.started_at - EXCUSED).min(now - timeout)
        } else {
            now - timeout
        }
    }

    /// Removes dead workers, and workers that said goodbye. Reading first keeps an idle instance from writing.
    async fn remove_workers(&mut self) -> Result<()> {
        let (silent_since, leaving_since) = (self.silent_since(), now() - LEAVING);
        let workers = self.model.workers().await?;
        if workers.iter().any(|worker| worker.checkin_time.unix() < silent_since) {
            for (worker, lost) in self.model.remove_silent_workers(silent_since, now()).await? {
                tracing::warn!(worker = %worker.worker_id, owner = %worker.user_id, runs = lost.len(), "worker is dead");
                self.worker_is_gone(worker, lost).await?;
            }
        }
        let leaving = workers
            .into_iter()
            .filter(|worker| worker.is_terminating && worker.run_uuids.is_empty());
        for worker in leaving.filter(|worker| worker.checkin_time.unix() < leaving_since) {
            let lost = self.model.remove_worker(&worker.key, now()).await?;
            self.worker_is_gone(worker.key, lost).await?;
        }
        Ok(())
    }

    async fn worker_is_gone(&mut self, worker: WorkerKey, lost: Vec<Uuid>) -> Result<()> {
        self.known_workers.remove(&worker);
        let (user_id, worker_id) = (worker.user_id.to_string(), worker.worker_id.to_string());
        self.hub.publish(Event::WorkerGone { user_id, worker_id });
        for (uuid, state) in self.model.bundle_states(&lost).await? {
            self.publish_state(uuid, state);
        }
        Ok(())
    }

    async fn repair_active_runs(&mut self) -> Result<()> {
        use BundleState::{Finalizing, Preparing, Running, Starting};
        let states = [Starting, Preparing, Running, Finalizing];
        let active = self.model.bundles_in_states(&states, Some(BundleType::Run)).await?;
        if active.is_empty() {
            return Ok(());
        }
        let assigned: HashSet<Uuid> = self
            .model
            .run_assignments()
            .await?
            .into_iter()
            .map(|assignment| assignment.run_uuid)
            .collect();
        for record in self.model.bundles(&active).await? {
            let has_worker = assigned.contains(&record.bundle.uuid);
            if has_worker {
                self.held.note(&record);
            }
            let watched = self.watched(&record, has_worker);
            if let Some(repair) = repair(watched, now(), &self.config.timeouts) {
                logged("repair", self.carry_out(&record, repair).await);
            }
        }
        Ok(())
    }

    fn watched(&self, record: &BundleRecord, has_worker: bool) -> Watched {
        let metadata = &record.bundle.metadata;
        // Silence while we were away is not the worker's.
        let excuse = |at: i64| {
            if at > self.started_at - EXCUSED {
                at.max(self.started_at)
            } else {
                at
            }
        };
        Watched {
            state: record.bundle.state,
            has_worker,
            last_updated: metadata
                .get("last_updated")
                .map(|_| excuse(metadata.int("last_updated"))),
            created: excuse(metadata.int("created")),
        }
    }

    async fn carry_out(&mut self, record: &BundleRecord, repair: Repair) -> Result<()> {
        let uuid = record.bundle.uuid;
        let changed = match repair {
            Repair::Restage => self.model.unassign_run(uuid, now()).await?,
            Repair::Offline(_) => self.model.lose_worker(uuid, now()).await?,
            Repair::Finish => return self.finish(uuid).await,
        };
        if changed {
            tracing::warn!(bundle = %uuid, from = %record.bundle.state, ?repair, "run taken from its worker");
            for (uuid, state) in self.model.bundle_states(&[uuid]).await? {
                self.publish_state(uuid, state);
            }
        }
        Ok(())
    }

    /// A reported end that nobody answered: the final state, and the worker's permission to forget the run.
    async fn finish(&mut self, uuid: Uuid) -> Result<()> {
        let worker = self.model.worker_of_run(uuid).await?;
        let Some(state) = self.model.finalize_run(uuid, now()).await? else {
            return Ok(());
        };
        self.publish_state(uuid, state);
        if let Some(worker) = worker {
            let message = serde_json::json!({"type": "mark_finalized", "uuid": uuid});
            self.model
                .queue_message(&worker, Some(uuid), "mark_finalized", &message, now(), None)
                .await?;
            self.hub
                .publish(Event::message_queued(&worker.user_id, &worker.worker_id));
        }
        Ok(())
    }

    /// `run` messages that were delivered and had no effect go out once more.
    async fn redeliver(&self) -> Result<()> {
        let before = now() - self.config.timeouts.redeliver.as_secs() as i64;
        for worker in self.model.redeliver_run_messages(before).await? {
            tracing::warn!(worker = %worker.worker_id, owner = %worker.user_id, "run message had no effect; sent again");
            self.hub
                .publish(Event::message_queued(&worker.user_id, &worker.worker_id));
        }
        Ok(())
    }

    /// Make bundles in `making` that nobody makes go back to `staged`, and staged ones are begun.
    async fn recover_makes(&mut self) -> Result<()> {
        for uuid in self
            .model
            .bundles_in_states(&[BundleState::Making], Some(BundleType::Make))
            .await?
        {
            if !self.makes.is_making(&uuid) && self.model.restart_making(uuid).await? {
                tracing::warn!(bundle = %uuid, "make was interrupted; it begins again");
                self.publish_state(uuid, BundleState::Staged);
            }
        }
        for uuid in self
            .model
            .bundles_in_states(&[BundleState::Staged], Some(BundleType::Make))
            .await?
        {
            self.makes.start(uuid);
        }
        Ok(())
    }

    async fn sweep_created(&mut self, thorough: bool) -> Result<()> {
        let created = self.model.bundles_in_states(&[BundleState::Created], None).await?;
        if thorough {
            self.waiting.clear();
        } else {
            let current: HashSet<&Uuid> = created.iter().collect();
            self.waiting.retain(|uuid| current.contains(uuid));
        }
        let unseen: Vec<Uuid> = created
            .into_iter()
            .filter(|uuid| !self.waiting.contains(uuid))
            .collect();
        self.stage(&unseen).await;
        Ok(())
    }

    async fn sweep_staged(&mut self) -> Result<()> {
        let staged = self
            .model
            .bundles_in_states(&[BundleState::Staged], Some(BundleType::Run))
            .await?;
        let to_load = self.queue.reconcile(&staged, REFRESH);
        self.load_staged(to_load.into_iter().collect()).await;
        Ok(())
    }

    async fn clean_up(&mut self) -> Result<()> {
        let limit = self.config.timeouts.unresponsive.as_secs() as i64;
        for uuid in self.model.fail_stuck_bundles(now() - limit, now()).await? {
            tracing::warn!(bundle = %uuid, "bundle was stuck; failed");
            self.publish_state(uuid, BundleState::Failed);
        }
        self.model.purge_messages(now() - KEEP_MESSAGES, now()).await?;
        self.remove_leftovers().await
    }

    /// Removes contents of deleted bundles that a server had no time to remove.
    async fn remove_leftovers(&self) -> Result<()> {
        let mut removed = Vec::new();
        for uuid in self.model.leftovers(now() - LEFTOVER_AGE, LEFTOVERS).await? {
            self.storage.delete(&uuid).await?;
            tracing::warn!(bundle = %uuid, "removed the contents that a deleted bundle had left behind");
            removed.push(uuid);
        }
        if removed.is_empty() {
            return Ok(());
        }
        self.model.forget_leftovers(&removed).await
    }
}
