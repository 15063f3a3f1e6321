//! Deleting bundles (data-model section 18.5).

use std::collections::{BTreeMap, HashMap};

use domain::{Error, Permission, Result, UtcTime, Uuid};

use super::relations::self_and_descendants;
use super::{BundleRecord, DeleteBundles, DeletedBundle, fetch};
use crate::Model;
use crate::contents;
use crate::db::Tx;
use crate::permissions::ObjectKind;
use crate::quota::{clear_sizes, lock_bundles, settle_time};

impl Model {
    /// Checks and deletes, in one transaction; gives the targets, given ones first. The caller then removes the contents
    /// of those without a link and says so with [`Model::forget_leftovers`]. With `dry_run` nothing is changed.
    pub async fn delete_bundles(&self, viewer: &str, request: &DeleteBundles, now: i64) -> Result<Vec<DeletedBundle>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let deleted = self.delete_in(&mut tx, viewer, request, now).await?;
                if !request.dry_run {
                    tx.commit().await?;
                }
                Ok(deleted)
            })
            .await
    }

    async fn delete_in(
        &self,
        tx: &mut Tx,
        viewer: &str,
        request: &DeleteBundles,
        now: i64,
    ) -> Result<Vec<DeletedBundle>> {
        let given = self_and_descendants(tx, &request.uuids, Some(0)).await?;
        let all = self_and_descendants(tx, &given, None).await?;
        let descendants = &all[given.len()..];
        if !request.recursive && !request.force && !descendants.is_empty() {
            return Err(self.dependants(tx, viewer, &given, descendants).await?);
        }
        let targets = if request.recursive { all } else { given };
        self.check_permission_in(tx, ObjectKind::Bundle, Some(viewer), &targets, Permission::All)
            .await?;
        let mut locked = lock_bundles(tx, &targets).await?;
        let records = fetch::fetch(tx, &targets).await?;
        check_states(&targets, &records)?;
        self.check_hosts(tx, viewer, &targets, request.force).await?;
        let deleted = describe(tx, &targets, &records).await?;
        if request.dry_run {
            return Ok(deleted);
        }
        if request.data_only {
            // A link has no contents here, and no size that could go.
            locked.retain(|uuid, _| records.get(uuid).is_some_and(|record| !record.bundle.is_linked()));
        }
        clear_sizes(tx, &locked).await?;
        // What is to be removed is noted with the deletion itself: a server that ends now leaves no bytes behind.
        let gone: Vec<Uuid> = deleted
            .iter()
            .filter(|bundle| bundle.link_url.is_empty())
            .map(|bundle| bundle.uuid)
            .collect();
        contents::note_leftovers(tx, &gone, now).await?;
        tx.run_in(
            "DELETE FROM `bundle_contents` WHERE `bundle_uuid` IN {in}",
            &[],
            &targets,
            &[],
        )
        .await?;
        if !request.data_only {
            settle_time(tx, &targets).await?;
            touch_hosts(tx, &targets, now).await?;
            delete_rows(tx, &targets).await?;
        }
        Ok(deleted)
    }

    /// The refusal to delete what others need. It names those that the viewer may read.
    async fn dependants(&self, tx: &mut Tx, viewer: &str, given: &[Uuid], descendants: &[Uuid]) -> Result<Error> {
        let mut names = fetch::names(tx, descendants).await?;
        let have = self
            .permissions_in(tx, ObjectKind::Bundle, Some(viewer), descendants)
            .await?;
        let uuids: Vec<&str> = given.iter().map(Uuid::as_str).collect();
        let lines: Vec<String> = descendants
            .iter()
            .zip(have)
            .map(|(uuid, permission)| match permission {
                Permission::None => format!("  {HIDDEN}({uuid})"),
                _ => format!("  {}({uuid})", names.remove(uuid).unwrap_or_default()),
            })
            .collect();
        Ok(Error::usage(format!(
            "Can't delete bundles {} because the following bundles depend on them:\n{}",
            uuids.join(" "),
            lines.join("\n")
        )))
    }

    /// 400 if a target is on a frozen worksheet, or on several and that is not forced.
    async fn check_hosts(&self, tx: &mut Tx, viewer: &str, targets: &[Uuid], force: bool) -> Result<()> {
        let hosts = hosts(tx, targets).await?;
        for target in targets {
            let Some(worksheets) = hosts.get(target) else { continue };
            let frozen: Vec<&Host> = worksheets.values().filter(|host| host.frozen).collect();
            if !frozen.is_empty() {
                let lines = self.host_lines(tx, viewer, &frozen).await?;
                return Err(Error::usage(format!(
                    "Can't delete bundle {target} because it appears in frozen worksheets, which need to be unfrozen or \
                     deleted first:{lines}"
                )));
            }
            if worksheets.len() > 1 && !force {
                let all: Vec<&Host> = worksheets.values().collect();
                let lines = self.host_lines(tx, viewer, &all).await?;
                return Err(Error::usage(format!(
                    "Can't delete bundle {target} because it appears in multiple worksheets (--force to override):{lines}"
                )));
            }
        }
        Ok(())
    }

    async fn host_lines(&self, tx: &mut Tx, viewer: &str, hosts: &[&Host]) -> Result<String> {
        let uuids: Vec<Uuid> = hosts.iter().map(|host| host.uuid).collect();
        let have = self
            .permissions_in(tx, ObjectKind::Worksheet, Some(viewer), &uuids)
            .await?;
        let lines = hosts.iter().zip(have).map(|(host, permission)| {
            let name = if permission == Permission::None {
                HIDDEN
            } else {
                &host.name
            };
            format!("\n  {name}({})", host.uuid)
        });
        Ok(lines.collect())
    }
}

/// Stands for a name that the viewer may not know.
const HIDDEN: &str = "<private>";

/// A worksheet that shows a target.
struct Host {
    uuid: Uuid,
    name: String,
    frozen: bool,
}

/// For each bundle the worksheets that show it, by row id.
async fn hosts(tx: &mut Tx, targets: &[Uuid]) -> Result<HashMap<Uuid, BTreeMap<i64, Host>>> {
    let sql = "SELECT `i`.`bundle_uuid`, `w`.`id`, `w`.`uuid`, `w`.`name`, CAST(`w`.`frozen` AS CHAR) FROM `worksheet_item` `i` \
        JOIN `worksheet` `w` ON `w`.`uuid` = `i`.`worksheet_uuid` WHERE `i`.`bundle_uuid` IN {in}";
    let mut hosts: HashMap<Uuid, BTreeMap<i64, Host>> = HashMap::new();
    for mut row in tx.all_in(sql, &[], targets, &[]).await? {
        let (bundle, id) = (row.uuid()?, row.int()?);
        let host = Host {
            uuid: row.uuid()?,
            name: row.text()?,
            frozen: row.opt_time()?.is_some(),
        };
        hosts.entry(bundle).or_default().insert(id, host);
    }
    Ok(hosts)
}

/// The worksheets that lose items change now.
async fn touch_hosts(tx: &mut Tx, targets: &[Uuid], now: i64) -> Result<()> {
    let sql = "UPDATE `worksheet` SET `date_last_modified` = ? \
        WHERE `uuid` IN (SELECT `worksheet_uuid` FROM `worksheet_item` WHERE `bundle_uuid` IN {in})";
    tx.run_in(sql, &[UtcTime::from_unix(now).into()], targets, &[])
        .await
        .map(drop)
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
