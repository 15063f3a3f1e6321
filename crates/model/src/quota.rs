//! Disk and time accounting (data-model section 10). Invariant: after each operation `disk_used` of a user is the sum
//! of `data_size` over the bundles the user owns.

use domain::user::Quota;
use domain::{Error, Result, Uuid};

use crate::Model;
use crate::bundles::{metadata, not_found};
use crate::db::{Tx, params};

impl Model {
    /// Sets a bundle's `data_size` and changes its owner's `disk_used` by the difference.
    pub async fn set_data_size(&self, uuid: Uuid, bytes: i64) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                set_size(&mut tx, uuid, Some(bytes)).await?;
                tx.commit().await
            })
            .await
    }

    /// Adds to both (the clients' sparse increments during uploads). 400 unless positive. Gives the new `disk_used`.
    pub async fn increment_disk_used(&self, uuid: Uuid, bytes: i64) -> Result<i64> {
        if bytes <= 0 {
            return Err(Error::usage("Only positive disk increments are allowed."));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let locked = lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                let size = metadata::number(&mut tx, uuid, "data_size").await? as i64;
                set_size(&mut tx, uuid, Some(size.saturating_add(bytes))).await?;
                let used = match &locked.owner_id {
                    Some(owner) => {
                        tx.count("SELECT `disk_used` FROM `user` WHERE `user_id` = ?", params![owner])
                            .await?
                    }
                    None => 0,
                };
                tx.commit().await?;
                Ok(used)
            })
            .await
    }

    /// Quota minus runs of this user on other people's workers.
    pub async fn parallel_runs_left(&self, user_id: &str) -> Result<i64> {
        let sql = "SELECT `u`.`parallel_run_quota` - (SELECT COUNT(*) FROM `worker_run` `r` \
            JOIN `bundle` `b` ON `b`.`uuid` = `r`.`run_uuid` WHERE `b`.`owner_id` = `u`.`user_id` \
            AND `r`.`user_id` <> `u`.`user_id`) FROM `user` `u` WHERE `u`.`user_id` = ?";
        self.db.once().await?.count(sql, params![user_id]).await
    }

    /// Compares every user's `disk_used` with the sum over his bundles and repairs it. Gives (user, was, is) of the
    /// repaired ones.
    pub async fn repair_disk_used(&self) -> Result<Vec<(String, i64, i64)>> {
        let mut tx = self.db.write().await?;
        let engine = tx.engine();
        // Locks the users first, so that no transaction in between changes both numbers.
        let sql = format!(
            "SELECT `user_id`, `disk_used` FROM `user` ORDER BY `user_id`{}",
            engine.for_update()
        );
        let users = tx.all(sql, params![]).await?;
        let size = engine.integer("`m`.`metadata_value`");
        let sql = format!(
            "SELECT `b`.`owner_id`, SUM({size}) FROM `bundle` `b` JOIN `bundle_metadata` `m` ON `m`.`bundle_uuid` = `b`.`uuid` \
             AND `m`.`metadata_key` = 'data_size' WHERE `b`.`owner_id` IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM `bundle_metadata` `x` WHERE `x`.`bundle_uuid` = `m`.`bundle_uuid` \
             AND `x`.`metadata_key` = 'data_size' AND `x`.`id` > `m`.`id`) GROUP BY `b`.`owner_id`"
        );
        let mut sums = std::collections::HashMap::new();
        for mut row in tx.all(sql, params![]).await? {
            sums.insert(row.text()?, row.opt_int()?.unwrap_or(0));
        }
        let mut repaired = Vec::new();
        for mut row in users {
            let (user_id, was) = (row.text()?, row.int()?);
            let is = sums.get(&user_id).copied().unwrap_or(0);
            if was != is {
                tx.run(
                    "UPDATE `user` SET `disk_used` = ? WHERE `user_id` = ?",
                    params![is, &user_id],
                )
                .await?;
                repaired.push((user_id, was, is));
            }
        }
        tx.commit().await?;
        Ok(repaired)
    }
}

/// What a transition needs to know about the row it has locked.
#[derive(Debug)]
pub(crate) struct LockedBundle {
    pub(crate) state: domain::BundleState,
    pub(crate) bundle_type: domain::BundleType,
    pub(crate) owner_id: Option<domain::UserId>,
}

/// Reads and locks a bundle's row, so that metadata and counters change in one order. None if it does not exist.
pub(crate) async fn lock_bundle(tx: &mut Tx, uuid: Uuid) -> Result<Option<LockedBundle>> {
    let sql = format!(
        "SELECT `state`, `bundle_type`, `owner_id` FROM `bundle` WHERE `uuid` = ?{}",
        tx.engine().for_update()
    );
    let row = tx.first(sql, params![uuid]).await?;
    row.map(|mut row| {
        Ok(LockedBundle {
            state: row.state()?,
            bundle_type: row.bundle_type()?,
            owner_id: row.opt_user_id()?,
        })
    })
    .transpose()
}

/// Sets (none: removes) `data_size` and moves the owner's `disk_used` by the difference. The bundle must be locked.
pub(crate) async fn set_size(tx: &mut Tx, uuid: Uuid, bytes: Option<i64>) -> Result<()> {
    let old = metadata::number(tx, uuid, "data_size").await? as i64;
    let new = bytes.unwrap_or(0);
    let value = bytes.map_or(serde_json::Value::Null, serde_json::Value::from);
    metadata::set(tx, uuid, "data_size", value).await?;
    if new == old {
        return Ok(());
    }
    let sql = "UPDATE `user` SET `disk_used` = `disk_used` + ? WHERE `user_id` = (SELECT `owner_id` FROM `bundle` WHERE `uuid` = ?)";
    tx.run(sql, params![new - old, uuid]).await.map(drop)
}

/// Quotas and usage of an active or inactive user; zeros if there is none.
pub(crate) async fn quota(tx: &mut Tx, user_id: &str) -> Result<Quota> {
    let sql = "SELECT `time_quota`, `time_used`, `disk_quota`, `disk_used`, `parallel_run_quota` FROM `user` WHERE `user_id` = ?";
    let Some(mut row) = tx.first(sql, params![user_id]).await? else {
        return Ok(Quota::default());
    };
    Ok(Quota {
        time_quota: row.real()?,
        time_used: row.real()?,
        disk_quota: row.real()?,
        disk_used: row.real()?,
        parallel_run_quota: row.int()?,
    })
}
