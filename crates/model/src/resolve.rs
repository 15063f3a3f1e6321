//! From what a user typed to a uuid (data-model sections 15.1 and 15.2). Ignores permissions; they are checked on use.

use domain::{Result, Uuid};

use crate::Model;

impl Model {
    /// Resolves a bundle spec relative to a worksheet.
    pub async fn resolve_bundle(&self, _viewer: Option<&str>, _base: Option<Uuid>, _spec: &str) -> Result<Uuid> {
        todo!()
    }

    /// Resolves several, in order, duplicates kept; the first failure is the result.
    pub async fn resolve_bundles(
        &self,
        _viewer: Option<&str>,
        _base: Option<Uuid>,
        _specs: &[String],
    ) -> Result<Vec<Uuid>> {
        todo!()
    }

    /// Resolves a worksheet spec. `''` and `/` are the viewer's home worksheet. Never creates one: see
    /// [`Model::resolve_or_create_worksheet`].
    pub async fn resolve_worksheet(&self, _viewer: Option<&str>, _base: Option<Uuid>, _spec: &str) -> Result<Uuid> {
        todo!()
    }

    /// The same, but the viewer's home worksheet and `dashboard` are made when missing.
    pub async fn resolve_or_create_worksheet(
        &self,
        _viewer: Option<&str>,
        _base: Option<Uuid>,
        _spec: &str,
        _now: i64,
    ) -> Result<Uuid> {
        todo!()
    }
}
