//! Every state transition of a bundle (data-model section 6.2): one function, one transaction, one conditional update.
//! A function that gives `bool` says whether it won; false means that the bundle was not in the state it needs.

use domain::{BundleState, BundleType, Error, Metadata, Permission, Result, Uuid};
use serde_json::{Value, json};

use crate::bundles::{metadata, not_found};
use crate::db::{Tx, params};
use crate::outbox::{NewMessage, forget_run, queue};
use crate::quota::{LockedBundle, lock_bundle, set_size};
use crate::uploads::publish;
use crate::workers::{assign, assigned_to, release};
use crate::{BundleContents, Model, ObjectKind, WorkerKey};

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

/// The status of every freshly staged bundle.
const STAGED_STATUS: &str =
    "Bundle's dependencies are all ready. Waiting for the bundle to be assigned to a worker to be run.";

/// States a bundle can still leave.
pub(crate) const NOT_FINAL: [BundleState; 9] = [
    BundleState::Created,
    BundleState::Staged,
    BundleState::Making,
    BundleState::Starting,
    BundleState::Preparing,
    BundleState::Running,
    BundleState::Finalizing,
    BundleState::Uploading,
    BundleState::WorkerOffline,
];

impl Model {
    /// `created` → `staged`, with the standard `staged_status`.
    pub async fn stage(&self, uuid: Uuid, _now: i64) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                if !set_state(&mut tx, uuid, &[BundleState::Created], BundleState::Staged).await? {
                    return Ok(false);
                }
                metadata::set(&mut tx, uuid, "staged_status", STAGED_STATUS).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Any of `from` → `failed` with a message (and traceback). Removes an assignment; tells its worker to kill.
    pub async fn fail(
        &self,
        uuid: Uuid,
        from: &[BundleState],
        message: &str,
        traceback: Option<&str>,
        now: i64,
    ) -> Result<bool> {
        let from: Vec<BundleState> = from.iter().copied().filter(|state| !state.is_final()).collect();
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                if from.is_empty() || !set_state(&mut tx, uuid, &from, BundleState::Failed).await? {
                    return Ok(false);
                }
                note_failure(&mut tx, uuid, message, traceback).await?;
                take_from_worker(&mut tx, uuid, now).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// `staged` → `making`.
    pub async fn start_making(&self, uuid: Uuid, _now: i64) -> Result<bool> {
        self.change_make(uuid, BundleState::Staged, BundleState::Making).await
    }

    /// `making` → `staged`, for makes that no live task owns.
    pub async fn restart_making(&self, uuid: Uuid) -> Result<bool> {
        self.change_make(uuid, BundleState::Making, BundleState::Staged).await
    }

    async fn change_make(&self, uuid: Uuid, from: BundleState, to: BundleState) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let sql = "UPDATE `bundle` SET `state` = ? WHERE `uuid` = ? AND `state` = ? AND `bundle_type` = 'make'";
                let won = tx.run(sql, params![to, uuid, from]).await? == 1;
                tx.commit().await?;
                Ok(won)
            })
            .await
    }

    /// `making` → `ready` with size and accounting, or → `failed`. When the owner is over quota it fails and the
    /// result is an error 400; the caller then removes the contents.
    pub async fn finish_making(&self, uuid: Uuid, outcome: &MakeOutcome, _now: i64) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let from = [BundleState::Making];
                match outcome {
                    MakeOutcome::Failed { message, traceback } => {
                        if !set_state(&mut tx, uuid, &from, BundleState::Failed).await? {
                            return Ok(false);
                        }
                        note_failure(&mut tx, uuid, message, traceback.as_deref()).await?;
                    }
                    MakeOutcome::Done(contents) => {
                        if !set_state(&mut tx, uuid, &from, BundleState::Ready).await? {
                            return Ok(false);
                        }
                        let store = Uuid::parse(&contents.store_key).ok();
                        if let Err(error) = publish(&mut tx, contents, None, store).await? {
                            set_state(&mut tx, uuid, &[], BundleState::Failed).await?;
                            note_failure(&mut tx, uuid, &error.message, None).await?;
                            tx.commit().await?;
                            return Err(error);
                        }
                    }
                }
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// `staged` → `starting` on a worker that is known, not terminating and takes more runs: assignment, `last_updated`,
    /// the worker's remaining number of runs and the `run` message with this payload, in one transaction.
    pub async fn assign_run(&self, run: Uuid, worker: &WorkerKey, message: &Value, now: i64) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let sql = "UPDATE `bundle` SET `state` = ? WHERE `uuid` = ? AND `state` = ? AND `bundle_type` = 'run'";
                let values = params![BundleState::Starting, run, BundleState::Staged];
                if tx.run(sql, values).await? != 1 {
                    return Ok(false);
                }
                let sql = format!(
                    "SELECT `is_terminating`, `exit_after_num_runs` FROM `worker` WHERE `user_id` = ? AND `worker_id` = ?{}",
                    tx.engine().for_update()
                );
                let runs_left = match tx.first(sql, params![&worker.user_id, &worker.worker_id]).await? {
                    Some(mut row) => {
                        let is_terminating = row.flag()?;
                        let runs_left = row.int()?;
                        if is_terminating { 0 } else { runs_left }
                    }
                    None => 0,
                };
                if runs_left == 0 {
                    return Ok(false);
                }
                if (1..domain::run::UNLIMITED_RUNS).contains(&runs_left) {
                    let sql =
                        "UPDATE `worker` SET `exit_after_num_runs` = ? WHERE `user_id` = ? AND `worker_id` = ?";
                    tx.run(sql, params![runs_left - 1, &worker.user_id, &worker.worker_id]).await?;
                }
                release(&mut tx, run).await?;
                forget_run(&mut tx, run).await?;
                assign(&mut tx, run, worker).await?;
                metadata::set(&mut tx, run, "last_updated", now).await?;
                let kind = "run";
                queue(
                    &mut tx,
                    &NewMessage {
                        worker,
                        run: Some(run),
                        kind,
                        payload: message,
                        now,
                        expires_at: None,
                    },
                )
                .await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// `starting` → `staged`: not delivered, not claimed or stuck. Resets as data-model 6.3.
    pub async fn unassign_run(&self, run: Uuid, _now: i64) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let won = unassign(&mut tx, run).await?;
                tx.commit().await?;
                Ok(won)
            })
            .await
    }

    /// `starting` → `preparing`, asked for by the worker. 404 without the bundle, 403 without *all* permission; false
    /// if the run is not assigned to this worker (any more). A repeated call by the same worker gives true again.
    pub async fn start_run(&self, start: &StartRun) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, start.run)
                    .await?
                    .ok_or_else(|| not_found(start.run))?;
                let viewer = Some(start.worker.user_id.as_str());
                if self
                    .permissions_in(&mut tx, ObjectKind::Bundle, viewer, &[start.run])
                    .await?
                    != [Permission::All]
                {
                    return Err(Error::permission("User does not have permission to run bundle."));
                }
                if assigned_to(&mut tx, start.run).await?.as_ref() != Some(&start.worker) {
                    return Ok(false);
                }
                if !set_state(&mut tx, start.run, &[BundleState::Starting], BundleState::Preparing).await? {
                    return Ok(bundle.state == BundleState::Preparing);
                }
                note_start(&mut tx, start).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// `preparing`, `running`, `finalizing` → `worker_offline`, or `staged` if it was on a preemptible worker.
    pub async fn lose_worker(&self, run: Uuid, now: i64) -> Result<bool> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let won = lose(&mut tx, run, now).await?;
                tx.commit().await?;
                Ok(won)
            })
            .await
    }

    /// `finalizing` → `ready`, `failed` or `killed` by the stored failure message and exit code. Gives the new state
    /// if it won.
    pub async fn finalize_run(&self, run: Uuid, now: i64) -> Result<Option<BundleState>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                if lock_bundle(&mut tx, run)
                    .await?
                    .is_none_or(|bundle| bundle.state != BundleState::Finalizing)
                {
                    return Ok(None);
                }
                let message = metadata::text(&mut tx, run, "failure_message")
                    .await?
                    .unwrap_or_default();
                let exit_code = metadata::number(&mut tx, run, "exitcode").await?;
                let state = if message.contains("Kill requested") {
                    BundleState::Killed
                } else if !message.is_empty() || exit_code != 0.0 {
                    BundleState::Failed
                } else {
                    BundleState::Ready
                };
                set_state(&mut tx, run, &[BundleState::Finalizing], state).await?;
                let mut changes = Metadata::new();
                changes.set("run_status", "Finished");
                changes.set("last_updated", now);
                metadata::replace(&mut tx, run, &changes).await?;
                release(&mut tx, run).await?;
                forget_run(&mut tx, run).await?;
                tx.commit().await?;
                Ok(Some(state))
            })
            .await
    }

    /// Kills a bundle that no worker has, or queues `message` (default: a `kill`) for the worker that has it; notes
    /// the action. 400 if the bundle is final.
    pub async fn kill(&self, uuid: Uuid, message: Option<&Value>, now: i64) -> Result<KillOutcome> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_actionable(&mut tx, uuid).await?;
                if bundle.bundle_type == BundleType::Run {
                    metadata::append(&mut tx, uuid, "actions", "kill").await?;
                }
                let outcome = if let Some(worker) = assigned_to(&mut tx, uuid).await? {
                    let standard = json!({"type": "kill", "uuid": uuid});
                    let payload = message.unwrap_or(&standard);
                    let kill = NewMessage {
                        worker: &worker,
                        run: Some(uuid),
                        kind: "kill",
                        payload,
                        now,
                        expires_at: None,
                    };
                    queue(&mut tx, &kill).await?;
                    KillOutcome::Sent(worker)
                } else {
                    set_state(&mut tx, uuid, &NOT_FINAL, BundleState::Killed).await?;
                    KillOutcome::Killed
                };
                tx.commit().await?;
                Ok(outcome)
            })
            .await
    }

    /// 400 if one of these bundles is final, in the words of [`Self::kill`].
    pub async fn check_not_final(&self, uuids: &[Uuid]) -> Result<()> {
        let bundles = self.bundles(uuids).await?;
        if bundles.iter().any(|bundle| bundle.bundle.state.is_final()) {
            return Err(is_final());
        }
        Ok(())
    }

    /// Queues a `write` for the worker that has the run and notes the action. 400 if final or without a worker.
    pub async fn write_to_run(&self, uuid: Uuid, subpath: &str, text: &str, now: i64) -> Result<WorkerKey> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_actionable(&mut tx, uuid).await?;
                let Some(worker) = assigned_to(&mut tx, uuid).await? else {
                    return Err(Error::usage("Cannot write to a bundle that is not running."));
                };
                metadata::append(&mut tx, uuid, "actions", &format!("write\t{subpath}\t{text}")).await?;
                let payload = json!({"type": "write", "uuid": uuid, "subpath": subpath, "string": text});
                let kind = "write";
                queue(
                    &mut tx,
                    &NewMessage {
                        worker: &worker,
                        run: Some(uuid),
                        kind,
                        payload: &payload,
                        now,
                        expires_at: None,
                    },
                )
                .await?;
                tx.commit().await?;
                Ok(worker)
            })
            .await
    }

    /// Any non-final state → a final one, reported by a client that has stored the contents itself. 400 unless `state`
    /// is final. Takes a run from its worker.
    pub async fn report_final_state(
        &self,
        uuid: Uuid,
        state: BundleState,
        message: Option<&str>,
        now: i64,
    ) -> Result<bool> {
        if !state.is_final() {
            return Err(Error::usage(format!(
                "state must be a final state (ready, failed or killed), was {state}"
            )));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                if !set_state(&mut tx, uuid, &NOT_FINAL, state).await? {
                    return Ok(false);
                }
                if let Some(message) = message {
                    note_failure(&mut tx, uuid, message, None).await?;
                }
                take_from_worker(&mut tx, uuid, now).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Fails bundles without news since `before` (Unix seconds) in any non-final state. Gives those that it failed.
    pub async fn fail_stuck_bundles(&self, before: i64, now: i64) -> Result<Vec<Uuid>> {
        let time = self.db.engine().integer("`m`.`metadata_value`");
        let newer = "SELECT 1 FROM `bundle_metadata` `m` WHERE `m`.`bundle_uuid` = `b`.`uuid` \
            AND `m`.`metadata_key` IN ('last_updated', 'created')";
        // News are the later of creation and last update; a bundle with neither is too old to know them.
        let sql = format!(
            "SELECT `b`.`uuid`, `b`.`state` FROM `bundle` `b` WHERE `b`.`state` IN {{in}} \
             AND EXISTS ({newer}) AND NOT EXISTS ({newer} AND {time} > ?) ORDER BY `b`.`id`"
        );
        let rows = self
            .db
            .once()
            .await?
            .all_in(&sql, &[], &NOT_FINAL, &[before.into()])
            .await?;
        let days = (now - before) / 86_400;
        let mut failed = Vec::new();
        for mut row in rows {
            let (uuid, state) = (row.uuid()?, row.state()?);
            let message = format!("Bundle has been stuck in {state} state for more than {days} days.");
            if self.fail(uuid, &[state], &message, None, now).await? {
                failed.push(uuid);
            }
        }
        Ok(failed)
    }
}

/// The conditional update: from one of these states (none listed: whatever it is, the row is locked) to another.
pub(crate) async fn set_state(tx: &mut Tx, uuid: Uuid, from: &[BundleState], to: BundleState) -> Result<bool> {
    if from.is_empty() {
        let sql = "UPDATE `bundle` SET `state` = ? WHERE `uuid` = ?";
        return Ok(tx.run(sql, params![to, uuid]).await? == 1);
    }
    let sql = "UPDATE `bundle` SET `state` = ? WHERE `uuid` = ? AND `state` IN {in}";
    Ok(tx.run_in(sql, &[to.into(), uuid.into()], from, &[]).await? == 1)
}

/// `starting` → `staged`, within a transaction.
pub(crate) async fn unassign(tx: &mut Tx, run: Uuid) -> Result<bool> {
    if !set_state(tx, run, &[BundleState::Starting], BundleState::Staged).await? {
        return Ok(false);
    }
    release(tx, run).await?;
    forget_run(tx, run).await?;
    reset(tx, run).await?;
    Ok(true)
}

/// See [`Model::lose_worker`].
pub(crate) async fn lose(tx: &mut Tx, run: Uuid, now: i64) -> Result<bool> {
    let from = [BundleState::Preparing, BundleState::Running, BundleState::Finalizing];
    // Locked first: the flag belongs to the attempt that is being ended.
    lock_bundle(tx, run).await?;
    let preemptible = metadata::text(tx, run, "on_preemptible_worker").await?.as_deref() == Some("True");
    let to = if preemptible {
        BundleState::Staged
    } else {
        BundleState::WorkerOffline
    };
    if !set_state(tx, run, &from, to).await? {
        return Ok(false);
    }
    metadata::set(tx, run, "last_updated", now).await?;
    release(tx, run).await?;
    forget_run(tx, run).await?;
    Ok(true)
}

/// Deletes what an attempt left behind, gives its disk space back, and sets the status of a staged bundle
/// (data-model 6.3). The workers that had it are remembered.
pub(crate) async fn reset(tx: &mut Tx, run: Uuid) -> Result<()> {
    set_size(tx, run, None).await?;
    let keys: Vec<&str> = domain::metadata::reset_keys()
        .filter(|key| *key != "remote_history")
        .collect();
    metadata::remove(tx, run, &keys).await?;
    metadata::set(tx, run, "staged_status", STAGED_STATUS).await
}

/// What is known once a worker has begun a run.
async fn note_start(tx: &mut Tx, start: &StartRun) -> Result<()> {
    let sql = "SELECT `preemptible` FROM `worker` WHERE `user_id` = ? AND `worker_id` = ?";
    let preemptible = tx
        .count(sql, params![&start.worker.user_id, &start.worker.worker_id])
        .await?
        != 0;
    let mut changes = Metadata::new();
    changes.set(
        "run_status",
        "Preparing: fetching the dependencies and the Docker image.",
    );
    changes.set("started", start.start_time);
    changes.set("last_updated", start.start_time);
    changes.set("remote", start.hostname.as_str());
    changes.set("on_preemptible_worker", preemptible);
    metadata::replace(tx, start.run, &changes).await?;
    metadata::append(tx, start.run, "remote_history", &start.hostname).await
}

pub(crate) async fn note_failure(tx: &mut Tx, uuid: Uuid, message: &str, traceback: Option<&str>) -> Result<()> {
    let mut changes = Metadata::new();
    changes.set("failure_message", message);
    if let Some(traceback) = traceback {
        changes.set("error_traceback", traceback);
    }
    metadata::replace(tx, uuid, &changes).await
}

/// Ends the assignment of a bundle that is over, and tells the worker.
pub(crate) async fn take_from_worker(tx: &mut Tx, uuid: Uuid, now: i64) -> Result<()> {
    let Some(worker) = assigned_to(tx, uuid).await? else {
        return Ok(());
    };
    release(tx, uuid).await?;
    forget_run(tx, uuid).await?;
    let payload = json!({"type": "kill", "uuid": uuid});
    let kill = NewMessage {
        worker: &worker,
        run: Some(uuid),
        kind: "kill",
        payload: &payload,
        now,
        expires_at: None,
    };
    queue(tx, &kill).await.map(drop)
}

/// The bundle, if actions still make sense; 400 if it is final.
async fn lock_actionable(tx: &mut Tx, uuid: Uuid) -> Result<LockedBundle> {
    let bundle = lock_bundle(tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
    if bundle.state.is_final() {
        return Err(is_final());
    }
    Ok(bundle)
}

fn is_final() -> Error {
    Error::usage(
        "Cannot execute this action on a bundle that is in one of the final states: ready, failed, killed. Kill works in \
         these states: created uploading staged making starting running preparing finalizing.",
    )
}
