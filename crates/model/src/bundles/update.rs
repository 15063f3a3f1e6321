//! Changing bundles (data-model sections 4.5, 18.2 to 18.4 and 18.6).

use domain::{Metadata, Result, Uuid};

use super::BundleUpdate;
use crate::Model;

impl Model {
    /// Applies changes of a user to several bundles, all or nothing, matched by uuid. Checks *all* permission, the
    /// freeze rules, metadata, and that generated or locked fields are not changed; moves disk usage with the owner.
    pub async fn update_bundles(&self, _viewer: &str, _updates: Vec<BundleUpdate>, _now: i64) -> Result<()> {
        todo!()
    }

    /// Writes metadata on behalf of the system, without permission or freeze checks. A null deletes the key.
    /// `data_size` must not be among the keys; see [`Model::set_data_size`].
    pub async fn set_metadata(&self, _uuid: Uuid, _changes: &Metadata) -> Result<()> {
        todo!()
    }

    /// Sets `staged_status` if the bundle is still staged and the text differs; gives whether it was written.
    pub async fn set_staged_status(&self, _uuid: Uuid, _text: &str) -> Result<bool> {
        todo!()
    }

    /// Appends one entry to the list field `actions`.
    pub async fn append_action(&self, _uuid: Uuid, _action: &str) -> Result<()> {
        todo!()
    }
}
