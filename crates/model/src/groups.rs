//! Groups and their members (data-model section 8).

use std::collections::HashMap;

use domain::spec::GroupSpec;
use domain::{Error, Result, UserId, Uuid, name};

use crate::Model;
use crate::db::{Row, Tx, Value, params};
use crate::password::random_uuid;
use crate::users::active_user;

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

/// A group with its members in order of joining, the owner included, those whose accounts are gone last.
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
        let made = self.create_groups(&[group_name], owner_id).await?.pop();
        made.ok_or_else(|| Error::internal("The new group is gone"))
    }

    /// The same for several, all or none.
    pub async fn create_groups(&self, names: &[&str], owner_id: &str) -> Result<Vec<GroupDetails>> {
        for group_name in names {
            name::check(group_name)?;
        }
        let uuids: Vec<Uuid> = names.iter().map(|_| random_uuid()).collect();
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                tx.lock_name("group_name").await?;
                for (group_name, uuid) in names.iter().zip(&uuids) {
                    create(&mut tx, *uuid, group_name, owner_id).await?;
                }
                tx.commit().await
            })
            .await?;
        let mut groups = Vec::with_capacity(uuids.len());
        for uuid in uuids {
            groups.push(self.group(uuid).await?);
        }
        Ok(groups)
    }

    /// The group that a spec names, if the viewer may change its membership or delete it. 404 for groups the viewer is
    /// not in, 403 for members that are not admins; nobody may change the public group.
    pub async fn administered_group(&self, viewer: &str, spec: &str) -> Result<Group> {
        let group = self.resolve_group(spec, Some(viewer)).await?;
        self.check_group_admin(&group, viewer, spec).await?;
        Ok(group)
    }

    /// 403 unless the viewer may change this group's membership or delete it; `spec` is what the user typed.
    pub async fn check_group_admin(&self, group: &Group, viewer: &str, spec: &str) -> Result<()> {
        let root = self.is_root(Some(viewer));
        if !group.user_defined && root {
            return Err(Error::permission(format!("Cannot modify the public group {spec}.")));
        }
        if root || group.owner_id.as_ref().is_some_and(|owner| *owner == viewer) {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM `user_group` WHERE `group_uuid` = ? AND `user_id` = ? AND `is_admin` = 1";
        let admin = self.db.once().await?.count(sql, params![group.uuid, viewer]).await? > 0;
        if admin && group.user_defined {
            return Ok(());
        }
        let shown = if group.user_defined { spec } else { &group.name };
        Err(Error::permission(format!("You are not the admin of group {shown}.")))
    }

    /// Adds members, or changes their admin flag, all or none. 400 if the owner is among them, 404 if somebody does not
    /// exist.
    pub async fn add_group_members(&self, group: &Group, user_ids: &[&str], is_admin: bool) -> Result<()> {
        refuse_owner(group, user_ids)?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                lock_group(&mut tx, group.uuid).await?;
                for user_id in user_ids {
                    if active_user(&mut tx, "`u`.`user_id` = ?", params![*user_id])
                        .await?
                        .is_none()
                    {
                        return Err(Error::not_found(format!("User {user_id} not found")));
                    }
                    set_member(&mut tx, group.uuid, user_id, is_admin).await?;
                }
                tx.commit().await
            })
            .await
    }

    /// Removes members, also former ones. 400 if the owner is among them.
    pub async fn remove_group_members(&self, group: &Group, user_ids: &[&str]) -> Result<()> {
        refuse_owner(group, user_ids)?;
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                for table in ["user_group", "former_member"] {
                    let sql = format!("DELETE FROM `{table}` WHERE `group_uuid` = ? AND `user_id` IN {{in}}");
                    tx.run_in(&sql, &[group.uuid.into()], user_ids, &[]).await?;
                }
                tx.commit().await
            })
            .await
    }

    /// Deletes a group with its memberships and permissions.
    pub async fn delete_group(&self, uuid: Uuid) -> Result<()> {
        self.delete_groups(&[uuid]).await
    }

    /// The same for several, all or none. 404 naming the first that does not exist.
    pub async fn delete_groups(&self, uuids: &[Uuid]) -> Result<()> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                for uuid in uuids {
                    delete(&mut tx, *uuid).await?;
                }
                tx.commit().await
            })
            .await
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

async fn create(tx: &mut Tx, uuid: Uuid, group_name: &str, owner_id: &str) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM `group` WHERE `name` = ?";
    if tx.count(sql, params![group_name]).await? > 0 {
        return Err(Error::conflict(format!("Group with name {group_name} already exists")));
    }
    tx.run(
        "INSERT INTO `group` (`uuid`, `name`, `user_defined`, `owner_id`) VALUES (?, ?, 1, ?)",
        params![uuid, group_name, owner_id],
    )
    .await?;
    set_member(tx, uuid, owner_id, true).await
}

async fn delete(tx: &mut Tx, uuid: Uuid) -> Result<()> {
    lock_group(tx, uuid).await?;
    for table in [
        "group_bundle_permission",
        "group_object_permission",
        "user_group",
        "former_member",
    ] {
        tx.run(format!("DELETE FROM `{table}` WHERE `group_uuid` = ?"), params![uuid])
            .await?;
    }
    tx.run(
        "UPDATE `worker` SET `group_uuid` = NULL WHERE `group_uuid` = ?",
        params![uuid],
    )
    .await?;
    tx.run("DELETE FROM `group` WHERE `uuid` = ?", params![uuid])
        .await
        .map(drop)
}

/// 404 if the group is gone; nobody deletes it before the transaction ends.
async fn lock_group(tx: &mut Tx, uuid: Uuid) -> Result<()> {
    let sql = format!("SELECT 1 FROM `group` WHERE `uuid` = ?{}", tx.engine().for_update());
    tx.first(sql, params![uuid])
        .await?
        .map(drop)
        .ok_or_else(|| not_found(uuid))
}

/// An account that is being deleted stays in its groups as a former member.
pub(crate) async fn leave_groups(tx: &mut Tx, user_id: &str) -> Result<()> {
    let ignore = tx.engine().insert_ignore();
    let sql = format!(
        "{ignore} `former_member` (`group_uuid`, `user_id`, `is_admin`) \
         SELECT `group_uuid`, `user_id`, COALESCE(`is_admin`, 0) FROM `user_group` WHERE `user_id` = ?"
    );
    tx.run(sql, params![user_id]).await?;
    tx.run("DELETE FROM `user_group` WHERE `user_id` = ?", params![user_id])
        .await
        .map(drop)
}

async fn members(tx: &mut Tx, groups: &[Uuid]) -> Result<HashMap<Uuid, Vec<GroupMember>>> {
    let present = "SELECT `m`.`group_uuid`, `m`.`user_id`, `u`.`user_name`, `m`.`is_admin` FROM `user_group` `m` \
        LEFT JOIN `user` `u` ON `u`.`user_id` = `m`.`user_id` WHERE `m`.`group_uuid` IN {in} ORDER BY `m`.`id`";
    let former = "SELECT `m`.`group_uuid`, `m`.`user_id`, `u`.`user_name`, `m`.`is_admin` FROM `former_member` `m` \
        LEFT JOIN `user` `u` ON `u`.`user_id` = `m`.`user_id` \
        WHERE `m`.`group_uuid` IN {in} AND `u`.`user_id` IS NULL ORDER BY `m`.`user_id`";
    let mut rows = tx.all_in(present, &[], groups, &[]).await?;
    rows.extend(tx.all_in(former, &[], groups, &[]).await?);
    let mut members: HashMap<Uuid, Vec<GroupMember>> = HashMap::new();
    for mut row in rows {
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
