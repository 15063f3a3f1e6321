//! Bundle stores and where bundles are (data-model section 12).

use std::collections::HashMap;

use domain::{Result, UserId, Uuid};

use crate::Model;

/// A place that holds contents of bundles. The secret is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleStore {
    pub id: i64,
    pub uuid: Uuid,
    pub owner_id: Option<UserId>,
    pub name: String,
    /// `disk`, `azure_blob` or `gcs`.
    pub storage_type: Option<String>,
    /// `uncompressed` or `compressed_v1`.
    pub storage_format: Option<String>,
    pub url: Option<String>,
    pub authentication_env: Option<String>,
}

/// A store to make.
#[derive(Clone, Debug, Default)]
pub struct NewStore {
    pub name: String,
    pub storage_type: String,
    /// The type's usual format if none.
    pub storage_format: Option<String>,
    pub url: Option<String>,
    pub authentication: Option<String>,
    pub authentication_env: Option<String>,
}

/// One place where a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleLocation {
    pub bundle_uuid: Uuid,
    pub store_uuid: Uuid,
    pub name: String,
    pub storage_type: Option<String>,
    pub storage_format: Option<String>,
    pub url: Option<String>,
}

impl Model {
    /// Makes a store. 403 unless the viewer is root; 400 if the name is taken or the type has no usual format.
    pub async fn create_store(&self, _viewer: &str, _store: NewStore) -> Result<BundleStore> {
        todo!()
    }

    /// Stores the viewer can see: root's and his own.
    pub async fn stores(&self, _viewer: &str) -> Result<Vec<BundleStore>> {
        todo!()
    }

    /// A visible store by uuid or name. 400 naming it if there is none.
    pub async fn find_store(&self, _viewer: &str, _uuid_or_name: &str) -> Result<BundleStore> {
        todo!()
    }

    /// Deletes one of the viewer's own stores. 404 if it is not, 400 if it still holds bundles.
    pub async fn delete_store(&self, _viewer: &str, _uuid: Uuid) -> Result<()> {
        todo!()
    }

    /// Notes that a bundle is in a store; again is no error.
    pub async fn add_location(&self, _bundle: Uuid, _store: Uuid) -> Result<()> {
        todo!()
    }

    /// Where bundles are; bundles without rows are absent.
    pub async fn locations(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<BundleLocation>>> {
        todo!()
    }
}
