//! Worksheets (data-model section 14): records, creation, metadata, deletion. Items are in `items`.

mod items;

use std::collections::HashMap;

use domain::worksheet::PlacedItem;
use domain::{Result, UserId, UtcTime, Uuid};

use crate::Model;

/// A worksheet without its items.
#[derive(Clone, Debug, PartialEq)]
pub struct Worksheet {
    pub id: i64,
    pub uuid: Uuid,
    pub name: String,
    pub owner_id: Option<UserId>,
    pub title: Option<String>,
    pub frozen: Option<UtcTime>,
    pub is_anonymous: bool,
    pub date_created: Option<UtcTime>,
    pub date_last_modified: Option<UtcTime>,
    pub tags: Vec<String>,
}

/// A worksheet to make.
#[derive(Clone, Debug, Default)]
pub struct NewWorksheet {
    /// Fresh if none.
    pub uuid: Option<Uuid>,
    pub name: String,
    pub title: Option<String>,
    pub tags: Vec<String>,
}

/// A change of a worksheet's metadata; `None` leaves things alone.
#[derive(Clone, Debug, Default)]
pub struct WorksheetUpdate {
    pub name: Option<String>,
    pub title: Option<Option<String>>,
    /// Replaces all tags.
    pub tags: Option<Vec<String>>,
    /// `Some(true)` freezes at the server's time, `Some(false)` unfreezes.
    pub frozen: Option<bool>,
    pub is_anonymous: Option<bool>,
    pub owner_id: Option<UserId>,
}

impl Model {
    /// Makes a worksheet that the public may read. 400 if the name is taken or another user's home; 403 if nobody is
    /// logged in. `dashboard` and `home` are filled from a template.
    pub async fn create_worksheet(&self, _viewer: Option<&str>, _new: NewWorksheet, _now: i64) -> Result<Worksheet> {
        todo!()
    }

    /// One worksheet. 404 `Could not find worksheet with uuid <uuid>`.
    pub async fn worksheet(&self, _uuid: Uuid) -> Result<Worksheet> {
        todo!()
    }

    /// Worksheets by uuid; missing ones are absent.
    pub async fn worksheets(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, Worksheet>> {
        todo!()
    }

    /// The items in display order, sort keys strictly increasing.
    pub async fn worksheet_items(&self, _uuid: Uuid) -> Result<Vec<PlacedItem>> {
        todo!()
    }

    /// Changes metadata; checks *all* permission and the freeze rules.
    pub async fn update_worksheet(
        &self,
        _viewer: &str,
        _uuid: Uuid,
        _update: WorksheetUpdate,
        _now: i64,
    ) -> Result<Worksheet> {
        todo!()
    }

    /// Deletes a worksheet; its bundles stay. Without `force` it must be neither frozen nor have items (400).
    pub async fn delete_worksheet(&self, _viewer: &str, _uuid: Uuid, _force: bool) -> Result<()> {
        todo!()
    }
}
