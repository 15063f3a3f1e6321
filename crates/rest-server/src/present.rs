//! Database records as resources: which attributes each viewer sees and how they are written.

use api::bundles::{BundleAttributes, DisplayMetadata, ParentFacts, PermissionAttributes};
use api::people::{GroupAttributes, UserFacts};
use api::worksheets::{WorksheetAttributes, WorksheetSummary};
use api::{Resource, kind};
use domain::worksheet::PlacedItem;
use domain::{Metadata, Permission, Uuid};
use model::{BundleRecord, GroupDetails, GroupPermission, User, Worksheet, WorksheetRow};
use serde_json::{Value, json};

pub use api::people::UserView;

/// An account.
pub fn user(user: &User, view: UserView) -> Resource {
    let facts = UserFacts {
        user_name: user.user_name.clone(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        affiliation: user.affiliation.clone(),
        url: user.url.clone(),
        date_joined: Some(user.date_joined),
        avatar_id: user.avatar_id.clone(),
        has_access: Some(user.has_access),
        email: Some(user.email.clone()),
        notifications: user.notifications,
        last_login: user.last_login,
        is_verified: user.is_verified,
        quota: user.quota,
    };
    Resource::new(kind::USERS, user.user_id.as_str(), facts.attributes(view))
}

/// What is known about a bundle besides its record. Relationships that are `None` are left out.
#[derive(Clone, Debug, Default)]
pub struct BundleExtras {
    /// Bundles that depend on it and that the viewer can read.
    pub children: Option<Vec<Uuid>>,
    /// Worksheets that show it and that the viewer can read.
    pub host_worksheets: Option<Vec<Uuid>>,
    /// Ids of its permission rows.
    pub group_permissions: Option<Vec<i64>>,
    /// Add the description of the metadata fields.
    pub display_metadata: bool,
    /// The viewer is root.
    pub is_root: bool,
}

/// A bundle as a viewer with `permission` sees it; without any it is a placeholder.
pub fn bundle(record: BundleRecord, permission: Permission, extras: &BundleExtras) -> Resource {
    let uuid = record.bundle.uuid;
    if permission == Permission::None {
        let attributes = BundleAttributes::private(uuid);
        return Resource::new(kind::BUNDLES, uuid.as_str(), attributes).to_one("owner", kind::USERS, None);
    }
    let parents = parent_facts(&record);
    let mut bundle = record.bundle;
    bundle.hide_from(permission, extras.is_root);
    let (bundle_type, state, owner) = (bundle.bundle_type, bundle.state, bundle.owner_id.clone());
    let mut attributes = BundleAttributes::new(bundle, permission, &parents);
    make_ascii(&mut attributes.metadata);
    let mut resource =
        Resource::new(kind::BUNDLES, uuid.as_str(), attributes).to_one("owner", kind::USERS, owner.as_deref());
    if let Some(children) = &extras.children {
        resource = resource.to_many("children", kind::BUNDLES, children.iter().map(Uuid::as_str));
    }
    if let Some(worksheets) = &extras.host_worksheets {
        resource = resource.to_many("host_worksheets", kind::WORKSHEETS, worksheets.iter().map(Uuid::as_str));
    }
    if let Some(ids) = &extras.group_permissions {
        resource = resource.to_many(
            "group_permissions",
            kind::BUNDLE_PERMISSIONS,
            ids.iter().map(ToString::to_string),
        );
    }
    if extras.display_metadata {
        resource = resource.with_meta(DisplayMetadata::new(bundle_type, Some(state)));
    }
    resource
}

/// What is known about the parents of a bundle.
pub fn parent_facts(record: &BundleRecord) -> ParentFacts {
    let parents = record.bundle.dependencies.iter().zip(&record.parents);
    parents
        .filter_map(|(dependency, parent)| Some((dependency.parent_uuid, (parent.name.clone()?, parent.state?))))
        .collect()
}

/// Metadata for output; what is not ASCII in old rows reads as `?`.
fn make_ascii(metadata: &mut Metadata) {
    for value in metadata.0.values_mut() {
        if let Value::String(text) = value
            && !text.is_ascii()
        {
            *text = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
    }
}

/// A bundle where only its name matters.
pub fn named_bundle(uuid: Uuid, name: &str) -> Resource {
    Resource::new(
        kind::BUNDLES,
        uuid.as_str(),
        json!({"uuid": uuid, "metadata": {"name": name}}),
    )
}

/// A worksheet where only its name matters.
pub fn named_worksheet(uuid: Uuid, name: &str) -> Resource {
    Resource::new(kind::WORKSHEETS, uuid.as_str(), json!({"uuid": uuid, "name": name}))
}

/// A permission row of a bundle or worksheet; `of` is `bundle-permissions` or `worksheet-permissions`.
pub fn group_permission(of: &'static str, row: &GroupPermission) -> Resource {
    let attributes = PermissionAttributes::new(Some(row.group_name.clone()), row.permission);
    Resource::new(of, row.id.to_string(), attributes).to_one("group", kind::GROUPS, Some(row.group_uuid.as_str()))
}

/// A worksheet as fetched alone; items and permission rows are added by the caller.
pub fn worksheet(worksheet: &Worksheet, permission: Permission, items: Option<&[PlacedItem]>) -> Resource {
    let attributes = WorksheetAttributes {
        uuid: worksheet.uuid,
        name: worksheet.name.clone(),
        title: worksheet.title.clone(),
        frozen: worksheet.frozen,
        is_anonymous: worksheet.is_anonymous,
        tags: worksheet.tags.clone(),
        date_created: worksheet.date_created,
        date_last_modified: worksheet.date_last_modified,
        last_item_id: items.map(|items| items.iter().map(|item| item.id).max().unwrap_or(-1)),
        source_version: items.map(|items| model::source_version(items.iter().map(|placed| &placed.item))),
        permission: Some(permission),
        permission_spec: Some(permission.to_string()),
    };
    let owner = worksheet
        .owner_id
        .as_deref()
        .filter(|_| !worksheet.is_anonymous || permission == Permission::All);
    Resource::new(kind::WORKSHEETS, worksheet.uuid.as_str(), attributes).to_one("owner", kind::USERS, owner)
}

/// A worksheet in a list. `reveal`: the viewer may know owner and groups although the worksheet is anonymous.
pub fn listed_worksheet(row: &WorksheetRow, groups: &[GroupPermission], reveal: bool) -> Resource {
    let attributes = WorksheetSummary {
        uuid: row.uuid,
        name: row.name.clone(),
        title: row.title.clone(),
        frozen: row.frozen,
        date_last_modified: row.date_last_modified,
    };
    let owner = row.owner_id.as_deref().filter(|_| reveal);
    Resource::new(kind::WORKSHEETS, row.uuid.as_str(), attributes)
        .to_one("owner", kind::USERS, owner)
        .to_many(
            "group_permissions",
            kind::WORKSHEET_PERMISSIONS,
            groups.iter().map(|row| row.id.to_string()),
        )
}

/// A group; `members` adds its administrators and members, without the owner.
pub fn group(details: &GroupDetails, user_defined: bool, members: bool) -> Resource {
    let group = &details.group;
    let attributes = GroupAttributes {
        name: group.name.clone(),
        user_defined: user_defined.then_some(group.user_defined),
    };
    let resource = Resource::new(kind::GROUPS, group.uuid.as_str(), attributes).to_one(
        "owner",
        kind::USERS,
        group.owner_id.as_deref(),
    );
    if !members {
        return resource;
    }
    let listed = |admin: bool| {
        let chosen = details
            .members
            .iter()
            .filter(move |member| member.is_admin == admin && Some(&member.user_id) != details.group.owner_id.as_ref());
        chosen.map(|member| member.user_id.to_string())
    };
    resource
        .to_many("admins", kind::USERS, listed(true))
        .to_many("members", kind::USERS, listed(false))
}
