//! What is published where, uploads in progress, and bytes to delete (storage section 10.2).

use std::collections::HashMap;

use domain::{Result, Uuid};

use crate::Model;

/// Published contents of a bundle in one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleContents {
    pub bundle_uuid: Uuid,
    /// Store uuid, or empty for the built-in disk store.
    pub store_key: String,
    /// Partition name, or object prefix.
    pub placement: String,
    /// Id of the session that made it.
    pub generation: String,
    /// Directory or single file.
    pub is_dir: bool,
    /// `uncompressed` or `compressed_v1`.
    pub format: String,
    /// What `data_size` shows.
    pub stored_bytes: i64,
    pub logical_bytes: i64,
    pub entries: i64,
    pub digest: Option<String>,
    pub manifest_digest: Option<String>,
    pub created: i64,
    pub verified: Option<i64>,
}

/// An upload in progress. `state` is one of `open finishing publishing done failed aborted expired`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSession {
    /// `u_` + 32 hex digits.
    pub id: String,
    pub bundle_uuid: Uuid,
    pub user_id: String,
    pub client_key: String,
    /// JSON of the query parameters.
    pub params: String,
    pub store_key: String,
    pub placement: String,
    pub state: String,
    /// Durable bytes.
    pub committed: i64,
    pub size: Option<i64>,
    pub digest: Option<String>,
    /// Bytes already counted in `data_size` and `disk_used` for it.
    pub charged: i64,
    pub remote_id: Option<String>,
    pub parts: Option<String>,
    pub node: String,
    pub lease_until: i64,
    pub error: Option<String>,
    pub error_status: Option<i64>,
    pub created: i64,
    pub updated: i64,
    pub expires: i64,
}

/// A conditional change of an upload session.
#[derive(Clone, Debug, Default)]
pub struct SessionUpdate {
    pub state: Option<String>,
    pub committed: Option<i64>,
    pub error: Option<String>,
    pub error_status: Option<i64>,
    pub node: Option<String>,
    pub lease_until: Option<i64>,
    pub remote_id: Option<String>,
    pub parts: Option<String>,
    pub expires: Option<i64>,
}

/// Bytes to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashEntry {
    pub id: i64,
    pub store_key: String,
    pub placement: String,
    pub path: String,
    pub created: i64,
    pub attempts: i64,
    pub last_error: Option<String>,
}

impl Model {
    /// Published contents of bundles; bundles without a row are absent.
    pub async fn contents(&self, _uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<BundleContents>>> {
        todo!()
    }

    /// Notes published contents, replacing the row of the same store. Accounting is done by the transition that ends
    /// the upload; this is for taken-over data.
    pub async fn set_contents(&self, _contents: &BundleContents) -> Result<()> {
        todo!()
    }

    /// Opens a session, or gives the open one with the same bundle and client key.
    pub async fn open_upload_session(&self, _session: &UploadSession) -> Result<UploadSession> {
        todo!()
    }

    /// One session.
    pub async fn upload_session(&self, _id: &str) -> Result<Option<UploadSession>> {
        todo!()
    }

    /// Sessions in one of these states.
    pub async fn upload_sessions_in(&self, _states: &[&str]) -> Result<Vec<UploadSession>> {
        todo!()
    }

    /// Changes a session if its state and committed bytes are still as expected; gives whether it did.
    pub async fn update_upload_session(
        &self,
        _id: &str,
        _expected_state: &str,
        _expected_committed: i64,
        _update: &SessionUpdate,
        _now: i64,
    ) -> Result<bool> {
        todo!()
    }

    /// Notes bytes to delete.
    pub async fn add_trash(&self, _store_key: &str, _placement: &str, _path: &str, _now: i64) -> Result<i64> {
        todo!()
    }

    /// Bytes to delete, oldest first.
    pub async fn trash(&self, _limit: u32) -> Result<Vec<TrashEntry>> {
        todo!()
    }

    /// The bytes are gone.
    pub async fn remove_trash(&self, _id: i64) -> Result<()> {
        todo!()
    }

    /// Deleting failed; it will be tried again.
    pub async fn fail_trash(&self, _id: i64, _error: &str) -> Result<()> {
        todo!()
    }
}
