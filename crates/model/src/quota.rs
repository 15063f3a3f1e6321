//! The ledger: disk, time and parallel runs of every user (data-model section 10).
//!
//! Invariants, after every transaction: `disk_used` is the sum of `data_size` over the bundles the user owns; `time_used`
//! is the sum of the user's `time_charge` rows, one per bundle; parallel runs are counted in `worker_run` when somebody
//! asks. No other file writes the two counters. They change by differences, in single statements, in the transaction of
//! their cause, under the lock of the bundle's row; locks are taken in the order bundles (by uuid), users (by id), charges.

use std::collections::{BTreeMap, HashMap};

use domain::user::Quota;
use domain::{BundleState, BundleType, Error, Result, UserId, Uuid};

use crate::Model;
use crate::bundles::{metadata, not_found};
use crate::db::{Row, Tx, Value, params};

/// A counter that was wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRepair {
    pub user_id: String,
    /// `disk_used` (bytes) or `time_used` (seconds).
    pub counter: &'static str,
    pub was: f64,
    pub is: f64,
}

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

    /// Compares the counters of every user with the sums they stand for, repairs what differs and logs it. Nothing
    /// needs this as long as all changes go through this module; it is for databases that others wrote to. Looks at a
    /// snapshot first, so that nobody waits while everything is right.
    pub async fn reconcile_usage(&self) -> Result<Vec<UsageRepair>> {
        if differences(&mut self.db.read().await?, "").await?.is_empty() {
            return Ok(Vec::new());
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                // Locks the users: whoever changes a size or a charge has committed before this, or waits.
                let for_update = tx.engine().for_update();
                let repairs = differences(&mut tx, for_update).await?;
                for repair in &repairs {
                    let value = match repair.counter {
                        "disk_used" => Value::from(repair.is as i64),
                        _ => Value::from(repair.is),
                    };
                    let sql = format!("UPDATE `user` SET `{}` = ? WHERE `user_id` = ?", repair.counter);
                    tx.run(sql, vec![value, repair.user_id.as_str().into()]).await?;
                }
                tx.commit().await?;
                for repair in &repairs {
                    tracing::warn!(
                        user = %repair.user_id,
                        counter = repair.counter,
                        was = repair.was,
                        is = repair.is,
                        "a usage counter differed from the sum over the bundles and was repaired"
                    );
                }
                Ok(repairs)
            })
            .await
    }
}

/// Seconds by which the sum of many charges may differ from the counter: they were added in another order.
const ROUNDING: f64 = 0.001;

/// The counters that are wrong, by user.
async fn differences(tx: &mut Tx, for_update: &str) -> Result<Vec<UsageRepair>> {
    let sql = format!("SELECT `user_id`, `disk_used`, `time_used` FROM `user` ORDER BY `user_id`{for_update}");
    let users = tx.all(sql, params![]).await?;
    let size = tx.engine().integer("`m`.`metadata_value`");
    let sizes = format!(
        "SELECT `b`.`owner_id`, SUM({size}) FROM `bundle` `b` JOIN `bundle_metadata` `m` ON `m`.`bundle_uuid` = `b`.`uuid` \
         AND `m`.`metadata_key` = 'data_size' WHERE `b`.`owner_id` IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM `bundle_metadata` `x` WHERE `x`.`bundle_uuid` = `m`.`bundle_uuid` \
         AND `x`.`metadata_key` = 'data_size' AND `x`.`id` > `m`.`id`) GROUP BY `b`.`owner_id`"
    );
    let charges = "SELECT `user_id`, SUM(`seconds`) FROM `time_charge` GROUP BY `user_id`";
    let sizes = sums(tx, sizes).await?;
    let charges = sums(tx, charges.to_owned()).await?;
    let sum = |sums: &HashMap<String, f64>, user_id: &str| sums.get(user_id).copied().unwrap_or(0.0);
    let mut wrong = Vec::new();
    for mut row in users {
        let (user_id, disk, time) = (row.text()?, row.real()?, row.real()?);
        let (bytes, seconds) = (sum(&sizes, &user_id), sum(&charges, &user_id));
        for (counter, was, is, tolerance) in [
            ("disk_used", disk, bytes, 0.0),
            ("time_used", time, seconds, ROUNDING.max(seconds * 1e-9)),
        ] {
            if (was - is).abs() > tolerance {
                let user_id = user_id.clone();
                wrong.push(UsageRepair {
                    user_id,
                    counter,
                    was,
                    is,
                });
            }
        }
    }
    Ok(wrong)
}

async fn sums(tx: &mut Tx, sql: String) -> Result<HashMap<String, f64>> {
    let rows = tx.all(sql, params![]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.text()?, row.opt_real()?.unwrap_or(0.0))))
        .collect()
}

/// What a transition needs to know about the row it has locked.
#[derive(Clone, Debug)]
pub(crate) struct LockedBundle {
    pub(crate) state: BundleState,
    pub(crate) bundle_type: BundleType,
    pub(crate) owner_id: Option<UserId>,
}

const LOCKED: &str = "`uuid`, `state`, `bundle_type`, `owner_id`";

fn read_locked(mut row: Row) -> Result<(Uuid, LockedBundle)> {
    Ok((
        row.uuid()?,
        LockedBundle {
            state: row.state()?,
            bundle_type: row.bundle_type()?,
            owner_id: row.opt_user_id()?,
        },
    ))
}

/// Reads and locks a bundle's row, so that metadata and counters change in one order. None if it does not exist.
pub(crate) async fn lock_bundle(tx: &mut Tx, uuid: Uuid) -> Result<Option<LockedBundle>> {
    let sql = format!(
        "SELECT {LOCKED} FROM `bundle` WHERE `uuid` = ?{}",
        tx.engine().for_update()
    );
    let row = tx.first(sql, params![uuid]).await?;
    Ok(row.map(read_locked).transpose()?.map(|(_, bundle)| bundle))
}

/// The same for many, in the one order that cannot deadlock. 404 naming the first that does not exist.
pub(crate) async fn lock_bundles(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, LockedBundle>> {
    let mut ordered = uuids.to_vec();
    ordered.sort_unstable();
    ordered.dedup();
    let sql = format!(
        "SELECT {LOCKED} FROM `bundle` WHERE `uuid` IN {{in}} ORDER BY `uuid`{}",
        tx.engine().for_update()
    );
    let rows = tx.all_in(&sql, &[], &ordered, &[]).await?;
    let locked: HashMap<Uuid, LockedBundle> = rows.into_iter().map(read_locked).collect::<Result<_>>()?;
    match uuids.iter().find(|uuid| !locked.contains_key(*uuid)) {
        Some(missing) => Err(not_found(*missing)),
        None => Ok(locked),
    }
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

/// Gives the space of many locked bundles back to their owners and makes `data_size` 0.
pub(crate) async fn clear_sizes(tx: &mut Tx, bundles: &HashMap<Uuid, LockedBundle>) -> Result<()> {
    let uuids: Vec<Uuid> = bundles.keys().copied().collect();
    let mut freed = BTreeMap::new();
    for (uuid, bytes) in metadata::numbers(tx, &uuids, "data_size").await? {
        if let Some(owner) = bundles.get(&uuid).and_then(|bundle| bundle.owner_id.clone()) {
            *freed.entry(owner).or_insert(0) -= bytes as i64;
        }
    }
    metadata::set_all(tx, &uuids, "data_size", "0").await?;
    add_disk(tx, freed).await
}

/// Moves the sizes of locked bundles from their owners to a new one, and the bundles with them. 404 if the new owner is
/// gone.
pub(crate) async fn change_owner(tx: &mut Tx, bundles: &HashMap<Uuid, LockedBundle>, owner: &UserId) -> Result<()> {
    let uuids: Vec<Uuid> = bundles.keys().copied().collect();
    let mut moved = BTreeMap::from([(owner.clone(), 0)]);
    for (uuid, bytes) in metadata::numbers(tx, &uuids, "data_size").await? {
        *moved.entry(owner.clone()).or_insert(0) += bytes as i64;
        if let Some(old) = bundles.get(&uuid).and_then(|bundle| bundle.owner_id.clone()) {
            *moved.entry(old).or_insert(0) -= bytes as i64;
        }
    }
    add_disk(tx, moved).await?;
    // The counter's row is locked now: an account that is there stays.
    let sql = "SELECT COUNT(*) FROM `user` WHERE `user_id` = ? AND `is_active` = 1";
    if tx.count(sql, params![owner]).await? == 0 {
        return Err(Error::not_found(format!("User {owner} not found")));
    }
    tx.run_in(
        "UPDATE `bundle` SET `owner_id` = ? WHERE `uuid` IN {in}",
        &[owner.into()],
        &uuids,
        &[],
    )
    .await
    .map(drop)
}

async fn add_disk(tx: &mut Tx, differences: BTreeMap<UserId, i64>) -> Result<()> {
    for (user_id, bytes) in differences {
        let sql = "UPDATE `user` SET `disk_used` = `disk_used` + ? WHERE `user_id` = ?";
        tx.run(sql, params![bytes, &user_id]).await?;
    }
    Ok(())
}

/// Charges container seconds of a locked bundle to a user.
pub(crate) async fn charge_time(tx: &mut Tx, uuid: Uuid, user_id: &UserId, seconds: f64) -> Result<()> {
    let sql = "UPDATE `user` SET `time_used` = `time_used` + ? WHERE `user_id` = ?";
    tx.run(sql, params![seconds, user_id]).await?;
    add_charge(tx, user_id, uuid.as_str(), seconds).await
}

async fn add_charge(tx: &mut Tx, user_id: &UserId, bundle: &str, seconds: f64) -> Result<()> {
    let add = tx
        .engine()
        .on_conflict_add("`user_id`, `bundle_uuid`", "time_charge", "seconds");
    let sql = format!("INSERT INTO `time_charge` (`user_id`, `bundle_uuid`, `seconds`) VALUES (?, ?, ?){add}");
    tx.run(sql, params![user_id, bundle, seconds]).await.map(drop)
}

/// The time charged for bundles that are being deleted stays charged, without naming them.
pub(crate) async fn settle_time(tx: &mut Tx, uuids: &[Uuid]) -> Result<()> {
    let sql = "SELECT `user_id`, `seconds` FROM `time_charge` WHERE `bundle_uuid` IN {in}";
    let mut charged: BTreeMap<UserId, f64> = BTreeMap::new();
    for mut row in tx.all_in(sql, &[], uuids, &[]).await? {
        let (user_id, seconds) = (row.user_id()?, row.real()?);
        *charged.entry(user_id).or_default() += seconds;
    }
    for (user_id, seconds) in charged {
        add_charge(tx, &user_id, "", seconds).await?;
    }
    tx.run_in("DELETE FROM `time_charge` WHERE `bundle_uuid` IN {in}", &[], uuids, &[])
        .await
        .map(drop)
}

/// Locks an account's row: what is made for it now, it owns when it is deleted, or it is gone already (404).
pub(crate) async fn lock_account(tx: &mut Tx, user_id: &UserId) -> Result<()> {
    let sql = format!("SELECT 1 FROM `user` WHERE `user_id` = ?{}", tx.engine().for_update());
    match tx.first(sql, params![user_id]).await? {
        Some(_) => Ok(()),
        None => Err(Error::not_found(format!("User {user_id} not found"))),
    }
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
