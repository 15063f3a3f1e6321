//! Children, host worksheets, and runs that did the same before (data-model section 17).

use std::collections::HashMap;

use domain::{Result, Uuid};

use super::HostWorksheet;
use crate::Model;

impl Model {
    /// Bundles that depend on each of these directly, each once, oldest first.
    pub async fn children(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<Uuid>>> {
        todo!()
    }

    /// The given bundles in order, then everything that depends on them, level by level down to `depth` levels
    /// (none: all).
    pub async fn self_and_descendants(&self, _uuids: &[Uuid], _depth: Option<u32>) -> Result<Vec<Uuid>> {
        todo!()
    }

    /// Every worksheet that shows a bundle and that the viewer may read, by row id.
    pub async fn host_worksheets(
        &self,
        _viewer: Option<&str>,
        _uuids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<HostWorksheet>>> {
        todo!()
    }

    /// Uuids of the bundles of this owner with exactly this command and exactly these dependencies
    /// (`child_path`, parent), oldest first.
    pub async fn memoized(
        &self,
        _owner_id: &str,
        _command: &str,
        _dependencies: &[(String, Uuid)],
    ) -> Result<Vec<Uuid>> {
        todo!()
    }
}
