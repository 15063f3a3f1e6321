//! Creating bundles: rows, metadata, dependencies, permissions and worksheet items in one transaction (data-model 18.1).

use domain::{Result, Uuid};

use super::CreateBundles;
use crate::Model;

impl Model {
    /// Creates all bundles or none. Checks quota (400), the bundles (400), that uuids are unused (409), and, unless
    /// detached, *all* permission on the worksheet and that it is not frozen (403). Gives the uuids in order.
    pub async fn create_bundles(&self, _request: CreateBundles, _now: i64) -> Result<Vec<Uuid>> {
        todo!()
    }
}
