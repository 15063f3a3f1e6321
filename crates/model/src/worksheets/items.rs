//! Items of worksheets: order, insertion, replacement (data-model sections 14.3 and 14.4).

use domain::worksheet::Item;
use domain::{Result, Uuid};

use crate::Model;

impl Model {
    /// Appends items, as `viewer` with *all* permission on an unfrozen worksheet; gives their row ids.
    pub async fn append_items(&self, _viewer: &str, _worksheet: Uuid, _items: &[Item], _now: i64) -> Result<Vec<i64>> {
        todo!()
    }

    /// Deletes the items with the given row ids (400 if one is not of this worksheet), then inserts after the sort
    /// key (-1: at the top) or appends. Gives the row ids of the new items.
    pub async fn edit_items(
        &self,
        _viewer: &str,
        _worksheet: Uuid,
        _remove_ids: &[i64],
        _items: &[Item],
        _after_sort_key: Option<i64>,
        _now: i64,
    ) -> Result<Vec<i64>> {
        todo!()
    }

    /// Replaces everything the caller has read: `length` items whose largest row id is `last_item_id`. 400 if the
    /// worksheet changed meanwhile; items appended later stay, after the new ones.
    pub async fn replace_items(
        &self,
        _viewer: &str,
        _worksheet: Uuid,
        _last_item_id: i64,
        _length: usize,
        _items: &[Item],
        _now: i64,
    ) -> Result<()> {
        todo!()
    }
}
