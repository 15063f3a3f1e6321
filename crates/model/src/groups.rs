//! Groups and their members (data-model section 8).

use std::collections::HashMap;

use domain::spec::GroupSpec;
use domain::{Error, Result, UserId, Uuid, name};

use crate::Model;
use crate::db::{Row, Tx, Value, params};
use crate::password::random_uuid;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: i64,
    pub uuid: Uuid,
    pub name: String,
    /// False only for the public group.
    pub user_defined: bool,
    pub owner_id: Option<UserId>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub user_id: UserId,
    /// None when the account is gone.
    pub user_name: Option<String>,
    pub is_admin: bool,
}

/// A group with its members in order of joining, the owner included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDetails {
    pub group: Group,
    pub members: Vec<GroupMember>,
}

const GROUP_COLUMNS: &str = "`g`.`id`, `g`.`uuid`, `g`.`name`, `g`.`user_defined`, `g`.`owner_id`";

fn read_group(row: &mut Row) -> Result<Group> {
    Ok(Group {
        id: row.int()?,
        uuid: row.uuid()?,
        name: row.text()?,
        user_defined: row.flag()?,
        owner_id: row.opt_user_id()?,
    })
}

impl Model {
    /// Public group + groups the viewer owns or is in; root: public + every user-defined group. By id.
    pub async fn groups(&self, viewer: &str) -> Result<Vec<GroupDetails>> {
        let mut tx = self.db.read().await?;
        let (condition, values) = self.visible_groups(Some(viewer));
        let sql = format!("SELECT {GROUP_COLUMNS} FROM `group` `g` WHERE {condition} ORDER BY `g`.`id`");
        let rows = tx.all(sql, values).await?;
        let groups: Vec<Group> = rows
            .into_iter()
            .map(|mut row| read_group(&mut row))
            .collect::<Result<_>>()?;
        let uuids: Vec<Uuid> = groups.iter().map(|group| group.uuid).collect();
        let mut members = members(&mut tx, &uuids).await?;
        let details = groups.into_iter().map(|group| GroupDetails {
            members: members.remove(&group.uuid).unwrap_or_default(),
            group,
        });
        Ok(details.collect())
    }

    /// The group with this uuid. 404 if there is none.
    pub async fn group(&self, uuid: Uuid) -> Result<GroupDetails> {
        let mut tx = self.db.read().await?;
        let sql = format!("SELECT {GROUP_COLUMNS} FROM `group` `g` WHERE `g`.`uuid` = ?");
        let row = tx.first(sql, params![uuid]).await?;
        let group = read_group(&mut row.ok_or_else(|| not_found(uuid))?)?;
        let members = members(&mut tx, &[uuid]).await?.remove(&uuid).unwrap_or_default();
        Ok(GroupDetails { group, members })
    }

    /// Uuids of the groups a viewer is in, the public one included.
    pub async fn groups_of(&self, viewer: Option<&str>) -> Result<Vec<Uuid>> {
        let mut uuids = vec![self.public_group()];
        if let Some(viewer) = viewer {
            let sql = "SELECT `group_uuid` FROM `user_group` WHERE `user_id` = ? ORDER BY `id`";
            for mut row in self.db.once().await?.all(sql, params![viewer]).await? {
                uuids.push(row.uuid()?);
            }
        }
        Ok(uuids)
    }

    /// Resolves a group spec (data-model 15.3). `viewer: None` searches all groups, else those visible to the viewer
    /// (root: all).
    pub async fn resolve_group(&self, spec: &str, viewer: Option<&str>) -> Result<Group> {
        let mut tx = self.db.read().await?;
        self.resolve_group_in(&mut tx, spec, viewer).await
    }

    pub(crate) async fn resolve_group_in(&self, tx: &mut Tx, spec: &str, viewer: Option<&str>) -> Result<Group> {
        let (visible, mut values) = match viewer {
            Some(viewer) if !self.is_root(Some(viewer)) => self.visible_groups(Some(viewer)),
            _ => ("1 = 1".to_owned(), Vec::new()),
        };
        let (condition, text, what) = match GroupSpec::parse(spec)? {
            GroupSpec::Uuid(uuid) => ("`g`.`uuid` = ?", uuid.to_string(), "uuid starting with"),
            GroupSpec::Prefix(prefix) => ("`g`.`uuid` LIKE ?", format!("{prefix}%"), "uuid starting with"),
            GroupSpec::Name(name) => ("`g`.`name` = ?", name, "name"),
        };
        values.push(text.clone().into());
        let sql =
            format!("SELECT {GROUP_COLUMNS} FROM `group` `g` WHERE ({visible}) AND {condition} ORDER BY `g`.`id`");
        let rows = tx.all(sql, values).await?;
        let mut groups: Vec<Group> = rows
            .into_iter()
            .map(|mut row| read_group(&mut row))
            .collect::<Result<_>>()?;
        let shown = format!("{what} '{}'", text.trim_end_matches('%'));
        match groups.len() {
            0 => Err(Error::not_found(format!("Found no group with {shown}"))),
            1 => Ok(groups.remove(0)),
            _ => {
                let lines: Vec<String> = groups.iter().map(|group| format!("  uuid={}", group.uuid)).collect();
                Err(Error::usage(format!(
                    "Found multiple groups with {shown}:\n{}",
                    lines.join("\n")
                )))
            }
        }
    }

    /// Makes a group whose owner is its first member and admin. 409 if the name is taken.
    pub async fn create_group(&self, group_name: &str, owner_id: &str) -> Result<GroupDetails> {
        name::check(group_name)?;
        let uuid = random_uuid();
        let mut tx = self.db.write().await?;
        tx.lock_name("group_name").await?;
        if tx
            .count("SELECT COUNT(*) FROM `group` WHERE `name` = ?", params![group_name])
            .await?
            > 0
        {
            return Err(Error::conflict(format!("Group with name {group_name} already exists")));
        }
        tx.run(
            "INSERT INTO `group` (`uuid`, `name`, `user_defined`, `owner_id`) VALUES (?, ?, 1, ?)",
            params![uuid, group_name, owner_id],
        )
        .await?;
        set_member(&mut tx, uuid, owner_id, true).await?;
        tx.commit().await?;
        self.group(uuid).await
    }

    /// 403 unless the viewer may change this group's membership or delete it; `spec` is what the user typed.
    pub async fn check_group_admin(&self, group: &Group, viewer: &str, spec: &str) -> Result<()> {
        if !group.user_defined {
            return Err(Error::permission(format!("Cannot modify the public group {spec}.")));
        }
        if self.is_root(Some(viewer)) || group.owner_id.as_ref().is_some_and(|owner| *owner == viewer) {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM `user_group` WHERE `group_uuid` = ? AND `user_id` = ? AND `is_admin` = 1";
        if self.db.once().await?.count(sql, params![group.uuid, viewer]).await? > 0 {
            return Ok(());
        }
        Err(Error::permission(format!("You are not the admin of group {spec}.")))
    }

    /// Adds members, or changes their admin flag. 400 if the owner is among them.
    pub async fn add_group_members(&self, group: &Group, user_ids: &[&str], is_admin: bool) -> Result<()> {
        refuse_owner(group, user_ids)?;
        let mut tx = self.db.write().await?;
        for user_id in user_ids {
            set_member(&mut tx, group.uuid, user_id, is_admin).await?;
        }
        tx.commit().await
    }

    /// Removes members. 400 if the owner is among them.
    pub async fn remove_group_members(&self, group: &Group, user_ids: &[&str]) -> Result<()> {
        refuse_owner(group, user_ids)?;
        let mut tx = self.db.write().await?;
        let before = params![group.uuid];
        tx.run_in(
            "DELETE FROM `user_group` WHERE `group_uuid` = ? AND `user_id` IN {in}",
            &before,
            user_ids,
            &[],
        )
        .await?;
        tx.commit().await
    }

    /// Deletes a group with its memberships and permissions.
    pub async fn delete_group(&self, uuid: Uuid) -> Result<()> {
        let mut tx = self.db.write().await?;
        for table in ["group_bundle_permission", "group_object_permission", "user_group"] {
            tx.run(format!("DELETE FROM `{table}` WHERE `group_uuid` = ?"), params![uuid])
                .await?;
        }
        tx.run(
            "UPDATE `worker` SET `group_uuid` = NULL WHERE `group_uuid` = ?",
            params![uuid],
        )
        .await?;
        if tx.run("DELETE FROM `group` WHERE `uuid` = ?", params![uuid]).await? == 0 {
            return Err(not_found(uuid));
        }
        tx.commit().await
    }

    /// A condition on `g` for the groups a viewer sees in listings, with its values.
    fn visible_groups(&self, viewer: Option<&str>) -> (String, Vec<Value>) {
        if self.is_root(viewer) {
            return (
                "`g`.`user_defined` = 1 OR `g`.`uuid` = ?".to_owned(),
                params![self.public_group()],
            );
        }
        let condition = "`g`.`uuid` = ? OR `g`.`owner_id` = ? \
            OR `g`.`uuid` IN (SELECT `m`.`group_uuid` FROM `user_group` `m` WHERE `m`.`user_id` = ?)";
        (condition.to_owned(), params![self.public_group(), viewer, viewer])
    }
}

async fn members(tx: &mut Tx, groups: &[Uuid]) -> Result<HashMap<Uuid, Vec<GroupMember>>> {
    let sql = "SELECT `m`.`group_uuid`, `m`.`user_id`, `u`.`user_name`, `m`.`is_admin` FROM `user_group` `m` \
        LEFT JOIN `user` `u` ON `u`.`user_id` = `m`.`user_id` WHERE `m`.`group_uuid` IN {in} ORDER BY `m`.`id`";
    let mut members: HashMap<Uuid, Vec<GroupMember>> = HashMap::new();
    for mut row in tx.all_in(sql, &[], groups, &[]).await? {
        let group = row.uuid()?;
        let member = GroupMember {
            user_id: row.user_id()?,
            user_name: row.opt_text()?,
            is_admin: row.flag()?,
        };
        members.entry(group).or_default().push(member);
    }
    Ok(members)
}

async fn set_member(tx: &mut Tx, group: Uuid, user_id: &str, is_admin: bool) -> Result<()> {
    let update = tx.engine().on_conflict_update("`user_id`, `group_uuid`", &["is_admin"]);
    let sql = format!("INSERT INTO `user_group` (`group_uuid`, `user_id`, `is_admin`) VALUES (?, ?, ?){update}");
    tx.run(sql, params![group, user_id, is_admin]).await.map(drop)
}

fn refuse_owner(group: &Group, user_ids: &[&str]) -> Result<()> {
    match &group.owner_id {
        Some(owner) if user_ids.contains(&owner.as_str()) => Err(Error::usage(format!(
            "Cannot relegate the group owner {owner} of group {}; the owner is always an admin member.",
            group.name
        ))),
        _ => Ok(()),
    }
}

fn not_found(uuid: Uuid) -> Error {
    Error::not_found(format!("Found no group with uuid starting with '{uuid}'"))
}
