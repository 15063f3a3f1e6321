//! Who may do what with bundles and worksheets (data-model section 7).

use std::collections::HashMap;

use domain::permission::{self, Viewer};
use domain::{Error, Permission, Result, UserId, Uuid};

use crate::Model;
use crate::db::{Tx, Value, params};
use crate::users::active_user;

/// The two kinds of objects that carry permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Bundle,
    Worksheet,
}

/// The permission of one group on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPermission {
    pub id: i64,
    pub object_uuid: Uuid,
    pub group_uuid: Uuid,
    pub group_name: String,
    pub permission: Permission,
}

/// A permission to set.
#[derive(Clone, Debug)]
pub struct PermissionChange {
    pub object: Uuid,
    /// Group spec: uuid, prefix or name.
    pub group: String,
    pub permission: Permission,
}

impl ObjectKind {
    /// The table of the objects.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Worksheet => "worksheet",
        }
    }

    /// The error about an object that does not exist.
    fn not_found(self, uuid: Uuid) -> Error {
        Error::not_found(match self {
            Self::Bundle => format!("Bundle {uuid} not found"),
            Self::Worksheet => format!("Could not find worksheet with uuid {uuid}"),
        })
    }

    /// The table of the permission rows.
    pub(crate) const fn permission_table(self) -> &'static str {
        match self {
            Self::Bundle => "group_bundle_permission",
            Self::Worksheet => "group_object_permission",
        }
    }
}

impl Model {
    /// The viewer's effective permission on each object, parallel to `uuids`; none for objects that do not exist.
    pub async fn permissions_of(
        &self,
        kind: ObjectKind,
        viewer: Option<&str>,
        uuids: &[Uuid],
    ) -> Result<Vec<Permission>> {
        if uuids.is_empty() {
            return Ok(Vec::new());
        }
        self.permissions_in(&mut self.db.once().await?, kind, viewer, uuids)
            .await
    }

    /// An expression for the strongest permission on an object that a group of the viewer has, and its values.
    pub(crate) fn level_of(&self, object: &str, kind: ObjectKind, viewer: Option<&str>) -> (String, Vec<Value>) {
        if self.is_root(viewer) {
            return ("NULL".to_owned(), Vec::new());
        }
        let level = format!(
            "(SELECT MAX(`p`.`permission`) FROM `{}` `p` WHERE `p`.`object_uuid` = {object}.`uuid` \
             AND (`p`.`group_uuid` = ? OR `p`.`group_uuid` IN \
             (SELECT `m`.`group_uuid` FROM `user_group` `m` WHERE `m`.`user_id` = ?)))",
            kind.permission_table()
        );
        (level, params![self.public_group(), viewer.unwrap_or("")])
    }

    /// What a viewer may do with an object that exists, from its owner and from that level.
    pub(crate) fn permission(&self, viewer: Option<&str>, owner: Option<&UserId>, level: Option<i64>) -> Permission {
        // An object without owner is not owned by somebody without id.
        let owns = matches!((owner, viewer), (Some(owner), Some(viewer)) if *owner == viewer);
        if owns || self.is_root(viewer) {
            Permission::All
        } else {
            Permission::from_level(level.unwrap_or(0))
        }
    }

    pub(crate) async fn permissions_in(
        &self,
        tx: &mut Tx,
        kind: ObjectKind,
        viewer: Option<&str>,
        uuids: &[Uuid],
    ) -> Result<Vec<Permission>> {
        // One statement: the owner of each object and the strongest row of a group the viewer is in.
        let (level, values) = self.level_of("`o`", kind, viewer);
        let sql = format!(
            "SELECT `o`.`uuid`, `o`.`owner_id`, {level} FROM `{}` `o` WHERE `o`.`uuid` IN {{in}}",
            kind.table()
        );
        let mut found: HashMap<Uuid, Permission> = HashMap::new();
        for mut row in tx.all_in(&sql, &values, uuids, &[]).await? {
            let (uuid, owner, level) = (row.uuid()?, row.opt_user_id()?, row.opt_int()?);
            found.insert(uuid, self.permission(viewer, owner.as_ref(), level));
        }
        Ok(uuids
            .iter()
            .map(|uuid| found.get(uuid).copied().unwrap_or_default())
            .collect())
    }

    /// 403 with the standard text unless the viewer has at least `need` on every object; root gets 404 for what does not
    /// exist. An empty list passes.
    pub async fn check_permission(
        &self,
        kind: ObjectKind,
        viewer: Option<&str>,
        uuids: &[Uuid],
        need: Permission,
    ) -> Result<()> {
        if uuids.is_empty() {
            return Ok(());
        }
        self.check_permission_in(&mut self.db.once().await?, kind, viewer, uuids, need)
            .await
    }

    pub(crate) async fn check_permission_in(
        &self,
        tx: &mut Tx,
        kind: ObjectKind,
        viewer: Option<&str>,
        uuids: &[Uuid],
        need: Permission,
    ) -> Result<()> {
        let have = self.permissions_in(tx, kind, viewer, uuids).await?;
        if have.iter().all(|permission| *permission >= need) {
            return Ok(());
        }
        if self.is_root(viewer)
            && let Some((missing, _)) = uuids.iter().zip(&have).find(|(_, have)| **have == Permission::None)
        {
            // Root may do everything with what there is.
            return Err(kind.not_found(*missing));
        }
        let texts: Vec<&str> = uuids.iter().map(Uuid::as_str).collect();
        let user = match viewer {
            Some(id) => active_user(tx, "`u`.`user_id` = ?", params![id]).await?,
            None => None,
        };
        let who = match (&user, viewer) {
            (Some(user), _) => Viewer::User {
                name: &user.user_name,
                id: &user.user_id,
            },
            (None, Some(_)) => Viewer::Vanished,
            (None, None) => Viewer::Anonymous,
        };
        Err(permission::insufficient(who, kind.table(), &texts, &have, need))
    }

    /// All permission rows of each object, ordered by group name. Masking for the viewer is the caller's.
    pub async fn group_permissions(
        &self,
        kind: ObjectKind,
        uuids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<GroupPermission>>> {
        if uuids.is_empty() {
            return Ok(HashMap::new());
        }
        group_permissions(&mut self.db.once().await?, kind, uuids).await
    }

    /// Sets permissions of groups on objects of one kind, as `viewer` with *all* permission on each of them (403); all or
    /// nothing. [`Permission::None`] removes a row. 403 if an object is frozen, 404 if a group or an object does not
    /// exist. Gives the rows in order; the id is 0 where none is left.
    pub async fn set_permissions(
        &self,
        viewer: &str,
        kind: ObjectKind,
        changes: &[PermissionChange],
    ) -> Result<Vec<GroupPermission>> {
        let objects: Vec<Uuid> = changes.iter().map(|change| change.object).collect();
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                self.check_permission_in(&mut tx, kind, Some(viewer), &objects, Permission::All)
                    .await?;
                let mut rows = Vec::with_capacity(changes.len());
                for change in changes {
                    let group = self.resolve_group_in(&mut tx, &change.group, None).await?;
                    let id = set_permission(&mut tx, kind, change.object, group.uuid, change.permission).await?;
                    rows.push(GroupPermission {
                        id: id.unwrap_or_default(),
                        object_uuid: change.object,
                        group_uuid: group.uuid,
                        group_name: group.name,
                        permission: change.permission,
                    });
                }
                tx.commit().await?;
                Ok(rows)
            })
            .await
    }

    /// Sets one permission without asking who wants it. Gives the id of the row, if one is left.
    pub async fn set_permission(
        &self,
        kind: ObjectKind,
        object: Uuid,
        group: Uuid,
        permission: Permission,
    ) -> Result<Option<i64>> {
        self.db
            .retrying(|| async {
                let mut tx = self.db.write().await?;
                let id = set_permission(&mut tx, kind, object, group, permission).await?;
                tx.commit().await?;
                Ok(id)
            })
            .await
    }
}

async fn set_permission(
    tx: &mut Tx,
    kind: ObjectKind,
    object: Uuid,
    group: Uuid,
    permission: Permission,
) -> Result<Option<i64>> {
    refuse_frozen(tx, kind, object).await?;
    // Locked, so that nobody deletes the group meanwhile.
    let sql = format!("SELECT 1 FROM `group` WHERE `uuid` = ?{}", tx.engine().for_update());
    if tx.first(sql, params![group]).await?.is_none() {
        return Err(Error::not_found(format!(
            "Found no group with uuid starting with '{group}'"
        )));
    }
    let table = kind.permission_table();
    let key = "WHERE `object_uuid` = ? AND `group_uuid` = ?";
    if permission == Permission::None {
        tx.run(format!("DELETE FROM `{table}` {key}"), params![object, group])
            .await?;
        return Ok(None);
    }
    set_permission_row(tx, kind, object, group, permission).await?;
    let id = tx
        .count(format!("SELECT `id` FROM `{table}` {key}"), params![object, group])
        .await?;
    Ok(Some(id))
}

pub(crate) async fn set_permission_row(
    tx: &mut Tx,
    kind: ObjectKind,
    object: Uuid,
    group: Uuid,
    permission: Permission,
) -> Result<()> {
    let update = tx
        .engine()
        .on_conflict_update("`object_uuid`, `group_uuid`", &["permission"]);
    let table = kind.permission_table();
    let sql = format!("INSERT INTO `{table}` (`object_uuid`, `group_uuid`, `permission`) VALUES (?, ?, ?){update}");
    tx.run(sql, params![object, group, permission.level()]).await.map(drop)
}

pub(crate) async fn group_permissions(
    tx: &mut Tx,
    kind: ObjectKind,
    uuids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<GroupPermission>>> {
    let sql = format!(
        "SELECT `p`.`id`, `p`.`object_uuid`, `p`.`group_uuid`, `g`.`name`, `p`.`permission` FROM `{}` `p` \
         JOIN `group` `g` ON `g`.`uuid` = `p`.`group_uuid` WHERE `p`.`object_uuid` IN {{in}} ORDER BY `g`.`name`, `p`.`id`",
        kind.permission_table()
    );
    let mut found: HashMap<Uuid, Vec<GroupPermission>> = HashMap::new();
    for mut row in tx.all_in(&sql, &[], uuids, &[]).await? {
        let permission = GroupPermission {
            id: row.int()?,
            object_uuid: row.uuid()?,
            group_uuid: row.uuid()?,
            group_name: row.text()?,
            permission: Permission::from_level(row.int()?),
        };
        found.entry(permission.object_uuid).or_default().push(permission);
    }
    Ok(found)
}

/// Locks the object. 403 if it is frozen, 404 if it does not exist.
pub(crate) async fn refuse_frozen(tx: &mut Tx, kind: ObjectKind, uuid: Uuid) -> Result<()> {
    let name = match kind {
        ObjectKind::Worksheet => "`o`.`name`",
        ObjectKind::Bundle => {
            "(SELECT `m`.`metadata_value` FROM `bundle_metadata` `m` WHERE `m`.`bundle_uuid` = `o`.`uuid` \
             AND `m`.`metadata_key` = 'name' ORDER BY `m`.`id` DESC LIMIT 1)"
        }
    };
    let sql = format!(
        "SELECT CAST(`o`.`frozen` AS CHAR), {name} FROM `{}` `o` WHERE `o`.`uuid` = ?{}",
        kind.table(),
        tx.engine().for_update()
    );
    let Some(mut row) = tx.first(sql, params![uuid]).await? else {
        return Err(kind.not_found(uuid));
    };
    if row.opt_time()?.is_some() {
        let name = row.opt_text()?.unwrap_or_default();
        return Err(Error::permission(format!(
            "Cannot mutate frozen {} {uuid}({name}).",
            kind.table()
        )));
    }
    Ok(())
}
