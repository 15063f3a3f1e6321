//! Deleting bundles (data-model section 18.5).

use std::collections::{BTreeMap, HashMap};

use domain::{Error, Permission, Result, Uuid};

use super::relations::self_and_descendants;
use super::{BundleRecord, DeleteBundles, DeletedBundle, fetch, not_found};
use crate::Model;
use crate::contents;
use crate::db::Tx;
use crate::permissions::ObjectKind;
use crate::quota::{lock_bundle, set_size};

impl Model {
    /// Checks and deletes, in one transaction; gives the targets, given ones first. The contents must then be removed
    /// by the caller. With `dry_run` nothing is changed.
    pub async fn delete_bundles(&self, viewer: &str, request: &DeleteBundles) -> Result<Vec<DeletedBundle>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let deleted = self.delete_in(&mut tx, viewer, request).await?;
                if !request.dry_run {
                    tx.commit().await?;
                }
                Ok(deleted)
            })
            .await
    }

    async fn delete_in(&self, tx: &mut Tx, viewer: &str, request: &DeleteBundles) -> Result<Vec<DeletedBundle>> {
        let given = self_and_descendants(tx, &request.uuids, Some(0)).await?;
        let all = self_and_descendants(tx, &given, None).await?;
        let descendants = &all[given.len()..];
        if !request.recursive && !request.force && !descendants.is_empty() {
            return Err(dependants(tx, &given, descendants).await?);
        }
        let targets = if request.recursive { all } else { given };
        self.check_permission_in(tx, ObjectKind::Bundle, Some(viewer), &targets, Permission::All)
            .await?;
        let mut ordered = targets.clone();
        ordered.sort_unstable();
        for uuid in ordered {
            lock_bundle(tx, uuid).await?.ok_or_else(|| not_found(uuid))?;
        }
        let records = fetch::fetch(tx, &targets).await?;
        check_states(&targets, &records)?;
        check_hosts(tx, &targets, request.force).await?;
        let deleted = describe(tx, &targets, &records).await?;
        if request.dry_run {
            return Ok(deleted);
        }
        for uuid in &targets {
            let size = if request.data_only { Some(0) } else { None };
            if size.is_none() || records.get(uuid).is_some_and(|record| !record.bundle.is_linked()) {
                set_size(tx, *uuid, size).await?;
            }
        }
        tx.run_in(
            "DELETE FROM `bundle_contents` WHERE `bundle_uuid` IN {in}",
            &[],
            &targets,
            &[],
        )
        .await?;
        if !request.data_only {
            delete_rows(tx, &targets).await?;
        }
        Ok(deleted)
    }
}

async fn dependants(tx: &mut Tx, given: &[Uuid], descendants: &[Uuid]) -> Result<Error> {
    let names = fetch::names(tx, descendants).await?;
    let uuids: Vec<&str> = given.iter().map(Uuid::as_str).collect();
    let lines: Vec<String> = descendants
        .iter()
        .map(|uuid| format!("  {}({uuid})", names.get(uuid).map_or("", String::as_str)))
        .collect();
    Ok(Error::usage(format!(
        "Can't delete bundles {} because the following bundles depend on them:\n{}",
        uuids.join(" "),
        lines.join("\n")
    )))
}

fn check_states(targets: &[Uuid], records: &HashMap<Uuid, BundleRecord>) -> Result<()> {
    let bundles: Vec<_> = targets
        .iter()
        .filter_map(|uuid| records.get(uuid))
        .map(|record| &record.bundle)
        .collect();
    let active: Vec<&str> = bundles
        .iter()
        .filter(|bundle| bundle.state.is_active())
        .map(|bundle| bundle.uuid.as_str())
        .collect();
    if !active.is_empty() {
        return Err(Error::usage(format!(
            "Can't delete bundles: {}. They are active: kill runs first (cl kill); a bundle that is stuck is moved on by the \
             server in time and can be deleted then.",
            active.join(" ")
        )));
    }
    match bundles.iter().find(|bundle| bundle.frozen.is_some()) {
        Some(bundle) => Err(Error::permission(format!(
            "Cannot mutate frozen bundle {}({}).",
            bundle.uuid,
            bundle.name()
        ))),
        None => Ok(()),
    }
}

async fn check_hosts(tx: &mut Tx, targets: &[Uuid], force: bool) -> Result<()> {
    let sql = "SELECT `i`.`bundle_uuid`, `w`.`id`, `w`.`uuid`, `w`.`name`, CAST(`w`.`frozen` AS CHAR) FROM `worksheet_item` `i` \
        JOIN `worksheet` `w` ON `w`.`uuid` = `i`.`worksheet_uuid` WHERE `i`.`bundle_uuid` IN {in}";
    // Bundle → worksheet id → (line, frozen).
    let mut hosts: HashMap<Uuid, BTreeMap<i64, (String, bool)>> = HashMap::new();
    for mut row in tx.all_in(sql, &[], targets, &[]).await? {
        let (bundle, id, uuid, name) = (row.uuid()?, row.int()?, row.text()?, row.text()?);
        let frozen = row.opt_time()?.is_some();
        hosts
            .entry(bundle)
            .or_default()
            .insert(id, (format!("\n  {name}({uuid})"), frozen));
    }
    for target in targets {
        let Some(worksheets) = hosts.get(target) else { continue };
        let frozen: String = worksheets
            .values()
            .filter(|(_, frozen)| *frozen)
            .map(|(line, _)| line.as_str())
            .collect();
        if !frozen.is_empty() {
            return Err(Error::usage(format!(
                "Can't delete bundle {target} because it appears in frozen worksheets, which need to be unfrozen or deleted \
                 first:{frozen}"
            )));
        }
        if worksheets.len() > 1 && !force {
            let lines: String = worksheets.values().map(|(line, _)| line.as_str()).collect();
            return Err(Error::usage(format!(
                "Can't delete bundle {target} because it appears in multiple worksheets (--force to override):{lines}"
            )));
        }
    }
    Ok(())
}

async fn describe(tx: &mut Tx, targets: &[Uuid], records: &HashMap<Uuid, BundleRecord>) -> Result<Vec<DeletedBundle>> {
    let mut stores: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    let sql =
        "SELECT `bundle_uuid`, `bundle_store_uuid` FROM `bundle_location` WHERE `bundle_uuid` IN {in} ORDER BY `id`";
    for mut row in tx.all_in(sql, &[], targets, &[]).await? {
        stores.entry(row.uuid()?).or_default().push(row.uuid()?);
    }
    let mut published = contents::fetch(tx, targets).await?;
    let deleted = targets.iter().filter_map(|uuid| records.get(uuid)).map(|record| {
        let bundle = &record.bundle;
        DeletedBundle {
            uuid: bundle.uuid,
            link_url: bundle.metadata.str("link_url").to_owned(),
            is_dir: bundle.is_dir,
            storage_type: bundle.storage_type.clone(),
            store_uuids: stores.remove(&bundle.uuid).unwrap_or_default(),
            contents: published.remove(&bundle.uuid).unwrap_or_default(),
        }
    });
    Ok(deleted.collect())
}

/// Everything that refers to the bundles, then the bundles. Rows in which a target is a *parent* stay.
async fn delete_rows(tx: &mut Tx, targets: &[Uuid]) -> Result<()> {
    for (table, column) in [
        ("group_bundle_permission", "object_uuid"),
        ("worksheet_item", "bundle_uuid"),
        ("bundle_metadata", "bundle_uuid"),
        ("bundle_dependency", "child_uuid"),
        ("bundle_location", "bundle_uuid"),
        ("worker_message", "run_uuid"),
        ("worker_run", "run_uuid"),
        ("bundle", "uuid"),
    ] {
        let sql = format!("DELETE FROM `{table}` WHERE `{column}` IN {{in}}");
        tx.run_in(&sql, &[], targets, &[]).await?;
    }
    Ok(())
}
