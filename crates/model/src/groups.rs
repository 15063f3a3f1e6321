//! Groups and their members (data-model section 8).

use domain::{Result, UserId, Uuid};

use crate::Model;

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

impl Model {
    /// Public group + groups the viewer owns or is in; root: public + every user-defined group. By name.
    pub async fn groups(&self, _viewer: &str) -> Result<Vec<GroupDetails>> {
        todo!()
    }

    /// The group with this uuid.
    pub async fn group(&self, _uuid: Uuid) -> Result<GroupDetails> {
        todo!()
    }

    /// Uuids of the groups a viewer is in, the public one included.
    pub async fn groups_of(&self, _viewer: Option<&str>) -> Result<Vec<Uuid>> {
        todo!()
    }

    /// Resolves a group spec (data-model 15.3). `viewer: None` searches all groups, else those visible to the viewer
    /// (root: all).
    pub async fn resolve_group(&self, _spec: &str, _viewer: Option<&str>) -> Result<Group> {
        todo!()
    }

    /// Makes a group whose owner is its first member and admin. 409 if the name is taken.
    pub async fn create_group(&self, _name: &str, _owner_id: &str) -> Result<GroupDetails> {
        todo!()
    }

    /// 403 unless the viewer may change this group's membership or delete it; `spec` is what the user typed.
    pub async fn check_group_admin(&self, _group: &Group, _viewer: &str, _spec: &str) -> Result<()> {
        todo!()
    }

    /// Adds members, or changes their admin flag. 400 if the owner is among them.
    pub async fn add_group_members(&self, _group: &Group, _user_ids: &[&str], _is_admin: bool) -> Result<()> {
        todo!()
    }

    /// Removes members. 400 if the owner is among them.
    pub async fn remove_group_members(&self, _group: &Group, _user_ids: &[&str]) -> Result<()> {
        todo!()
    }

    /// Deletes a group with its memberships and permissions.
    pub async fn delete_group(&self, _uuid: Uuid) -> Result<()> {
        todo!()
    }
}
