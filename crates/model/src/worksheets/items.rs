//! Items of worksheets: order, insertion, replacement (data-model sections 14.3 and 14.4).
//!
//! Invariant: reading never writes. Keys are given when items are inserted, under the lock of the worksheet's row; rows
//! keep their ids for as long as their items stay. `placed` tells which item was put in its place last (`^N` specs).

use std::fmt::Write;

use domain::worksheet::{Item, ItemType, PlacedItem};
use domain::{Error, Permission, Result, UtcTime, Uuid};
use sha2::{Digest, Sha256};

use super::{Worksheet, frozen, lock};
use crate::Model;
use crate::db::{Tx, params};
use crate::dialect::{CHUNK, list};
use crate::permissions::ObjectKind;

/// The key of an item; a 1.7 server that shares the database may have left it NULL.
const KEY: &str = "COALESCE(`sort_key`, `id`)";

/// When an item of the table alias `i` was put in its place, for `ORDER BY`.
pub(crate) const PLACED: &str = "COALESCE(i.`placed`, i.`id`)";

/// Longest value of one item, in bytes, on either database: what its statement may carry on any of them.
pub const MOST_ITEM_BYTES: usize = 1 << 20;

/// Most items that one request may put on a worksheet.
pub const MOST_ITEMS: usize = 200_000;

/// Bytes of values in one INSERT, roughly.
const STATEMENT_BYTES: usize = 1 << 20;

/// What a caller who replaces everything knows of the worksheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// It had so many items, and this largest row id (-1 without items). What was appended later stays.
    Read { last_item_id: i64, length: usize },
    /// Exactly the items of this [`source_version`].
    Version(&'a str),
}

/// How a replacement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Done; this is the version now.
    Done { version: String },
    /// Nothing was written: the worksheet is not what [`Base::Version`] says.
    Conflict,
}

/// A word for the items and their order: another word when any of them changes, the same for the same items, also after
/// they were stored again. Row ids and sort keys do not count, nor do the names of what is referred to.
pub fn source_version<'a>(items: impl IntoIterator<Item = &'a Item>) -> String {
    let mut hasher = Sha256::new();
    for item in items {
        hasher.update(item.item_type.as_str());
        for text in [
            item.value.as_str(),
            item.bundle_uuid.as_ref().map_or("", Uuid::as_str),
            item.subworksheet_uuid.as_ref().map_or("", Uuid::as_str),
        ] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
    }
    let mut version = String::with_capacity(32);
    for byte in &hasher.finalize()[..16] {
        // Writing to a text does not fail.
        let _ = write!(version, "{byte:02x}");
    }
    version
}

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
        check(items)?;
        let mut remove = remove_ids.to_vec();
        remove.sort_unstable();
        remove.dedup();
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.lock_for_editing(&mut tx, viewer, worksheet).await?;
                let last = last(&mut tx, worksheet).await?;
                let sql = "DELETE FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` IN {in}";
                let removed = tx.run_in(sql, &[worksheet.into()], &remove, &[]).await?;
                if removed != remove.len() as u64 {
                    return Err(Error::usage(format!(
                        "Some of the items to replace are not (or no longer) on worksheet {worksheet}; reload it."
                    )));
                }
                let ids = insert_in(&mut tx, worksheet, &last, items, after_sort_key).await?;
                touch(&mut tx, worksheet, now).await?;
                tx.commit().await?;
                Ok(ids)
            })
            .await
    }

    /// Replaces everything, as `viewer` with *all* permission on an unfrozen worksheet. When `base` is what was read, 400
    /// if any of those items is gone; items appended since then stay, after the new ones.
    pub async fn replace_items(
        &self,
        viewer: &str,
        worksheet: Uuid,
        base: Base<'_>,
        items: &[Item],
        now: i64,
    ) -> Result<Replaced> {
        check(items)?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let locked = self.lock_for_editing(&mut tx, viewer, worksheet).await?;
                let before = fetch(&mut tx, worksheet).await?;
                let last_item_id = match base {
                    Base::Version(version) if source_version(before.iter().map(|placed| &placed.item)) != version => {
                        return Ok(Replaced::Conflict);
                    }
                    Base::Version(_) => i64::MAX,
                    Base::Read { last_item_id, length } => {
                        if before.iter().filter(|placed| placed.id <= last_item_id).count() < length {
                            return Err(Error::usage(format!(
                                "Worksheet(uuid='{}', name='{}') was updated concurrently!",
                                locked.uuid, locked.name
                            )));
                        }
                        last_item_id
                    }
                };
                let version = replace(&mut tx, worksheet, before, last_item_id, items).await?;
                touch(&mut tx, worksheet, now).await?;
                tx.commit().await?;
                Ok(Replaced::Done { version })
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

/// 400 for more items, or a longer one, than a worksheet takes; the text names the line, counted from 1.
fn check(items: &[Item]) -> Result<()> {
    if items.len() > MOST_ITEMS {
        return Err(Error::usage(format!(
            "{} lines are too many; a worksheet takes {MOST_ITEMS} at a time.",
            items.len()
        )));
    }
    match items.iter().position(|item| item.value.len() > MOST_ITEM_BYTES) {
        Some(index) => Err(Error::usage(format!(
            "Error in source line {}: the line has {} bytes, at most {MOST_ITEM_BYTES} are allowed; split it.",
            index + 1,
            items[index].value.len()
        ))),
        None => Ok(()),
    }
}

pub(crate) async fn fetch(tx: &mut Tx, worksheet: Uuid) -> Result<Vec<PlacedItem>> {
    let sql = format!(
        "SELECT `id`, `sort_key`, `type`, `value`, `bundle_uuid`, `subworksheet_uuid` FROM `worksheet_item` \
         WHERE `worksheet_uuid` = ? ORDER BY {KEY}, `id`"
    );
    let mut stored = Vec::new();
    let mut items = Vec::new();
    for mut row in tx.all(sql, params![worksheet]).await? {
        stored.push((row.int()?, row.opt_int()?));
        items.push(Item {
            item_type: row.text()?.parse().unwrap_or(ItemType::Markup),
            value: row.text()?,
            bundle_uuid: row.opt_uuid()?,
            subworksheet_uuid: row.opt_uuid()?,
        });
    }
    let keys = effective_keys(&stored);
    let placed = stored.into_iter().zip(keys).zip(items);
    Ok(placed
        .map(|(((id, _), sort_key), item)| PlacedItem { id, sort_key, item })
        .collect())
}

/// The keys that readers get, for (id, stored key) in order: what is stored, unless a key is missing, negative or there
/// twice; then consecutive ones.
fn effective_keys(stored: &[(i64, Option<i64>)]) -> Vec<i64> {
    let mut least = 0;
    let sound: Option<Vec<i64>> = stored
        .iter()
        .map(|(_, key)| {
            let key = key.filter(|key| *key >= least)?;
            least = key.saturating_add(1);
            Some(key)
        })
        .collect();
    sound.unwrap_or_else(|| {
        let last_id = stored.iter().map(|(id, _)| *id).max().unwrap_or(-1);
        let first = first_key(last_id, stored.len());
        (first..).take(stored.len()).collect()
    })
}

/// The first of `count` consecutive keys on a worksheet whose largest row id is this. An item that a 1.7 server appends
/// meanwhile has no key and so stands for its id, after all of them.
fn first_key(last_id: i64, count: usize) -> i64 {
    last_id.saturating_sub(count as i64).max(0)
}

/// The largest numbers on a worksheet: what an insertion has to know of its order.
struct Last {
    /// Sort key, -1 without items.
    key: i64,
    /// Row id, 0 without items.
    id: i64,
    /// Of the item that was put in its place last, 0 without items.
    placed: i64,
}

/// The largest numbers, with keys as readers see them: stored first, where they are not. The worksheet must be locked.
async fn last(tx: &mut Tx, worksheet: Uuid) -> Result<Last> {
    let sql = "SELECT COUNT(*), COUNT(DISTINCT `sort_key`), MIN(`sort_key`), MAX(`sort_key`), MAX(`id`), \
        MAX(COALESCE(`placed`, `id`)) FROM `worksheet_item` WHERE `worksheet_uuid` = ?";
    let Some(mut row) = tx.first(sql, params![worksheet]).await? else {
        return Err(Error::internal("an aggregate without a row"));
    };
    let (count, distinct) = (row.int()?, row.int()?);
    let (first, most) = (row.opt_int()?, row.opt_int()?);
    let (last_id, last_placed) = (row.opt_int()?.unwrap_or(0), row.opt_int()?.unwrap_or(0));
    let mut last_key = most.unwrap_or(-1);
    if count != distinct || first.is_some_and(|first| first < 0) {
        let sql =
            format!("SELECT `id`, `sort_key` FROM `worksheet_item` WHERE `worksheet_uuid` = ? ORDER BY {KEY}, `id`");
        let mut stored = Vec::new();
        for mut row in tx.all(sql, params![worksheet]).await? {
            stored.push((row.int()?, row.opt_int()?));
        }
        let keys = effective_keys(&stored);
        last_key = keys.last().copied().unwrap_or(-1);
        let changed = stored.into_iter().zip(keys);
        let changed = changed
            .filter(|((_, old), key)| *old != Some(*key))
            .map(|((id, _), key)| (id, key));
        set_keys(tx, &changed.collect::<Vec<_>>()).await?;
    }
    Ok(Last {
        key: last_key,
        id: last_id,
        placed: last_placed,
    })
}

/// Inserts items after a key, or at the end; the keys are exactly those that follow. Gives the row ids in order.
pub(crate) async fn insert(tx: &mut Tx, worksheet: Uuid, items: &[Item], after: Option<i64>) -> Result<Vec<i64>> {
    lock(tx, worksheet).await?;
    let last = last(tx, worksheet).await?;
    insert_in(tx, worksheet, &last, items, after).await
}

/// Inserts an item for `new` directly after every item of `old`.
pub(crate) async fn insert_beside(tx: &mut Tx, worksheet: Uuid, old: Uuid, new: Uuid) -> Result<()> {
    lock(tx, worksheet).await?;
    last(tx, worksheet).await?;
    let sql = "SELECT `sort_key` FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `bundle_uuid` = ? \
        ORDER BY `sort_key` DESC";
    let rows = tx.all(sql, params![worksheet, old]).await?;
    // From the bottom up: an insertion moves only what is below it.
    for mut row in rows {
        let key = row.int()?;
        let last = last(tx, worksheet).await?;
        insert_in(tx, worksheet, &last, &[Item::bundle(new)], Some(key)).await?;
    }
    Ok(())
}

async fn insert_in(tx: &mut Tx, worksheet: Uuid, last: &Last, items: &[Item], after: Option<i64>) -> Result<Vec<i64>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let count = items.len() as i64;
    let Some(after) = after else {
        let place = (last.key + 1, last.placed + 1);
        return add_rows(tx, worksheet, items, place, last.id).await;
    };
    // No key may come so close to the end of the numbers that others cannot follow.
    let after = after.clamp(-1, i64::MAX / 4);
    let mut last_placed = last.placed;
    if last.key > after {
        let sql = "SELECT MIN(`sort_key`) FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `sort_key` > ?";
        let next = match tx.first(sql, params![worksheet, after]).await? {
            Some(mut row) => row.opt_int()?,
            None => None,
        };
        if next.is_some_and(|next| next - after <= count) {
            // What moves down is placed anew, in its order; MySQL assigns from left to right.
            let sql = "UPDATE `worksheet_item` SET `placed` = ? + `sort_key`, `sort_key` = `sort_key` + ? \
                WHERE `worksheet_uuid` = ? AND `sort_key` > ?";
            tx.run(sql, params![last_placed - after, count, worksheet, after])
                .await?;
            last_placed += last.key - after;
        }
    }
    add_rows(tx, worksheet, items, (after + 1, last_placed + 1), last.id).await
}

/// Replaces the items up to a row id by new ones; those that are left follow. Gives the version of the result.
async fn replace(
    tx: &mut Tx,
    worksheet: Uuid,
    before: Vec<PlacedItem>,
    last_item_id: i64,
    items: &[Item],
) -> Result<String> {
    let newest = before.iter().map(|placed| placed.id).max().unwrap_or(0);
    let replaced = before.iter().map(|placed| placed.id).filter(|id| *id <= last_item_id);
    let first = first_key(replaced.max().unwrap_or(-1), items.len());
    let last_placed = last(tx, worksheet).await?.placed;
    let sql = "DELETE FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` <= ?";
    tx.run(sql, params![worksheet, last_item_id]).await?;
    let left: Vec<PlacedItem> = before.into_iter().filter(|placed| placed.id > last_item_id).collect();
    let keys: Vec<(i64, i64)> = left
        .iter()
        .map(|placed| placed.id)
        .zip(first + items.len() as i64..)
        .collect();
    set_keys(tx, &keys).await?;
    add_rows(tx, worksheet, items, (first, last_placed + 1), newest).await?;
    Ok(source_version(
        items.iter().chain(left.iter().map(|placed| &placed.item)),
    ))
}

/// Inserts rows with consecutive keys and placements from `place` on; gives their ids, which follow `last_id`.
async fn add_rows(tx: &mut Tx, worksheet: Uuid, items: &[Item], place: (i64, i64), last_id: i64) -> Result<Vec<i64>> {
    let mut places = (place.0..).zip(place.1..);
    let mut rest = items;
    while !rest.is_empty() {
        let mut bytes = 0;
        let most = rest.iter().take(CHUNK).take_while(|item| {
            bytes += item.value.len();
            bytes <= STATEMENT_BYTES
        });
        let (now, later) = rest.split_at(most.count().max(1));
        rest = later;
        let rows = now.iter().zip(&mut places).map(|(item, (key, placed))| {
            params![
                worksheet,
                item.bundle_uuid,
                item.subworksheet_uuid,
                &item.value,
                item.item_type.as_str(),
                key,
                placed
            ]
        });
        let head = "INSERT INTO `worksheet_item` \
            (`worksheet_uuid`, `bundle_uuid`, `subworksheet_uuid`, `value`, `type`, `sort_key`, `placed`)";
        tx.insert_rows(head, Box::new(rows)).await?;
    }
    let sql = "SELECT `id` FROM `worksheet_item` WHERE `worksheet_uuid` = ? AND `id` > ? ORDER BY `sort_key`, `id`";
    let rows = tx.all(sql, params![worksheet, last_id]).await?;
    rows.into_iter().map(|mut row| row.int()).collect()
}

/// Gives items, by row id, these keys.
async fn set_keys(tx: &mut Tx, keys: &[(i64, i64)]) -> Result<()> {
    for chunk in keys.chunks(CHUNK) {
        let cases = "WHEN ? THEN ? ".repeat(chunk.len());
        let sql = format!(
            "UPDATE `worksheet_item` SET `sort_key` = CASE `id` {cases}END WHERE `id` IN {}",
            list(chunk.len())
        );
        let pairs = chunk.iter().flat_map(|(id, key)| [(*id).into(), (*key).into()]);
        let ids = chunk.iter().map(|(id, _)| (*id).into());
        tx.run(sql, pairs.chain(ids).collect()).await?;
    }
    Ok(())
}

/// The worksheet changed now.
pub(crate) async fn touch(tx: &mut Tx, worksheet: Uuid, now: i64) -> Result<()> {
    let sql = "UPDATE `worksheet` SET `date_last_modified` = ? WHERE `uuid` = ?";
    tx.run(sql, params![UtcTime::from_unix(now), worksheet]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_while_they_are_sound_and_consecutive_otherwise() {
        for (stored, keys) in [
            (vec![], vec![]),
            (vec![(9, Some(0)), (3, Some(5)), (4, Some(6))], vec![0, 5, 6]),
            (vec![(5, Some(-2)), (6, Some(-1)), (7, Some(0))], vec![4, 5, 6]),
            (vec![(1, Some(-2)), (2, Some(-1)), (3, Some(0))], vec![0, 1, 2]),
            (vec![(40, Some(3)), (41, Some(3))], vec![39, 40]),
            (vec![(40, Some(3)), (41, None)], vec![39, 40]),
            (vec![(40, None), (41, None), (50, None)], vec![47, 48, 49]),
        ] {
            assert_eq!(effective_keys(&stored), keys, "{stored:?}");
        }
    }

    #[test]
    fn versions_tell_items_apart_and_nothing_else() {
        let uuid = Uuid::from_random([1; 16]);
        let version = |items: &[Item]| source_version(items);
        let one = [Item::markup("a"), Item::bundle(uuid)];
        assert_eq!(version(&one), version(&one.clone()));
        let others = [
            vec![],
            vec![Item::markup("a")],
            vec![Item::markup("a"), Item::worksheet(uuid)],
            vec![Item::bundle(uuid), Item::markup("a")],
            vec![Item::directive("a"), Item::bundle(uuid)],
            vec![Item::markup("ab"), Item::bundle(uuid)],
            vec![Item::markup(""), Item::markup("a"), Item::bundle(uuid)],
        ];
        for other in &others {
            assert_ne!(version(&one), version(other), "{other:?}");
        }
        assert_eq!(version(&one).len(), 32);
    }
}
