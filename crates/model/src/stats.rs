//! Counts for monitors and readiness pages (data-model section 19).

use domain::Result;

use crate::Model;

/// Size of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub bundles: i64,
    pub worksheets: i64,
    pub users: i64,
    pub groups: i64,
    pub workers: i64,
    /// Bundles by state name.
    pub bundles_by_state: Vec<(String, i64)>,
    /// Sum of all `data_size`.
    pub disk_used: i64,
    /// Messages that wait for a worker.
    pub pending_messages: i64,
}

impl Model {
    /// Counts everything.
    pub async fn stats(&self) -> Result<Stats> {
        todo!()
    }
}
