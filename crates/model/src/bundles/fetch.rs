//! Reading bundles: one statement per 500 bundles.

use std::collections::HashMap;

use domain::{Bundle, BundleState, BundleType, Dependency, Metadata, Permission, Result, UserId, Uuid};

use super::{BundleRecord, ParentInfo};
use crate::Model;
use crate::db::{Row, Tx, Value};
use crate::permissions::ObjectKind;

impl Model {
    /// One bundle. 404 `Bundle <uuid> not found`.
    pub async fn bundle(&self, uuid: Uuid) -> Result<BundleRecord> {
        fetch_one(&mut self.db.once().await?, uuid).await
    }

    /// The bundles that exist, in the order asked for, with what the viewer may do with each.
    pub async fn bundles_for(&self, viewer: Option<&str>, uuids: &[Uuid]) -> Result<Vec<(BundleRecord, Permission)>> {
        if uuids.is_empty() {
            return Ok(Vec::new());
        }
        let (level, values) = self.level_of("`b`", ObjectKind::Bundle, viewer);
        let sql = format!("{} {METADATA_AND_DEPENDENCIES}", bundle_rows(&level));
        let mut fetched = Fetched::default();
        let mut tx = self.db.once().await?;
        tx.each_in(&sql, &values, uuids, LISTS, &mut |row| fetched.take(row))
            .await?;
        let mut wanted: HashMap<Uuid, usize> = HashMap::new();
        for uuid in uuids {
            *wanted.entry(*uuid).or_default() += 1;
        }
        let mut found: HashMap<Uuid, (BundleRecord, Permission)> = fetched
            .into_records()
            .map(|(record, level)| {
                let permission = self.permission(viewer, record.bundle.owner_id.as_ref(), level);
                (record.bundle.uuid, (record, permission))
            })
            .collect();
        // Cloned only where a bundle is asked for again.
        let take = |uuid: &Uuid| {
            let times = wanted.get_mut(uuid)?;
            *times -= 1;
            if *times == 0 {
                found.remove(uuid)
            } else {
                found.get(uuid).cloned()
            }
        };
        Ok(uuids.iter().filter_map(take).collect())
    }

    /// The bundles that exist, in the order asked for, duplicates kept.
    pub async fn bundles(&self, uuids: &[Uuid]) -> Result<Vec<BundleRecord>> {
        let found = self.bundles_by_uuid(uuids).await?;
        Ok(uuids.iter().filter_map(|uuid| found.get(uuid).cloned()).collect())
    }

    /// The same by uuid; missing ones are absent.
    pub async fn bundles_by_uuid(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleRecord>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        fetch(&mut self.db.once().await?, uuids).await
    }

    /// State of each bundle; missing ones are absent.
    pub async fn bundle_states(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleState>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT `uuid`, `state` FROM `bundle` WHERE `uuid` IN {in}";
        let rows = self.db.once().await?.all_in(sql, &[], uuids, &[]).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.uuid()?, row.state()?)))
            .collect()
    }

    /// Name of each bundle; missing ones are absent.
    pub async fn bundle_names(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        names(&mut self.db.once().await?, uuids).await
    }

    /// Owner of each bundle; missing bundles are absent.
    pub async fn bundle_owners(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Option<UserId>>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT `uuid`, `owner_id` FROM `bundle` WHERE `uuid` IN {in}";
        let rows = self.db.once().await?.all_in(sql, &[], uuids, &[]).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.uuid()?, row.opt_user_id()?)))
            .collect()
    }

    /// Uuids of all bundles in one of these states (and of this type), in order of creation.
    pub async fn bundles_in_states(
        &self,
        states: &[BundleState],
        bundle_type: Option<BundleType>,
    ) -> Result<Vec<Uuid>> {
        let condition = if bundle_type.is_some() {
            " AND `bundle_type` = ?"
        } else {
            ""
        };
        let sql = format!("SELECT `id`, `uuid` FROM `bundle` WHERE `state` IN {{in}}{condition}");
        let after: Vec<Value> = bundle_type.into_iter().map(Value::from).collect();
        let rows = self.db.once().await?.all_in(&sql, &[], states, &after).await?;
        let mut found: Vec<(i64, Uuid)> = rows
            .into_iter()
            .map(|mut row| Ok((row.int()?, row.uuid()?)))
            .collect::<Result<_>>()?;
        found.sort_unstable();
        found.dedup();
        Ok(found.into_iter().map(|(_, uuid)| uuid).collect())
    }
}

pub(crate) async fn fetch_one(tx: &mut Tx, uuid: Uuid) -> Result<BundleRecord> {
    fetch(tx, &[uuid])
        .await?
        .remove(&uuid)
        .ok_or_else(|| super::not_found(uuid))
}

pub(crate) async fn fetch(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleRecord>> {
    let mut fetched = Fetched::default();
    let sql = format!("{} {METADATA_AND_DEPENDENCIES}", bundle_rows("NULL"));
    tx.each_in(&sql, &[], uuids, LISTS, &mut |row| fetched.take(row))
        .await?;
    Ok(fetched
        .into_records()
        .map(|(record, _)| (record.bundle.uuid, record))
        .collect())
}

/// Bundles, their metadata and their dependencies with name and state of the parents: one statement per 500 bundles, so
/// that they agree with each other. The first column says what a row is. Metadata, which are most of the rows, have three
/// columns of their own; in the others texts are cast, because columns of old databases may differ in collation.
fn bundle_rows(permission: &str) -> String {
    format!(
        "SELECT 0, `b`.`id`, NULL, NULL, NULL, CAST(`b`.`uuid` AS CHAR), CAST(`b`.`bundle_type` AS CHAR), CAST(`b`.`command` AS CHAR), \
         CAST(`b`.`state` AS CHAR), CAST(`b`.`owner_id` AS CHAR), CAST(`b`.`frozen` AS CHAR), \
         CAST(`b`.`storage_type` AS CHAR), `b`.`is_anonymous`, `b`.`is_dir`, {permission} \
         FROM `bundle` `b` WHERE `b`.`uuid` IN {{in}}"
    )
}

const METADATA_AND_DEPENDENCIES: &str = "UNION ALL \
    SELECT 1, `m`.`id`, `m`.`bundle_uuid`, `m`.`metadata_key`, `m`.`metadata_value`, \
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
    FROM `bundle_metadata` `m` WHERE `m`.`bundle_uuid` IN {in} \
    UNION ALL \
    SELECT 2, `d`.`id`, NULL, NULL, NULL, CAST(`d`.`child_uuid` AS CHAR), CAST(`d`.`child_path` AS CHAR), CAST(`d`.`parent_path` AS CHAR), \
    CAST(`p`.`state` AS CHAR), CAST(`d`.`parent_uuid` AS CHAR), \
    (SELECT CAST(`n`.`metadata_value` AS CHAR) FROM `bundle_metadata` `n` WHERE `n`.`bundle_uuid` = `p`.`uuid` \
    AND `n`.`metadata_key` = 'name' ORDER BY `n`.`id` DESC LIMIT 1), NULL, NULL, NULL, NULL \
    FROM `bundle_dependency` `d` LEFT JOIN `bundle` `p` ON `p`.`uuid` = `d`.`parent_uuid` WHERE `d`.`child_uuid` IN {in}";

/// Columns that only rows of metadata fill: uuid, key, text.
const METADATA_COLUMNS: usize = 3;

/// The lists in that statement.
const LISTS: usize = 3;

/// What has arrived of that statement, in any order.
#[derive(Default)]
struct Fetched {
    /// With the level in the last column.
    bundles: HashMap<Uuid, (BundleRecord, Option<i64>)>,
    /// Numbers of rows, keys and texts.
    metadata: HashMap<Uuid, Vec<(i64, String, String)>>,
    dependencies: HashMap<Uuid, Vec<(i64, Dependency, ParentInfo)>>,
}

impl Fetched {
    fn take(&mut self, mut row: Row) -> Result<()> {
        let (part, id) = (row.int()?, row.int()?);
        if part == 1 {
            let rows = self.metadata.entry(row.uuid()?).or_default();
            rows.push((id, row.text()?, row.text()?));
            return Ok(());
        }
        for _ in 0..METADATA_COLUMNS {
            row.value()?;
        }
        if part == 0 {
            self.take_bundle(id, &mut row)
        } else {
            self.take_dependency(id, &mut row)
        }
    }

    fn take_bundle(&mut self, id: i64, row: &mut Row) -> Result<()> {
        let bundle = Bundle {
            uuid: row.uuid()?,
            bundle_type: row.bundle_type()?,
            command: row.opt_text()?,
            state: row.state()?,
            owner_id: row.opt_user_id()?,
            frozen: row.opt_time()?,
            storage_type: row.opt_text()?.filter(|kind| !kind.is_empty()),
            is_anonymous: row.flag()?,
            is_dir: row.opt_flag()?,
            metadata: Metadata::new(),
            dependencies: Vec::new(),
        };
        let level = row.opt_int()?;
        let (uuid, parents) = (bundle.uuid, Vec::new());
        self.bundles.insert(uuid, (BundleRecord { id, bundle, parents }, level));
        Ok(())
    }

    fn take_dependency(&mut self, id: i64, row: &mut Row) -> Result<()> {
        let child_uuid = row.uuid()?;
        let (child_path, parent_path) = (row.text()?, row.text()?);
        let state = row.opt_text()?;
        let Some(parent_uuid) = row.opt_uuid()? else {
            return Ok(());
        };
        let dependency = Dependency {
            child_uuid,
            child_path,
            parent_uuid,
            parent_path,
        };
        // A state no version knows counts as failed, but only a bundle that exists has one.
        let state = state.map(|state| state.parse().unwrap_or(BundleState::Failed));
        let name = row.opt_text()?;
        let rows = self.dependencies.entry(child_uuid).or_default();
        rows.push((id, dependency, ParentInfo { name, state }));
        Ok(())
    }

    /// The bundles, each with the level in its last column.
    fn into_records(mut self) -> impl Iterator<Item = (BundleRecord, Option<i64>)> {
        self.bundles.into_values().map(move |(mut record, level)| {
            let uuid = record.bundle.uuid;
            // Bundles that are asked for twice in different chunks bring their rows twice.
            let mut rows = self.metadata.remove(&uuid).unwrap_or_default();
            rows.sort_unstable_by_key(|(id, ..)| *id);
            rows.dedup_by_key(|(id, ..)| *id);
            let rows = rows.into_iter().map(|(_, key, text)| (key, text));
            record.bundle.metadata = Metadata::from_rows(record.bundle.bundle_type, rows);
            let mut rows = self.dependencies.remove(&uuid).unwrap_or_default();
            rows.sort_by_key(|(id, ..)| *id);
            rows.dedup_by_key(|(id, ..)| *id);
            for (_, dependency, parent) in rows {
                record.bundle.dependencies.push(dependency);
                record.parents.push(parent);
            }
            (record, level)
        })
    }
}

/// Names by uuid; the last row of several wins.
pub(crate) async fn names(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let sql = "SELECT `bundle_uuid`, `metadata_value` FROM `bundle_metadata` \
        WHERE `bundle_uuid` IN {in} AND `metadata_key` = 'name' ORDER BY `id`";
    let rows = tx.all_in(sql, &[], uuids, &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.uuid()?, row.text()?))).collect()
}
