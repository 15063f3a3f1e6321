//! Reading bundles: a fixed number of statements per 500 bundles.

use std::collections::HashMap;

use domain::{BundleState, BundleType, Result, UserId, Uuid};

use super::BundleRecord;
use crate::Model;

impl Model {
    /// One bundle. 404 `Bundle <uuid> not found`.
    pub async fn bundle(&self, _uuid: Uuid) -> Result<BundleRecord> {
        todo!()
    }

    /// The bundles that exist, in the order asked for, duplicates kept.
    pub async fn bundles(&self, _uuids: &[Uuid]) -> Result<Vec<BundleRecord>> {
        todo!()
    }

    /// The same by uuid; missing ones are absent.
    pub async fn bundles_by_uuid(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleRecord>> {
        todo!()
    }

    /// State of each bundle; missing ones are absent.
    pub async fn bundle_states(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleState>> {
        todo!()
    }

    /// Name of each bundle; missing ones are absent.
    pub async fn bundle_names(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
        todo!()
    }

    /// Owner of each bundle; missing bundles are absent.
    pub async fn bundle_owners(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, Option<UserId>>> {
        todo!()
    }

    /// Uuids of all bundles in one of these states (and of this type), in order of creation.
    pub async fn bundles_in_states(
        &self,
        _states: &[BundleState],
        _bundle_type: Option<BundleType>,
    ) -> Result<Vec<Uuid>> {
        todo!()
    }
}
