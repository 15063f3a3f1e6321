//! User search (data-model section 16.4).

use domain::Result;

use super::UserSearch;
use crate::Model;

impl Model {
    /// Searches active accounts as `viewer`. 403 when somebody other than root uses a reserved keyword.
    pub async fn search_users(&self, _viewer: &str, _keywords: &[String]) -> Result<UserSearch> {
        todo!()
    }
}
