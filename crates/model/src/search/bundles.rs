//! Bundle search (data-model section 16.2).

use domain::Result;

use super::Found;
use crate::Model;

impl Model {
    /// Searches bundles as `viewer`.
    pub async fn search_bundles(&self, _viewer: Option<&str>, _keywords: &[String]) -> Result<Found> {
        todo!()
    }
}
