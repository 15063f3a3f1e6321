//! Items of worksheets: order, insertion, replacement (data-model sections 14.3 and 14.4).
//!
//! Invariant: reading never writes. Keys are given when items are inserted, under the lock of the worksheet's row. Row
//! ids tell which item was placed last (`^N` specs), so items that move down are inserted again.

use domain::worksheet::{Item, ItemType, PlacedItem};
use domain::{Error, Permission, Result, UtcTime, Uuid};

use super::{Worksheet, frozen, lock};
use crate::Model;
use crate::db::{Tx, params};
use crate::permissions::ObjectKind;

/// The effective key; a 1.7 server that shares the database may have left it NULL.
const KEY: &str = "COALESCE(`sort_key`, `id`)";

impl Model {
    /// Appends items, as `viewer` with *all* permission on an unfrozen worksheet; gives their row ids.
    pub async fn append_items(&self, viewer: &str, worksheet: Uuid, items: &[Item], now: i64) -> Result<Vec<i64>> {
        self.edit_items(viewer, worksheet, &[], items, None, now).await
    }

    /// Deletes the items with the given row ids (400 if one is not of this worksheet), then inserts after the sort
    /// key (-1: at the top) or appends. Gives the row ids of the new items.
    pub async fn edit_items(
        &self,
        viewer: &str,
        worksheet: Uuid,
        remove_ids: &[i64],
        items: &[Item],
        after_sort_key: Option<i64>,
        now: i64,
    ) -> Result<Vec<i64>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.lock_for_editing(&mut tx, viewer, worksheet).await?;
                let mut remove = remove_ids.to_vec();
                remove.sort_unstable();
                remove.dedup();
                let sql = "DELETE FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` IN {in}";
                let removed = tx.run_in(sql, &[worksheet.into()], &remove, &[]).await?;
                if removed != remove.len() as u64 {
                    return Err(Error::usage(format!(
                        "Some of the items to replace are not (or no longer) on worksheet {worksheet}; reload it."
                    )));
                }
                let ids = insert(&mut tx, worksheet, items, after_sort_key).await?;
                touch(&mut tx, worksheet, now).await?;
                tx.commit().await?;
                Ok(ids)
            })
            .await
    }

    /// Replaces everything the caller has read: `length` items whose largest row id is `last_item_id`. 400 if the
    /// worksheet changed meanwhile; items appended later stay, after the new ones.
    pub async fn replace_items(
        &self,
        viewer: &str,
        worksheet: Uuid,
        last_item_id: i64,
        length: usize,
        items: &[Item],
        now: i64,
    ) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let locked = self.lock_for_editing(&mut tx, viewer, worksheet).await?;
                let sql = "DELETE FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` <= ?";
                let removed = tx.run(sql, params![worksheet, last_item_id]).await?;
                if removed < length as u64 {
                    return Err(Error::usage(format!(
                        "Worksheet(uuid='{}', name='{}') was updated concurrently!",
                        locked.uuid, locked.name
                    )));
                }
                move_to(&mut tx, worksheet, items.len() as i64).await?;
                insert(&mut tx, worksheet, items, Some(-1)).await?;
                touch(&mut tx, worksheet, now).await?;
                tx.commit().await
            })
            .await
    }

    async fn lock_for_editing(&self, tx: &mut Tx, viewer: &str, uuid: Uuid) -> Result<Worksheet> {
        self.check_permission_in(tx, ObjectKind::Worksheet, Some(viewer), &[uuid], Permission::All)
            .await?;
        let worksheet = lock(tx, uuid).await?;
        if worksheet.frozen.is_some() {
            Err(frozen(&worksheet))
        } else {
            Ok(worksheet)
        }
    }
}

pub(crate) async fn fetch(tx: &mut Tx, worksheet: Uuid) -> Result<Vec<PlacedItem>> {
    let sql = format!(
        "SELECT `id`, {KEY}, `type`, `value`, `bundle_uuid`, `subworksheet_uuid` FROM `worksheet_item` \
         WHERE `worksheet_uuid` = ? ORDER BY {KEY}, `id`"
    );
    let mut items: Vec<PlacedItem> = Vec::new();
    for mut row in tx.all(sql, params![worksheet]).await? {
        let (id, key) = (row.int()?, row.int()?);
        let item_type = row.text()?.parse().unwrap_or(ItemType::Markup);
        let item = Item {
            item_type,
            value: row.text()?,
            bundle_uuid: row.opt_uuid()?,
            subworksheet_uuid: row.opt_uuid()?,
        };
        let sort_key = items.last().map_or(key, |last| key.max(last.sort_key + 1));
        items.push(PlacedItem { id, sort_key, item });
    }
    Ok(items)
}

/// Inserts items after a key, or at the end; the keys are exactly those that follow. Gives the row ids in order.
pub(crate) async fn insert(tx: &mut Tx, worksheet: Uuid, items: &[Item], after: Option<i64>) -> Result<Vec<i64>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    lock(tx, worksheet).await?;
    let count = items.len() as i64;
    let first = if let Some(after) = after {
        let after = after.max(-1);
        let sql = format!("SELECT MIN({KEY}) FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND {KEY} > ?");
        let next = tx
            .first(sql, params![worksheet, after])
            .await?
            .map(|mut row| row.opt_int())
            .transpose()?
            .flatten();
        if next.is_some_and(|next| next - after <= count) {
            shift(tx, worksheet, after, count).await?;
        }
        after + 1
    } else {
        let sql = format!("SELECT MAX({KEY}) + 1 FROM `worksheet_item` WHERE `worksheet_uuid` = ?");
        tx.count(sql, params![worksheet]).await?
    };
    let last_id = last_id(tx, worksheet).await?;
    let rows = items.iter().zip(first..).map(|(item, key)| {
        params![
            worksheet,
            item.bundle_uuid,
            item.subworksheet_uuid,
            &item.value,
            item.item_type.as_str(),
            key
        ]
    });
    tx.insert_rows(
        "INSERT INTO `worksheet_item` (`worksheet_uuid`, `bundle_uuid`, `subworksheet_uuid`, `value`, `type`, `sort_key`)",
        Box::new(rows),
    )
    .await?;
    let sql = "SELECT `id` FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` > ? ORDER BY `id`";
    let rows = tx.all(sql, params![worksheet, last_id]).await?;
    rows.into_iter().map(|mut row| row.int()).collect()
}

/// Moves everything after a key down, by inserting it again: the rows are then newer than what stays above.
async fn shift(tx: &mut Tx, worksheet: Uuid, after: i64, by: i64) -> Result<()> {
    let last_id = last_id(tx, worksheet).await?;
    let sql = format!(
        "INSERT INTO `worksheet_item` (`worksheet_uuid`, `bundle_uuid`, `subworksheet_uuid`, `value`, `type`, `sort_key`) \
         SELECT `worksheet_uuid`, `bundle_uuid`, `subworksheet_uuid`, `value`, `type`, {KEY} + ? FROM `worksheet_item` \
         WHERE `worksheet_uuid` = ? AND {KEY} > ? ORDER BY {KEY}, `id`"
    );
    tx.run(sql, params![by, worksheet, after]).await?;
    let sql = format!("DELETE FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND {KEY} > ? AND `id` <= ?");
    tx.run(sql, params![worksheet, after, last_id]).await.map(drop)
}

/// Gives the remaining items the keys from `first` on, in their order.
async fn move_to(tx: &mut Tx, worksheet: Uuid, first: i64) -> Result<()> {
    for (item, key) in fetch(tx, worksheet).await?.into_iter().zip(first..) {
        if item.sort_key != key {
            tx.run(
                "UPDATE `worksheet_item` SET `sort_key` = ? WHERE `id` = ?",
                params![key, item.id],
            )
            .await?;
        }
    }
    Ok(())
}

async fn last_id(tx: &mut Tx, worksheet: Uuid) -> Result<i64> {
    tx.count(
        "SELECT MAX(`id`) FROM `worksheet_item` WHERE `worksheet_uuid` = ?",
        params![worksheet],
    )
    .await
}

/// The worksheet changed now.
pub(crate) async fn touch(tx: &mut Tx, worksheet: Uuid, now: i64) -> Result<()> {
    let sql = "UPDATE `worksheet` SET `date_last_modified` = ? WHERE `uuid` = ?";
    tx.run(sql, params![UtcTime::from_unix(now), worksheet]).await.map(drop)
}
