//! Worksheet search (data-model section 16.3).

use domain::Result;

use super::WorksheetRow;
use crate::Model;

impl Model {
    /// Searches worksheets as `viewer`: own ones first, then the most recently changed.
    pub async fn search_worksheets(&self, _viewer: Option<&str>, _keywords: &[String]) -> Result<Vec<WorksheetRow>> {
        todo!()
    }
}
