//! Who may do what with bundles and worksheets (data-model section 7).

use std::collections::HashMap;

use domain::{Permission, Result, Uuid};

use crate::Model;

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

impl Model {
    /// The viewer's effective permission on each object, parallel to `uuids`; none for objects that do not exist.
    pub async fn permissions_of(
        &self,
        _kind: ObjectKind,
        _viewer: Option<&str>,
        _uuids: &[Uuid],
    ) -> Result<Vec<Permission>> {
        todo!()
    }

    /// 403 with the standard text unless the viewer has at least `need` on every object. An empty list passes.
    pub async fn check_permission(
        &self,
        _kind: ObjectKind,
        _viewer: Option<&str>,
        _uuids: &[Uuid],
        _need: Permission,
    ) -> Result<()> {
        todo!()
    }

    /// All permission rows of each object, ordered by group name. Masking for the viewer is the caller's.
    pub async fn group_permissions(
        &self,
        _kind: ObjectKind,
        _uuids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<GroupPermission>>> {
        todo!()
    }

    /// Sets the permission of a group on an object; `None` removes it. The caller has checked that the viewer has all.
    /// 403 if the object is frozen, 404 if the group or the object does not exist. Gives the id of the row, if one is left.
    pub async fn set_permission(
        &self,
        _kind: ObjectKind,
        _object: Uuid,
        _group: Uuid,
        _permission: Permission,
    ) -> Result<Option<i64>> {
        todo!()
    }
}
