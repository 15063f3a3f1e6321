//! Changing bundles (data-model sections 4.5, 18.2 to 18.4 and 18.6).

use domain::metadata::{field, fields};
use domain::{Error, Metadata, Permission, Result, UtcTime, Uuid};

use super::{BundleRecord, BundleUpdate, fetch, metadata, not_found};
use crate::Model;
use crate::db::{Tx, params};
use crate::permissions::ObjectKind;
use crate::quota::lock_bundle;
use crate::users::active_user;

impl Model {
    /// Applies changes of a user to several bundles, all or nothing, matched by uuid. Checks *all* permission, the
    /// freeze rules, metadata, and that generated or locked fields are not changed; moves disk usage with the owner.
    pub async fn update_bundles(&self, viewer: &str, updates: Vec<BundleUpdate>, now: i64) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.update_in(&mut tx, viewer, &updates, now).await?;
                tx.commit().await
            })
            .await
    }

    async fn update_in(&self, tx: &mut Tx, viewer: &str, updates: &[BundleUpdate], now: i64) -> Result<()> {
        let uuids: Vec<Uuid> = updates.iter().map(|update| update.uuid).collect();
        self.check_permission_in(tx, ObjectKind::Bundle, Some(viewer), &uuids, Permission::All)
            .await?;
        let mut ordered = uuids.clone();
        ordered.sort_unstable();
        for uuid in ordered {
            lock_bundle(tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
        }
        for update in updates {
            // Read for each: the same bundle may be named twice.
            let record = fetch::fetch_one(tx, update.uuid).await?;
            check_freeze(&record, update)?;
            let changes = check_metadata(&record, update)?;
            if let Some(owner) = update
                .owner_id
                .as_ref()
                .filter(|owner| record.bundle.owner_id.as_ref() != Some(*owner))
            {
                let owns = record.bundle.owner_id.as_ref().is_some_and(|owner| *owner == viewer);
                if !owns && !self.is_root(Some(viewer)) {
                    return Err(Error::permission(format!(
                        "Only its owner can give bundle {} away.",
                        update.uuid
                    )));
                }
                change_owner(tx, &record, owner).await?;
            }
            metadata::replace(tx, update.uuid, &changes).await?;
            if let Some(frozen) = update.frozen {
                let time = frozen.map(|_| UtcTime::from_unix(now));
                tx.run(
                    "UPDATE `bundle` SET `frozen` = ? WHERE `uuid` = ?",
                    params![time, update.uuid],
                )
                .await?;
            }
            if let Some(is_anonymous) = update.is_anonymous {
                tx.run(
                    "UPDATE `bundle` SET `is_anonymous` = ? WHERE `uuid` = ?",
                    params![is_anonymous, update.uuid],
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Writes metadata on behalf of the system, without permission or freeze checks. A null deletes the key.
    /// `data_size` must not be among the keys (400); see [`Model::set_data_size`].
    pub async fn set_metadata(&self, uuid: Uuid, changes: &Metadata) -> Result<()> {
        if changes.get("data_size").is_some() {
            return Err(Error::usage(
                "data_size changes only together with the owner's disk usage",
            ));
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
                for (key, _) in changes.iter() {
                    field(bundle.bundle_type, key)
                        .ok_or_else(|| Error::usage(format!("Unexpected metadata key: {key}")))?;
                }
                metadata::replace(&mut tx, uuid, changes).await?;
                tx.commit().await
            })
            .await
    }

    /// Sets `staged_status` if the bundle is still staged and the text differs; gives whether it was written.
    pub async fn set_staged_status(&self, uuid: Uuid, text: &str) -> Result<bool> {
        let same = metadata::text(&mut self.db.read().await?, uuid, "staged_status").await?;
        if same.as_deref() == Some(text) {
            return Ok(false);
        }
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let bundle = lock_bundle(&mut tx, uuid).await?;
                if bundle.is_none_or(|bundle| bundle.state != domain::BundleState::Staged) {
                    return Ok(false);
                }
                metadata::set(&mut tx, uuid, "staged_status", text).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Appends one entry to the list field `actions`.
    pub async fn append_action(&self, uuid: Uuid, action: &str) -> Result<()> {
        let mut tx = self.db.write().await?;
        lock_bundle(&mut tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
        metadata::append(&mut tx, uuid, "actions", action).await?;
        tx.commit().await
    }
}

/// Freezing needs a final state; a frozen bundle changes only when the same request unfreezes it.
fn check_freeze(record: &BundleRecord, update: &BundleUpdate) -> Result<()> {
    let bundle = &record.bundle;
    if update.frozen.is_some() && !bundle.state.is_final() {
        return Err(Error::permission(format!(
            "Cannot freeze bundle {}({}), bundle is not in a final state.",
            bundle.uuid,
            bundle.name()
        )));
    }
    if bundle.frozen.is_some() && update.frozen != Some(None) {
        return Err(Error::permission(format!(
            "Cannot mutate frozen bundle {}({}).",
            bundle.uuid,
            bundle.name()
        )));
    }
    Ok(())
}

/// The metadata to write: what the user may change, without generated values that equal the stored ones.
fn check_metadata(record: &BundleRecord, update: &BundleUpdate) -> Result<Metadata> {
    let bundle = &record.bundle;
    update.metadata.validate_update(bundle.bundle_type)?;
    let mut changes = update.metadata.clone();
    for field in fields(bundle.bundle_type) {
        let Some(new) = changes.get(field.key) else { continue };
        let refused = field.generated || (field.locked && !bundle.state.allows_locked_edits());
        if !refused {
            continue;
        }
        let same = match bundle.metadata.get(field.key) {
            Some(old) => old == new || (new.is_null() && *old == field.kind.zero()),
            None => new.is_null() || *new == field.kind.zero(),
        };
        if !same {
            let why = if field.generated {
                "it is generated"
            } else {
                "the bundle has already been started"
            };
            return Err(Error::permission(format!(
                "Cannot change metadata {} of bundle {}: {why}.",
                field.key, bundle.uuid
            )));
        }
        changes.remove(field.key);
    }
    let mut complete = bundle.metadata.clone();
    complete.update(&changes);
    complete.validate_update(bundle.bundle_type)?;
    if complete.name().is_empty() {
        // A null name: the same complaint as for an empty one.
        let mut empty = Metadata::new();
        empty.set("name", "");
        empty.validate_update(bundle.bundle_type)?;
    }
    Ok(changes)
}

/// Gives a bundle to another active user, with its disk usage.
async fn change_owner(tx: &mut Tx, record: &BundleRecord, owner: &str) -> Result<()> {
    if active_user(tx, "`u`.`user_id` = ?", params![owner]).await?.is_none() {
        return Err(Error::not_found(format!("User {owner} not found")));
    }
    let uuid = record.bundle.uuid;
    let size = metadata::number(tx, uuid, "data_size").await? as i64;
    let mut moves = vec![(owner.to_owned(), size)];
    moves.extend(record.bundle.owner_id.iter().map(|old| (old.to_string(), -size)));
    moves.sort_unstable();
    for (user_id, bytes) in moves {
        tx.run(
            "UPDATE `user` SET `disk_used` = `disk_used` + ? WHERE `user_id` = ?",
            params![bytes, user_id],
        )
        .await?;
    }
    tx.run(
        "UPDATE `bundle` SET `owner_id` = ? WHERE `uuid` = ?",
        params![owner, uuid],
    )
    .await
    .map(drop)
}
