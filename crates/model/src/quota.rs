//! Disk and time accounting (data-model section 10). Invariant: after each operation `disk_used` of a user is the sum
//! of `data_size` over the bundles the user owns.

use domain::{Result, Uuid};

use crate::Model;

impl Model {
    /// Sets a bundle's `data_size` and changes its owner's `disk_used` by the difference.
    pub async fn set_data_size(&self, _uuid: Uuid, _bytes: i64) -> Result<()> {
        todo!()
    }

    /// Adds to both (the clients' sparse increments during uploads). 400 unless positive. Gives the new `disk_used`.
    pub async fn increment_disk_used(&self, _uuid: Uuid, _bytes: i64) -> Result<i64> {
        todo!()
    }

    /// Quota minus runs of this user on other people's workers.
    pub async fn parallel_runs_left(&self, _user_id: &str) -> Result<i64> {
        todo!()
    }

    /// Compares every user's `disk_used` with the sum over his bundles and repairs it. Gives (user, was, is) of the
    /// repaired ones.
    pub async fn repair_disk_used(&self) -> Result<Vec<(String, i64, i64)>> {
        todo!()
    }
}
