//! Items of worksheets: order, insertion, replacement (data-model sections 14.3 and 14.4).
//!
//! Sort keys are assigned when an item is written, so reading never writes. Inserting n items after key k gives them
//! exactly k+1 … k+n; the items behind them move only if they are in the way.

use domain::worksheet::{Item, ItemType, PlacedItem};
use domain::{Error, Permission, Result, UtcTime, Uuid};

use super::{Worksheet, load, lock_worksheet};
use crate::db::{Row, Tx, Value, params};
use crate::{Model, ObjectKind};

/// Rows of one INSERT, and ids of one IN list.
const CHUNK: usize = 500;

impl Model {
    /// The items in display order, sort keys strictly increasing.
    pub async fn worksheet_items(&self, uuid: Uuid) -> Result<Vec<PlacedItem>> {
        let mut tx = self.db.read().await?;
        placed_items(&mut tx, uuid).await
    }

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
        self.check_permission(ObjectKind::Worksheet, Some(viewer), &[worksheet], Permission::All)
            .await?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_unfrozen(&mut tx, worksheet).await?;
                remove_items(&mut tx, worksheet, remove_ids).await?;
                let ids = insert_items(&mut tx, worksheet, items, after_sort_key).await?;
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
        self.check_permission(ObjectKind::Worksheet, Some(viewer), &[worksheet], Permission::All)
            .await?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let record = lock_unfrozen(&mut tx, worksheet).await?;
                let deleted = tx
                    .run(
                        "DELETE FROM worksheet_item WHERE worksheet_uuid = ? AND id <= ?",
                        params![worksheet, last_item_id],
                    )
                    .await?;
                if deleted < length as u64 {
                    return Err(updated_concurrently(&record));
                }
                insert_items(&mut tx, worksheet, items, Some(-1)).await?;
                touch(&mut tx, worksheet, now).await?;
                tx.commit().await
            })
            .await
    }
}

fn updated_concurrently(worksheet: &Worksheet) -> Error {
    Error::usage(format!(
        "Worksheet(uuid='{}', name='{}') was updated concurrently!",
        worksheet.uuid, worksheet.name
    ))
}

/// The worksheet, locked against concurrent changes of its items; 403 if it is frozen.
pub(crate) async fn lock_unfrozen(tx: &mut Tx, worksheet: Uuid) -> Result<Worksheet> {
    lock_worksheet(tx, worksheet).await?;
    let record = load(tx, worksheet).await?;
    record.check_unfrozen()?;
    Ok(record)
}

/// Writes the time of the last change.
pub(crate) async fn touch(tx: &mut Tx, worksheet: Uuid, now: i64) -> Result<()> {
    let sql = "UPDATE worksheet SET date_last_modified = ? WHERE uuid = ?";
    tx.run(sql, params![UtcTime::from_unix(now), worksheet]).await.map(drop)
}

/// The items of a worksheet in display order. Keys that an old server left NULL count as the row id; keys are made
/// strictly increasing in the answer.
pub(crate) async fn placed_items(tx: &mut Tx, worksheet: Uuid) -> Result<Vec<PlacedItem>> {
    let rows = tx
        .all(
            "SELECT id, COALESCE(sort_key, id), type, value, bundle_uuid, subworksheet_uuid FROM worksheet_item \
             WHERE worksheet_uuid = ? ORDER BY COALESCE(sort_key, id), id",
            params![worksheet],
        )
        .await?;
    let mut last = -1;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let mut item = placed_item(row)?;
        item.sort_key = item.sort_key.max(last + 1);
        last = item.sort_key;
        items.push(item);
    }
    Ok(items)
}

fn placed_item(mut row: Row) -> Result<PlacedItem> {
    Ok(PlacedItem {
        id: row.int()?,
        sort_key: row.int()?,
        item: Item {
            // A type no version knows is shown as text.
            item_type: row.text()?.parse().unwrap_or(ItemType::Markup),
            value: row.text()?,
            bundle_uuid: row.opt_uuid()?,
            subworksheet_uuid: row.opt_uuid()?,
        },
    })
}

async fn remove_items(tx: &mut Tx, worksheet: Uuid, ids: &[i64]) -> Result<()> {
    for chunk in ids.chunks(CHUNK) {
        let mut unique = chunk.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let mut values = params![worksheet];
        values.extend(unique.iter().map(|id| Value::Int(*id)));
        let marks = placeholders(unique.len());
        let sql = format!("DELETE FROM worksheet_item WHERE worksheet_uuid = ? AND id IN ({marks})");
        if tx.run(sql, values).await? < unique.len() as u64 {
            return Err(Error::usage(format!(
                "Some of the items {unique:?} are not on worksheet {worksheet} (any more); reload it and try again."
            )));
        }
    }
    Ok(())
}

/// Inserts items after a sort key (-1: at the top), or at the end. The caller has locked the worksheet.
pub(crate) async fn insert_items(
    tx: &mut Tx,
    worksheet: Uuid,
    items: &[Item],
    after_sort_key: Option<i64>,
) -> Result<Vec<i64>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    repair_keys(tx, worksheet).await?;
    let first = match after_sort_key {
        Some(key) => make_room(tx, worksheet, key.max(-1), items.len() as i64).await?,
        None => {
            let sql = "SELECT COALESCE(MAX(sort_key), -1) + 1 FROM worksheet_item WHERE worksheet_uuid = ?";
            tx.count(sql, params![worksheet]).await?
        }
    };
    let mut ids = Vec::with_capacity(items.len());
    for (offset, item) in (first..).zip(items) {
        let id = tx
            .insert(
                "INSERT INTO worksheet_item (worksheet_uuid, bundle_uuid, subworksheet_uuid, value, type, sort_key) \
                 VALUES (?, ?, ?, ?, ?, ?)",
                params![
                    worksheet,
                    item.bundle_uuid,
                    item.subworksheet_uuid,
                    item.value.as_str(),
                    item.item_type.as_str(),
                    offset
                ],
            )
            .await?;
        ids.push(id);
    }
    Ok(ids)
}

/// Frees the keys `after + 1 … after + count` and gives the first of them.
async fn make_room(tx: &mut Tx, worksheet: Uuid, after: i64, count: i64) -> Result<i64> {
    let sql = "SELECT MIN(sort_key) FROM worksheet_item WHERE worksheet_uuid = ? AND sort_key > ?";
    let next = match tx.first(sql, params![worksheet, after]).await? {
        Some(mut row) => row.opt_int()?,
        None => None,
    };
    if next.is_some_and(|next| next - after <= count) {
        let sql = "UPDATE worksheet_item SET sort_key = sort_key + ? WHERE worksheet_uuid = ? AND sort_key > ?";
        tx.run(sql, params![count, worksheet, after]).await?;
    }
    Ok(after + 1)
}

/// A 1.7 server may have left NULL or equal keys; readers saw the keys of [`placed_items`], so those become the keys.
async fn repair_keys(tx: &mut Tx, worksheet: Uuid) -> Result<()> {
    let broken = tx
        .count(
            "SELECT COUNT(*) - COUNT(DISTINCT sort_key) FROM worksheet_item WHERE worksheet_uuid = ?",
            params![worksheet],
        )
        .await?;
    if broken == 0 {
        return Ok(());
    }
    for item in placed_items(tx, worksheet).await? {
        let sql = "UPDATE worksheet_item SET sort_key = ? WHERE id = ?";
        tx.run(sql, params![item.sort_key, item.id]).await?;
    }
    Ok(())
}

/// `?, ?, …` for `count` values.
pub(super) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
