//! Deleting bundles (data-model section 18.5).

use domain::Result;

use super::{DeleteBundles, DeletedBundle};
use crate::Model;

impl Model {
    /// Checks and deletes, in one transaction; gives the targets, given ones first. The contents must then be removed
    /// by the caller. With `dry_run` nothing is changed.
    pub async fn delete_bundles(&self, _viewer: &str, _request: &DeleteBundles) -> Result<Vec<DeletedBundle>> {
        todo!()
    }
}
