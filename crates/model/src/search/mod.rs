//! The search language (data-model section 16): typed queries of [`domain::search`] to SQL, for bundles, worksheets and
//! users.

mod access;
mod bundles;
mod conditions;
mod sql;
mod totals;
mod users;
mod worksheets;

use domain::{UserId, UtcTime, Uuid};

use crate::{GroupPermission, User};

/// Result of a bundle search.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Matching bundles in order.
    Bundles(Vec<Uuid>),
    /// `.count` or `.sum`; null for the sum of nothing.
    Value(serde_json::Value),
}

/// Result of a user search.
#[derive(Clone, Debug, PartialEq)]
pub enum UserSearch {
    Users(Vec<User>),
    /// `.count`.
    Value(serde_json::Value),
}

/// One row of a worksheet search.
#[derive(Clone, Debug, PartialEq)]
pub struct WorksheetRow {
    pub id: i64,
    pub uuid: Uuid,
    pub name: String,
    pub title: Option<String>,
    pub frozen: Option<UtcTime>,
    pub is_anonymous: bool,
    pub owner_id: Option<UserId>,
    /// None when the account is gone.
    pub owner_name: Option<String>,
    pub date_created: Option<UtcTime>,
    pub date_last_modified: Option<UtcTime>,
    pub group_permissions: Vec<GroupPermission>,
}
