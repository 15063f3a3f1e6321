//! Children, host worksheets, and runs that did the same before (data-model section 17).

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{Result, Uuid};

use super::HostWorksheet;
use crate::Model;
use crate::db::{Tx, params};

impl Model {
    /// Bundles that depend on each of these directly, each once, oldest first.
    pub async fn children(&self, uuids: &[Uuid]) -> Result<HashMap<Uuid, Vec<Uuid>>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut tx = self.db.read().await?;
        let mut found: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (parent, child) in child_pairs(&mut tx, uuids).await? {
            found.entry(parent).or_default().push(child);
        }
        Ok(found)
    }

    /// The given bundles in order, then everything that depends on them, level by level down to `depth` levels
    /// (none: all).
    pub async fn self_and_descendants(&self, uuids: &[Uuid], depth: Option<u32>) -> Result<Vec<Uuid>> {
        self_and_descendants(&mut self.db.read().await?, uuids, depth).await
    }

    /// Every worksheet that shows a bundle and that the viewer may read, by row id.
    pub async fn host_worksheets(
        &self,
        viewer: Option<&str>,
        uuids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<HostWorksheet>>> {
        let mut hosts: HashMap<Uuid, BTreeMap<i64, HostWorksheet>> = HashMap::new();
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        let root = self.is_root(viewer);
        let readable = if root {
            ""
        } else {
            " AND (`w`.`owner_id` = ? OR `w`.`uuid` IN (SELECT `p`.`object_uuid` FROM `group_object_permission` `p` \
             WHERE `p`.`permission` >= 1 AND (`p`.`group_uuid` = ? OR `p`.`group_uuid` IN \
             (SELECT `m`.`group_uuid` FROM `user_group` `m` WHERE `m`.`user_id` = ?))))"
        };
        let viewer = viewer.unwrap_or("");
        // Nobody has the empty user id, so an anonymous viewer owns nothing and is in no group but the public one.
        let after = if root {
            Vec::new()
        } else {
            params![viewer, self.public_group(), viewer]
        };
        let sql = format!(
            "SELECT DISTINCT `i`.`bundle_uuid`, `w`.`id`, `w`.`uuid`, `w`.`name` FROM `worksheet_item` `i` \
             JOIN `worksheet` `w` ON `w`.`uuid` = `i`.`worksheet_uuid` WHERE `i`.`bundle_uuid` IN {{in}}{readable}"
        );
        for mut row in self.db.once().await?.all_in(&sql, &[], uuids, &after).await? {
            let (bundle, id) = (row.uuid()?, row.int()?);
            hosts.entry(bundle).or_default().insert(
                id,
                HostWorksheet {
                    uuid: row.uuid()?,
                    name: row.text()?,
                },
            );
        }
        Ok(hosts
            .into_iter()
            .map(|(bundle, by_id)| (bundle, by_id.into_values().collect()))
            .collect())
    }

    /// Uuids of the bundles of this owner with exactly this command and exactly these dependencies
    /// (`child_path`, parent), oldest first.
    pub async fn memoized(&self, owner_id: &str, command: &str, dependencies: &[(String, Uuid)]) -> Result<Vec<Uuid>> {
        let mut tx = self.db.read().await?;
        let sql = "SELECT `uuid`, `command` FROM `bundle` WHERE `command_key` = ? AND `owner_id` = ? AND `command` = ? \
            ORDER BY `id`";
        // What the indexed beginning of the command must be.
        let beginning: String = command.chars().take(191).collect();
        let mut candidates = Vec::new();
        for mut row in tx.all(sql, params![beginning, owner_id, command]).await? {
            let uuid = row.uuid()?;
            if row.text()? == command {
                candidates.push(uuid); // the column compares without regard to case, commands do not
            }
        }
        let sql =
            "SELECT `child_uuid`, `child_path`, `parent_uuid` FROM `bundle_dependency` WHERE `child_uuid` IN {in}";
        let mut have: HashMap<Uuid, Vec<(String, String)>> = HashMap::new();
        let mut unique = candidates.clone();
        unique.dedup();
        for mut row in tx.all_in(sql, &[], &unique, &[]).await? {
            have.entry(row.uuid()?).or_default().push((row.text()?, row.text()?));
        }
        let wanted: HashSet<(String, String)> = dependencies
            .iter()
            .map(|(path, parent)| (path.clone(), parent.to_string()))
            .collect();
        candidates.retain(|uuid| {
            let rows = have.remove(uuid).unwrap_or_default();
            // A padded IN list may repeat no rows: each row comes once per statement.
            rows.len() == dependencies.len() && rows.iter().all(|row| wanted.contains(row))
        });
        Ok(candidates)
    }
}

/// (parent, child) pairs, each once, by age of the child.
async fn child_pairs(tx: &mut Tx, parents: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    let sql = "SELECT DISTINCT `b`.`id`, `d`.`parent_uuid`, `d`.`child_uuid` FROM `bundle_dependency` `d` \
        JOIN `bundle` `b` ON `b`.`uuid` = `d`.`child_uuid` WHERE `d`.`parent_uuid` IN {in}";
    let rows = tx.all_in(sql, &[], parents, &[]).await?;
    let mut pairs: Vec<(i64, Uuid, Uuid)> = rows
        .into_iter()
        .map(|mut row| Ok((row.int()?, row.uuid()?, row.uuid()?)))
        .collect::<Result<_>>()?;
    pairs.sort_unstable();
    pairs.dedup();
    Ok(pairs.into_iter().map(|(_, parent, child)| (parent, child)).collect())
}

pub(crate) async fn self_and_descendants(tx: &mut Tx, uuids: &[Uuid], depth: Option<u32>) -> Result<Vec<Uuid>> {
    let mut seen = HashSet::new();
    let mut found: Vec<Uuid> = uuids.iter().copied().filter(|uuid| seen.insert(*uuid)).collect();
    let mut level = found.clone();
    let mut levels = 0;
    while !level.is_empty() && depth.is_none_or(|depth| levels < depth) {
        let pairs = child_pairs(tx, &level).await?;
        level = pairs
            .into_iter()
            .map(|(_, child)| child)
            .filter(|child| seen.insert(*child))
            .collect();
        found.extend(&level);
        levels += 1;
    }
    Ok(found)
}
