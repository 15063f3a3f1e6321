//! Changing bundles (data-model sections 4.5, 18.2 to 18.4 and 18.6).

use std::collections::{BTreeMap, HashMap};

use domain::metadata::{field, fields};
use domain::{Error, Metadata, Permission, Result, UserId, UtcTime, Uuid};

use super::{BundleRecord, BundleUpdate, fetch, metadata, not_found};
use crate::Model;
use crate::db::{Tx, Value};
use crate::permissions::ObjectKind;
use crate::quota::{LockedBundle, change_owner, lock_bundle, lock_bundles};

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
        let locked = lock_bundles(tx, &uuids).await?;
        let mut records = fetch::fetch(tx, &uuids).await?;
        let mut changes = Vec::with_capacity(updates.len());
        for update in updates {
            // Each update sees what an earlier one made of the same bundle.
            let record = records.get_mut(&update.uuid).ok_or_else(|| not_found(update.uuid))?;
            self.check_update(viewer, record, update)?;
            let metadata = check_metadata(record, update)?;
            apply(record, update, &metadata, now);
            changes.push((update.uuid, metadata));
        }
        metadata::replace_all(tx, &merged(changes)).await?;
        let mut owners: BTreeMap<UserId, HashMap<Uuid, LockedBundle>> = BTreeMap::new();
        for (uuid, before) in locked {
            let after = records.get(&uuid).and_then(|record| record.bundle.owner_id.clone());
            if let Some(after) = after.filter(|after| before.owner_id.as_ref() != Some(after)) {
                owners.entry(after).or_default().insert(uuid, before);
            }
        }
        for (owner, bundles) in owners {
            change_owner(tx, &bundles, &owner).await?;
        }
        let chosen = |wanted: fn(&BundleUpdate) -> bool| {
            let named = updates.iter().filter(|update| wanted(update)).map(|update| update.uuid);
            named.collect::<Vec<Uuid>>()
        };
        let frozen = chosen(|update| update.frozen.is_some());
        set_column(tx, "frozen", &frozen, |uuid| records[uuid].bundle.frozen.into()).await?;
        let anonymous = chosen(|update| update.is_anonymous.is_some());
        set_column(tx, "is_anonymous", &anonymous, |uuid| {
            records[uuid].bundle.is_anonymous.into()
        })
        .await
    }

    /// The freeze rules, and that only the owner (or root) gives a bundle away.
    fn check_update(&self, viewer: &str, record: &BundleRecord, update: &BundleUpdate) -> Result<()> {
        check_freeze(record, update)?;
        let owner = record.bundle.owner_id.as_ref();
        let gives_away = update.owner_id.as_ref().is_some_and(|new| owner != Some(new));
        if gives_away && owner.is_none_or(|owner| *owner != viewer) && !self.is_root(Some(viewer)) {
            return Err(Error::permission(format!(
                "Only its owner can give bundle {} away.",
                update.uuid
            )));
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
    if complete.str("link_url").is_empty() == bundle.is_linked() {
        return Err(Error::permission(format!(
            "Cannot change metadata link_url of bundle {}: a bundle with contents of its own does not become a link, nor a \
             link a bundle with contents.",
            bundle.uuid
        )));
    }
    complete.validate_update(bundle.bundle_type)?;
    if complete.name().is_empty() {
        // A null name: the same complaint as for an empty one.
        let mut empty = Metadata::new();
        empty.set("name", "");
        empty.validate_update(bundle.bundle_type)?;
    }
    Ok(changes)
}

/// The record as it is after an update.
fn apply(record: &mut BundleRecord, update: &BundleUpdate, metadata: &Metadata, now: i64) {
    let bundle = &mut record.bundle;
    bundle.metadata.update(metadata);
    if let Some(owner) = &update.owner_id {
        bundle.owner_id = Some(owner.clone());
    }
    if let Some(frozen) = update.frozen {
        bundle.frozen = frozen.map(|_| UtcTime::from_unix(now));
    }
    if let Some(is_anonymous) = update.is_anonymous {
        bundle.is_anonymous = is_anonymous;
    }
}

/// One set of changes per bundle; of two changes of a key the later one counts.
fn merged(changes: Vec<(Uuid, Metadata)>) -> Vec<(Uuid, Metadata)> {
    let mut by_bundle: BTreeMap<Uuid, Metadata> = BTreeMap::new();
    for (uuid, metadata) in changes {
        let known = by_bundle.entry(uuid).or_default();
        for (key, value) in metadata.iter() {
            known.set(key.as_str(), value.clone());
        }
    }
    by_bundle.into_iter().collect()
}

/// Sets a column of bundles, with one statement per value (and 500 bundles).
async fn set_column(tx: &mut Tx, column: &str, uuids: &[Uuid], value: impl Fn(&Uuid) -> Value) -> Result<()> {
    let mut by_value: Vec<(Value, Vec<Uuid>)> = Vec::new();
    for uuid in uuids {
        let value = value(uuid);
        match by_value.iter_mut().find(|(known, _)| *known == value) {
            Some((_, uuids)) => uuids.push(*uuid),
            None => by_value.push((value, vec![*uuid])),
        }
    }
    for (value, uuids) in by_value {
        let sql = format!("UPDATE `bundle` SET `{column}` = ? WHERE `uuid` IN {{in}}");
        tx.run_in(&sql, &[value], &uuids, &[]).await?;
    }
    Ok(())
}
