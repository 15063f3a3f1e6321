//! Messages to workers, kept until delivered (scheduler section 12.3).

use domain::{Error, Result, Uuid, WorkerId};
use serde_json::Value;

use crate::db::{Tx, params};
use crate::{Model, WorkerKey};

/// How often a message goes out before its run is given to another worker.
const MOST_DELIVERIES: i64 = 2;

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
        worker: &WorkerKey,
        run: Option<Uuid>,
        kind: &str,
        payload: &Value,
        now: i64,
        expires_at: Option<i64>,
    ) -> Result<i64> {
        let mut tx = self.db.write().await?;
        let message = NewMessage {
            worker,
            run,
            kind,
            payload,
            now,
            expires_at,
        };
        let id = queue(&mut tx, &message).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Undelivered, unexpired messages for a worker in order of queueing. They stay until marked delivered.
    pub async fn pending_messages(&self, worker: &WorkerKey, now: i64, limit: u32) -> Result<Vec<QueuedMessage>> {
        let sql = "SELECT `id`, `run_uuid`, `type`, `payload`, `created_at`, `delivered_at` FROM `worker_message` \
            WHERE `user_id` = ? AND `worker_id` = ? AND `delivered_at` IS NULL AND (`expires_at` IS NULL OR `expires_at` > ?) \
            ORDER BY `id` LIMIT ?";
        let values = params![&worker.user_id, &worker.worker_id, now, limit];
        let rows = self.db.once().await?.all(sql, values).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(QueuedMessage {
                    id: row.int()?,
                    worker: worker.clone(),
                    run_uuid: row.opt_uuid()?,
                    kind: row.text()?,
                    payload: serde_json::from_str(&row.text()?)
                        .map_err(|error| Error::internal(format!("A queued message is not JSON: {error}")))?,
                    created_at: row.int()?,
                    delivered_at: row.opt_int()?,
                })
            })
            .collect()
    }

    /// Notes that messages were written to the worker. Gives how many were still undelivered.
    pub async fn mark_delivered(&self, ids: &[i64], now: i64) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let sql = "UPDATE `worker_message` SET `delivered_at` = ?, `deliveries` = `deliveries` + 1 \
            WHERE `id` IN {in} AND `delivered_at` IS NULL";
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let count = tx.run_in(sql, &[now.into()], ids, &[]).await?;
                tx.commit().await?;
                Ok(count)
            })
            .await
    }

    /// Makes delivered `run` messages of runs that are still `starting` deliverable once more if they were delivered
    /// at or before `delivered_before`; each message at most once. Gives the workers to wake.
    pub async fn redeliver_run_messages(&self, delivered_before: i64) -> Result<Vec<WorkerKey>> {
        let mut tx = self.db.write().await?;
        let sql = "SELECT `m`.`id`, `m`.`user_id`, `m`.`worker_id` FROM `worker_message` `m` \
            JOIN `bundle` `b` ON `b`.`uuid` = `m`.`run_uuid` WHERE `m`.`type` = 'run' AND `m`.`delivered_at` <= ? \
            AND `m`.`deliveries` < ? AND `b`.`state` = 'starting' ORDER BY `m`.`id`";
        let rows = tx.all(sql, params![delivered_before, MOST_DELIVERIES]).await?;
        let (mut ids, mut workers) = (Vec::new(), Vec::new());
        for mut row in rows {
            ids.push(row.int()?);
            workers.push(WorkerKey {
                user_id: row.user_id()?,
                worker_id: WorkerId(row.text()?),
            });
        }
        if ids.is_empty() {
            return Ok(workers);
        }
        tx.run_in(
            "UPDATE `worker_message` SET `delivered_at` = NULL WHERE `id` IN {in}",
            &[],
            &ids,
            &[],
        )
        .await?;
        tx.commit().await?;
        workers.sort_unstable();
        workers.dedup();
        Ok(workers)
    }

    /// Forgets expired messages and those delivered at or before `delivered_before`.
    pub async fn purge_messages(&self, delivered_before: i64, now: i64) -> Result<u64> {
        let mut tx = self.db.write().await?;
        let sql =
            "DELETE FROM `worker_message` WHERE `delivered_at` <= ? OR (`delivered_at` IS NULL AND `expires_at` <= ?)";
        let count = tx.run(sql, params![delivered_before, now]).await?;
        tx.commit().await?;
        Ok(count)
    }
}

/// A message to queue within a transaction.
pub(crate) struct NewMessage<'a> {
    pub(crate) worker: &'a WorkerKey,
    pub(crate) run: Option<Uuid>,
    pub(crate) kind: &'a str,
    pub(crate) payload: &'a Value,
    pub(crate) now: i64,
    pub(crate) expires_at: Option<i64>,
}

pub(crate) async fn queue(tx: &mut Tx, message: &NewMessage<'_>) -> Result<i64> {
    tx.insert(
        "INSERT INTO `worker_message` (`user_id`, `worker_id`, `run_uuid`, `type`, `payload`, `created_at`, `expires_at`) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            &message.worker.user_id,
            &message.worker.worker_id,
            message.run,
            message.kind,
            message.payload.to_string(),
            message.now,
            message.expires_at
        ],
    )
    .await
}

/// Forgets what was to be said to a worker about a run it does not have any more. Questions stay until they expire:
/// somebody waits for the answer, and the worker's "no longer running" ends that wait at once.
pub(crate) async fn forget_run(tx: &mut Tx, run: Uuid) -> Result<()> {
    let sql = "DELETE FROM `worker_message` WHERE `run_uuid` = ? AND `type` NOT IN ('read', 'netcat')";
    tx.run(sql, params![run]).await.map(drop)
}
