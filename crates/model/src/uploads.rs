//! The end of uploads: contents, sizes, quota and state in one transaction (data-model sections 6.2 and 10).

use domain::{BundleState, Error, Result, Uuid};

use crate::bundles::not_found;
use crate::db::{Tx, params};
use crate::quota::{lock_bundle, quota, set_size};
use crate::transitions::{NOT_FINAL, note_failure, set_state, take_from_worker};
use crate::{BundleContents, Model, contents, stores};

impl Model {
    /// An upload has been published: contents row, location (if a store is given), `is_dir`, `storage_type`,
    /// `data_size`, `disk_used`, and the final state if one is given. If the owner is over quota with it, the bundle
    /// fails, sizes go back to 0, and the result is the error 400 `Upload failed: …`; the caller then removes the
    /// contents. 403 if the bundle is already final. A run stays assigned to its worker, which still has to hear of it.
    pub async fn finish_upload(
        &self,
        contents: &BundleContents,
        storage_type: &str,
        store: Option<Uuid>,
        state: Option<BundleState>,
        _now: i64,
    ) -> Result<()> {
        if let Some(state) = state.filter(|state| !state.is_final()) {
            return Err(Error::usage(format!(
                "state_on_success must be a final state (ready, failed or killed), was {state}"
            )));
        }
        let uuid = contents.bundle_uuid;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                if bundle.state.is_final() {
                    return Err(Error::permission(
                        "Contents cannot be modified, bundle already finalized.",
                    ));
                }
                if let Err(error) = publish(&mut tx, contents, Some(storage_type), store).await? {
                    let error = error.context("Upload failed");
                    set_state(&mut tx, uuid, &NOT_FINAL, BundleState::Failed).await?;
                    note_failure(&mut tx, uuid, &error.message, None).await?;
                    tx.commit().await?;
                    return Err(error);
                }
                if let Some(state) = state {
                    set_state(&mut tx, uuid, &NOT_FINAL, state).await?;
                }
                tx.commit().await
            })
            .await
    }

    /// A client that stored the contents itself reports the end (REST 13.5). `measured` is what the server finds there
    /// now, none if it cannot look. Success: size, quota and the final state `end`; if the owner is over quota with it,
    /// the bundle fails and the result is the error 400 `Upload failed: …`. Failure: size, message and state. False if
    /// the bundle is already final; 400 unless `end` is final.
    pub async fn report_upload(
        &self,
        uuid: Uuid,
        end: BundleState,
        failure: Option<&str>,
        measured: Option<i64>,
        now: i64,
    ) -> Result<bool> {
        if !end.is_final() {
            return Err(Error::usage(format!(
                "state must be a final state (ready, failed or killed), was {end}"
            )));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                if bundle.state.is_final() {
                    return Ok(false);
                }
                if measured.is_some() {
                    set_size(&mut tx, uuid, measured).await?;
                }
                let over_quota = match &bundle.owner_id {
                    Some(owner) if failure.is_none() && measured != Some(0) => {
                        quota(&mut tx, owner).await?.disk_left() < 0.0
                    }
                    _ => false,
                };
                let refusal = over_quota.then(|| {
                    Error::usage("user disk quota exceeded: the contents do not fit in what is left of the quota.")
                        .context("Upload failed")
                });
                let state = if over_quota { BundleState::Failed } else { end };
                set_state(&mut tx, uuid, &NOT_FINAL, state).await?;
                let message = refusal.as_ref().map(|error| error.message.as_str());
                if let Some(message) = message.or(failure) {
                    note_failure(&mut tx, uuid, message, None).await?;
                }
                take_from_worker(&mut tx, uuid, now).await?;
                tx.commit().await?;
                refusal.map_or(Ok(true), Err)
            })
            .await
    }

    /// An upload failed: message (`Upload failed: <reason>`), traceback, size 0, contents rows forgotten; the state
    /// becomes `failed` if `finalize`. False if the bundle is already final.
    pub async fn fail_upload(
        &self,
        uuid: Uuid,
        reason: &str,
        traceback: Option<&str>,
        finalize: bool,
        _now: i64,
    ) -> Result<bool> {
        let reason = reason.strip_prefix("Upload failed: ").unwrap_or(reason);
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                if bundle.state.is_final() {
                    return Ok(false);
                }
                if finalize {
                    set_state(&mut tx, uuid, &NOT_FINAL, BundleState::Failed).await?;
                }
                note_failure(&mut tx, uuid, &format!("Upload failed: {reason}"), traceback).await?;
                forget_contents(&mut tx, uuid).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }
}

/// Records published contents. The inner error says that the owner is over quota with them; sizes are then back at 0.
pub(crate) async fn publish(
    tx: &mut Tx,
    published: &BundleContents,
    storage_type: Option<&str>,
    store: Option<Uuid>,
) -> Result<Result<()>> {
    let uuid = published.bundle_uuid;
    contents::store(tx, published).await?;
    if let Some(store) = store {
        stores::add_location(tx, uuid, store).await?;
        tx.run(
            "UPDATE `bundle` SET `is_dir` = ? WHERE `uuid` = ?",
            params![published.is_dir, uuid],
        )
        .await?;
    } else {
        let sql = "UPDATE `bundle` SET `is_dir` = ?, `storage_type` = ? WHERE `uuid` = ?";
        tx.run(sql, params![published.is_dir, storage_type.unwrap_or("disk"), uuid])
            .await?;
    }
    set_size(tx, uuid, Some(published.stored_bytes)).await?;
    let owner = lock_bundle(tx, uuid).await?.and_then(|bundle| bundle.owner_id);
    let Some(owner) = owner else { return Ok(Ok(())) };
    let quota = quota(tx, &owner).await?;
    if published.stored_bytes == 0 || quota.disk_used <= quota.disk_quota {
        return Ok(Ok(()));
    }
    let left = quota.disk_left() as i64 + published.stored_bytes;
    forget_contents(tx, uuid).await?;
    Ok(Err(Error::usage(format!(
        "user disk quota exceeded: the bundle has {} bytes, but only {left} are left of the quota.",
        published.stored_bytes
    ))))
}

/// There are no contents (any more).
async fn forget_contents(tx: &mut Tx, uuid: Uuid) -> Result<()> {
    tx.run("DELETE FROM `bundle_contents` WHERE `bundle_uuid` = ?", params![uuid])
        .await?;
    set_size(tx, uuid, Some(0)).await
}
