//! Reading bundles: a fixed number of statements per 500 bundles.

use std::collections::{HashMap, HashSet};

use domain::{Bundle, BundleState, BundleType, Dependency, Metadata, Result, UserId, Uuid};

use super::{BundleRecord, ParentInfo};
use crate::Model;
use crate::db::{Tx, Value};

impl Model {
    /// One bundle. 404 `Bundle <uuid> not found`.
    pub async fn bundle(&self, uuid: Uuid) -> Result<BundleRecord> {
        fetch_one(&mut self.db.read().await?, uuid).await
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
        fetch(&mut self.db.read().await?, uuids).await
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

/// Five statements per 500 bundles: rows, metadata, dependencies, names and states of the parents.
pub(crate) async fn fetch(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleRecord>> {
    let mut records = rows(tx, uuids).await?;
    let mut metadata = metadata_rows(tx, uuids).await?;
    let dependencies = dependency_rows(tx, uuids).await?;
    let mut parents: Vec<Uuid> = dependencies.iter().map(|dependency| dependency.parent_uuid).collect();
    parents.sort_unstable();
    parents.dedup();
    let known = parent_infos(tx, &parents).await?;
    for dependency in dependencies {
        if let Some(record) = records.get_mut(&dependency.child_uuid) {
            record
                .parents
                .push(known.get(&dependency.parent_uuid).cloned().unwrap_or_default());
            record.bundle.dependencies.push(dependency);
        }
    }
    for (uuid, record) in &mut records {
        let rows = metadata.remove(uuid).unwrap_or_default();
        record.bundle.metadata = Metadata::from_rows(record.bundle.bundle_type, rows);
    }
    Ok(records)
}

async fn rows(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, BundleRecord>> {
    let sql = "SELECT `id`, `uuid`, `bundle_type`, `command`, `state`, `owner_id`, CAST(`frozen` AS CHAR), `is_anonymous`, \
        `storage_type`, `is_dir` FROM `bundle` WHERE `uuid` IN {in}";
    let mut records = HashMap::with_capacity(uuids.len());
    for mut row in tx.all_in(sql, &[], uuids, &[]).await? {
        let id = row.int()?;
        let bundle = Bundle {
            uuid: row.uuid()?,
            bundle_type: row.bundle_type()?,
            command: row.opt_text()?,
            state: row.state()?,
            owner_id: row.opt_user_id()?,
            frozen: row.opt_time()?,
            is_anonymous: row.flag()?,
            storage_type: row.opt_text()?.filter(|kind| !kind.is_empty()),
            is_dir: row.opt_flag()?,
            metadata: Metadata::new(),
            dependencies: Vec::new(),
        };
        records.insert(
            bundle.uuid,
            BundleRecord {
                id,
                bundle,
                parents: Vec::new(),
            },
        );
    }
    Ok(records)
}

async fn metadata_rows(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<(String, String)>>> {
    let sql = "SELECT `bundle_uuid`, `metadata_key`, `metadata_value` FROM `bundle_metadata` \
        WHERE `bundle_uuid` IN {in} ORDER BY `id`";
    let mut found: HashMap<Uuid, Vec<(String, String)>> = HashMap::with_capacity(uuids.len());
    for mut row in tx.all_in(sql, &[], uuids, &[]).await? {
        found.entry(row.uuid()?).or_default().push((row.text()?, row.text()?));
    }
    Ok(found)
}

async fn dependency_rows(tx: &mut Tx, uuids: &[Uuid]) -> Result<Vec<Dependency>> {
    let sql = "SELECT `id`, `child_uuid`, `child_path`, `parent_uuid`, `parent_path` FROM `bundle_dependency` \
        WHERE `child_uuid` IN {in} ORDER BY `id`";
    let mut dependencies = Vec::new();
    let mut seen = HashSet::new();
    for mut row in tx.all_in(sql, &[], uuids, &[]).await? {
        // A uuid that is asked for twice in different chunks must not bring its rows twice.
        if !seen.insert(row.int()?) {
            continue;
        }
        let child_uuid = row.uuid()?;
        let child_path = row.text()?;
        let Some(parent_uuid) = row.opt_uuid()? else { continue };
        dependencies.push(Dependency {
            child_uuid,
            child_path,
            parent_uuid,
            parent_path: row.text()?,
        });
    }
    Ok(dependencies)
}

async fn parent_infos(tx: &mut Tx, parents: &[Uuid]) -> Result<HashMap<Uuid, ParentInfo>> {
    let sql = "SELECT `uuid`, `state` FROM `bundle` WHERE `uuid` IN {in}";
    let mut infos = HashMap::new();
    for mut row in tx.all_in(sql, &[], parents, &[]).await? {
        infos.insert(
            row.uuid()?,
            ParentInfo {
                name: None,
                state: Some(row.state()?),
            },
        );
    }
    for (uuid, name) in names(tx, parents).await? {
        if let Some(info) = infos.get_mut(&uuid) {
            info.name = Some(name);
        }
    }
    Ok(infos)
}

/// Names by uuid; the last row of several wins.
pub(crate) async fn names(tx: &mut Tx, uuids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
    let sql = "SELECT `bundle_uuid`, `metadata_value` FROM `bundle_metadata` \
        WHERE `bundle_uuid` IN {in} AND `metadata_key` = 'name' ORDER BY `id`";
    let rows = tx.all_in(sql, &[], uuids, &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.uuid()?, row.text()?))).collect()
}
