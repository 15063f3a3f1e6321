//! What is published where, uploads in progress, and bytes to delete (storage section 10.2).

use std::collections::HashMap;

use domain::{Error, Result, Uuid};

use crate::Model;
use crate::db::{Row, Tx, Value, params};

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

const CONTENTS: &str = "`bundle_uuid`, `store_key`, `placement`, `generation`, `kind`, `format`, `stored_bytes`, \
    `logical_bytes`, `entries`, `digest`, `manifest_digest`, `created`, `verified`";

fn read_contents(row: &mut Row) -> Result<BundleContents> {
    Ok(BundleContents {
        bundle_uuid: row.uuid()?,
        store_key: row.text()?,
        placement: row.text()?,
        generation: row.text()?,
        is_dir: row.text()? == "dir",
        format: row.text()?,
        stored_bytes: row.int()?,
        logical_bytes: row.int()?,
        entries: row.int()?,
        digest: row.opt_text()?,
        manifest_digest: row.opt_text()?,
        created: row.int()?,
        verified: row.opt_int()?,
    })
}

const SESSION: &str = "`id`, `bundle_uuid`, `user_id`, `client_key`, `params`, `store_key`, `placement`, `state`, \
    `committed`, `size`, `digest`, `charged`, `remote_id`, `parts`, `node`, `lease_until`, `error`, `error_status`, \
    `created`, `updated`, `expires`";

fn read_session(row: &mut Row) -> Result<UploadSession> {
    Ok(UploadSession {
        id: row.text()?,
        bundle_uuid: row.uuid()?,
        user_id: row.text()?,
        client_key: row.text()?,
        params: row.text()?,
        store_key: row.text()?,
        placement: row.text()?,
        state: row.text()?,
        committed: row.int()?,
        size: row.opt_int()?,
        digest: row.opt_text()?,
        charged: row.int()?,
        remote_id: row.opt_text()?,
        parts: row.opt_text()?,
        node: row.text()?,
        lease_until: row.int()?,
        error: row.opt_text()?,
        error_status: row.opt_int()?,
        created: row.int()?,
        updated: row.int()?,
        expires: row.int()?,
    })
}

impl Model {
    /// Published contents of bundles; bundles without a row are absent.
    pub async fn contents(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<BundleContents>>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        fetch(&mut self.db.read().await?, uuids).await
    }

    /// Notes published contents, replacing the row of the same store. Accounting is done by the transition that ends
    /// the upload; this is for taken-over data.
    pub async fn set_contents(&self, contents: &BundleContents) -> Result<()> {
        let mut tx = self.db.write().await?;
        store(&mut tx, contents).await?;
        tx.commit().await
    }

    /// Opens a session, or gives the open one with the same bundle and client key.
    pub async fn open_upload_session(&self, session: &UploadSession) -> Result<UploadSession> {
        let mut tx = self.db.write().await?;
        // The bundle's row serialises openers: the pair is unique among open sessions only, which no index can say.
        crate::quota::lock_bundle(&mut tx, session.bundle_uuid)
            .await?
            .ok_or_else(|| crate::bundles::not_found(session.bundle_uuid))?;
        let sql = format!(
            "SELECT {SESSION} FROM `upload_session` WHERE `bundle_uuid` = ? AND `client_key` = ? AND `state` = 'open'"
        );
        if let Some(mut row) = tx.first(sql, params![session.bundle_uuid, &session.client_key]).await? {
            return read_session(&mut row);
        }
        let s = session.clone();
        let sql = format!(
            "INSERT INTO `upload_session` ({SESSION}) VALUES {}",
            crate::dialect::list(21)
        );
        let values = params![
            s.id,
            s.bundle_uuid,
            s.user_id,
            s.client_key,
            s.params,
            s.store_key,
            s.placement,
            s.state,
            s.committed,
            s.size,
            s.digest,
            s.charged,
            s.remote_id,
            s.parts,
            s.node,
            s.lease_until,
            s.error,
            s.error_status,
            s.created,
            s.updated,
            s.expires,
        ];
        tx.run(sql, values).await?;
        tx.commit().await?;
        Ok(session.clone())
    }

    /// One session.
    pub async fn upload_session(&self, id: &str) -> Result<Option<UploadSession>> {
        let sql = format!("SELECT {SESSION} FROM `upload_session` WHERE `id` = ?");
        self.db
            .once()
            .await?
            .first(sql, params![id])
            .await?
            .map(|mut row| read_session(&mut row))
            .transpose()
    }

    /// Sessions in one of these states, oldest first.
    pub async fn upload_sessions_in(&self, states: &[&str]) -> Result<Vec<UploadSession>> {
        let sql = format!("SELECT {SESSION} FROM `upload_session` WHERE `state` IN {{in}} ORDER BY `created`, `id`");
        let rows = self.db.once().await?.all_in(&sql, &[], states, &[]).await?;
        rows.into_iter().map(|mut row| read_session(&mut row)).collect()
    }

    /// Changes a session if its state and committed bytes are still as expected; gives whether it did.
    pub async fn update_upload_session(
        &self,
        id: &str,
        expected_state: &str,
        expected_committed: i64,
        update: &SessionUpdate,
        now: i64,
    ) -> Result<bool> {
        let update = update.clone();
        let pairs: [(&str, Option<Value>); 9] = [
            ("state", update.state.map(Value::from)),
            ("committed", update.committed.map(Value::from)),
            ("error", update.error.map(Value::from)),
            ("error_status", update.error_status.map(Value::from)),
            ("node", update.node.map(Value::from)),
            ("lease_until", update.lease_until.map(Value::from)),
            ("remote_id", update.remote_id.map(Value::from)),
            ("parts", update.parts.map(Value::from)),
            ("expires", update.expires.map(Value::from)),
        ];
        let mut columns = vec!["`updated` = ?".to_owned()];
        let mut values = params![now];
        for (column, value) in pairs {
            if let Some(value) = value {
                columns.push(format!("`{column}` = ?"));
                values.push(value);
            }
        }
        values.extend(params![id, expected_state, expected_committed]);
        let set = columns.join(", ");
        let mut tx = self.db.write().await?;
        let sql = format!("UPDATE `upload_session` SET {set} WHERE `id` = ? AND `state` = ? AND `committed` = ?");
        let changed = tx.run(sql, values).await? == 1;
        tx.commit().await?;
        Ok(changed)
    }

    /// Bundles that were deleted before `before` (Unix seconds) while their contents on the built-in store may still be
    /// there, oldest first. Bundles that have got new contents since are not among them.
    pub async fn leftovers(&self, before: i64, limit: u32) -> Result<Vec<Uuid>> {
        let sql = "SELECT `t`.`path` FROM `store_trash` `t` WHERE `t`.`store_key` = '' AND `t`.`placement` = ? \
            AND `t`.`created` < ? AND NOT EXISTS (SELECT 1 FROM `bundle_contents` `c` WHERE `c`.`bundle_uuid` = `t`.`path`) \
            ORDER BY `t`.`attempts`, `t`.`id` LIMIT ?";
        let rows = self.db.read().await?.all(sql, params![LEFTOVER, before, limit]).await?;
        rows.into_iter().map(|mut row| row.uuid()).collect()
    }

    /// The contents of these deleted bundles are gone.
    pub async fn forget_leftovers(&self, uuids: &[Uuid]) -> Result<()> {
        let mut tx = self.db.write().await?;
        let sql = "DELETE FROM `store_trash` WHERE `store_key` = '' AND `placement` = ? AND `path` IN {in}";
        tx.run_in(sql, &[LEFTOVER.into()], uuids, &[]).await?;
        tx.commit().await
    }

    /// Notes bytes to delete.
    pub async fn add_trash(&self, store_key: &str, placement: &str, path: &str, now: i64) -> Result<i64> {
        let mut tx = self.db.write().await?;
        let sql = "INSERT INTO `store_trash` (`store_key`, `placement`, `path`, `created`) VALUES (?, ?, ?, ?)";
        let id = tx.insert(sql, params![store_key, placement, path, now]).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Bytes to delete, oldest first.
    pub async fn trash(&self, limit: u32) -> Result<Vec<TrashEntry>> {
        let sql = "SELECT `id`, `store_key`, `placement`, `path`, `created`, `attempts`, `last_error` FROM `store_trash` \
            WHERE `placement` <> ? ORDER BY `attempts`, `id` LIMIT ?";
        let rows = self.db.once().await?.all(sql, params![LEFTOVER, limit]).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(TrashEntry {
                    id: row.int()?,
                    store_key: row.text()?,
                    placement: row.text()?,
                    path: row.text()?,
                    created: row.int()?,
                    attempts: row.int()?,
                    last_error: row.opt_text()?,
                })
            })
            .collect()
    }

    /// The bytes are gone.
    pub async fn remove_trash(&self, id: i64) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.run("DELETE FROM `store_trash` WHERE `id` = ?", params![id]).await?;
        tx.commit().await
    }

    /// Deleting failed; it will be tried again.
    pub async fn fail_trash(&self, id: i64, error: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        let sql = "UPDATE `store_trash` SET `attempts` = `attempts` + 1, `last_error` = ? WHERE `id` = ?";
        if tx.run(sql, params![error, id]).await? == 0 {
            return Err(Error::not_found(format!("No trash entry {id}")));
        }
        tx.commit().await
    }
}

pub(crate) async fn fetch(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<BundleContents>>> {
    let sql = format!(
        "SELECT {CONTENTS} FROM `bundle_contents` WHERE `bundle_uuid` IN {{in}} ORDER BY `created`, `store_key`"
    );
    let mut found: HashMap<Uuid, Vec<BundleContents>> = HashMap::new();
    for mut row in tx.all_in(&sql, &[], uuids, &[]).await? {
        let contents = read_contents(&mut row)?;
        found.entry(contents.bundle_uuid).or_default().push(contents);
    }
    Ok(found)
}

/// Placement of trash that is all contents of a deleted bundle; its path is the uuid.
const LEFTOVER: &str = "deleted bundle";

pub(crate) async fn note_leftovers(tx: &mut Tx, uuids: &[Uuid], now: i64) -> Result<()> {
    let rows = uuids.iter().map(|uuid| params!["", LEFTOVER, *uuid, now]);
    tx.insert_rows(
        "INSERT INTO `store_trash` (`store_key`, `placement`, `path`, `created`)",
        Box::new(rows),
    )
    .await
}

pub(crate) async fn store(tx: &mut Tx, contents: &BundleContents) -> Result<()> {
    let update = tx.engine().on_conflict_update(
        "`bundle_uuid`, `store_key`",
        &[
            "placement",
            "generation",
            "kind",
            "format",
            "stored_bytes",
            "logical_bytes",
            "entries",
            "digest",
            "manifest_digest",
            "created",
            "verified",
        ],
    );
    let sql = format!(
        "INSERT INTO `bundle_contents` ({CONTENTS}) VALUES {}{update}",
        crate::dialect::list(13)
    );
    let c = contents.clone();
    let kind = if c.is_dir { "dir" } else { "file" };
    let values = params![
        c.bundle_uuid,
        c.store_key,
        c.placement,
        c.generation,
        kind,
        c.format,
        c.stored_bytes,
        c.logical_bytes,
        c.entries,
        c.digest,
        c.manifest_digest,
        c.created,
        c.verified,
    ];
    tx.run(sql, values).await.map(drop)
}
