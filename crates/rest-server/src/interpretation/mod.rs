//! Worksheets as their readers see them: what a page shows, looked up in a fixed number of statements, and a reader of the
//! contents and searches that it needs.

mod reader;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use domain::worksheet::PlacedItem;
use domain::{Permission, UserId, UtcTime, Uuid};
use model::{BundleRecord, GroupPermission, ObjectKind, WorksheetRow};
use serde_json::{Map, Value, json};
use worksheet::{BundleInfo, OwnerNames, Page};

use crate::auth::Viewer;
use crate::error::ApiResult;
use crate::state::AppState;
use reader::permissions;

pub use reader::ServerReader;
pub use values::FileValues;

/// What stands for the name of a worksheet that the viewer may not see.
pub const PRIVATE: &str = "<private>";

/// Looks up everything that items refer to; `reader` learns what is known of the bundles.
pub async fn load_page(
    state: &AppState,
    viewer: &Viewer,
    items: Vec<PlacedItem>,
    reader: &ServerReader,
) -> ApiResult<Page> {
    let uuids = sorted(items.iter().filter_map(|placed| placed.item.bundle_uuid));
    let linked = sorted(items.iter().filter_map(|placed| placed.item.subworksheet_uuid));
    let bundles = async {
        let (records, permissions, hosts) = tokio::try_join!(
            state.model.bundles_by_uuid(&uuids),
            permissions(state, viewer, ObjectKind::Bundle, &uuids),
            state.model.host_worksheets(viewer.id(), &uuids),
        )?;
        let host = |uuid: &Uuid| {
            let host = hosts.get(uuid)?.first()?;
            Some((host.uuid, host.name.as_str()))
        };
        let infos = known_infos(state, viewer, &records, &permissions, host);
        let owners = names_of(state, records.values()).await?;
        reader.know(&uuids, records, &permissions);
        Ok((infos, owners))
    };
    let worksheets = subworksheets(state, viewer, &linked);
    let ((bundles, owners), worksheets) = tokio::try_join!(Box::pin(bundles), Box::pin(worksheets))?;
    let shared = |infos: HashMap<Uuid, BundleInfo>| infos.into_iter().map(|(uuid, info)| (uuid, Arc::new(info)));
    Ok(Page {
        items,
        bundles: shared(bundles).collect(),
        worksheets: shared(worksheets).collect(),
        owners,
    })
}

fn sorted(uuids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    let mut uuids: Vec<Uuid> = uuids.collect();
    uuids.sort_unstable();
    uuids.dedup();
    uuids
}

/// Infos of bundles, private ones for those that the viewer cannot read.
fn known_infos<'a>(
    state: &AppState,
    viewer: &Viewer,
    records: &HashMap<Uuid, BundleRecord>,
    permissions: &HashMap<Uuid, Permission>,
    host: impl Fn(&Uuid) -> Option<(Uuid, &'a str)>,
) -> HashMap<Uuid, BundleInfo> {
    let is_root = viewer.is_root(state);
    let info = |(uuid, record): (&Uuid, &BundleRecord)| {
        let permission = permissions.get(uuid).copied().unwrap_or_default();
        if permission == Permission::None {
            return (*uuid, worksheet::private_info(*uuid));
        }
        let bundle = &record.bundle.seen_with(permission, is_root);
        let parents = bundle.dependencies.iter().zip(&record.parents);
        let parents: HashMap<Uuid, Option<&str>> = parents
            .map(|(dependency, parent)| (dependency.parent_uuid, parent.name.as_deref()))
            .collect();
        let parent_name = |uuid: &Uuid| parents.get(uuid).copied().flatten().map(str::to_owned);
        (
            *uuid,
            worksheet::bundle_info(bundle, permission, parent_name, host(uuid)),
        )
    };
    records.iter().map(info).collect()
}

/// User names of the owners of bundles.
async fn names_of(state: &AppState, records: impl Iterator<Item = &BundleRecord>) -> ApiResult<OwnerNames> {
    let mut ids: Vec<&str> = records.filter_map(|record| record.bundle.owner_id.as_deref()).collect();
    ids.sort_unstable();
    ids.dedup();
    let users: HashMap<UserId, model::User> = if ids.is_empty() {
        HashMap::new()
    } else {
        state.model.users(&ids).await?
    };
    let names = users.into_iter().map(|(id, user)| (id.into(), user.user_name));
    Ok(names.collect())
}

/// Infos of linked worksheets that exist; of unreadable ones nothing but the uuid.
async fn subworksheets(state: &AppState, viewer: &Viewer, uuids: &[Uuid]) -> ApiResult<HashMap<Uuid, BundleInfo>> {
    if uuids.is_empty() {
        return Ok(HashMap::new());
    }
    let (found, permissions) = tokio::try_join!(
        state.model.worksheets(uuids),
        permissions(state, viewer, ObjectKind::Worksheet, uuids),
    )?;
    let reveals = |worksheet: &model::Worksheet| {
        let permission = permissions.get(&worksheet.uuid).copied().unwrap_or_default();
        permission == Permission::All || (permission != Permission::None && !worksheet.is_anonymous)
    };
    let mut owner_ids: Vec<&str> = found
        .values()
        .filter(|worksheet| reveals(worksheet))
        .filter_map(|worksheet| worksheet.owner_id.as_deref())
        .collect();
    owner_ids.sort_unstable();
    owner_ids.dedup();
    let owners = if owner_ids.is_empty() {
        HashMap::new()
    } else {
        state.model.users(&owner_ids).await?
    };
    let info = |(uuid, worksheet): (&Uuid, &model::Worksheet)| {
        let readable = permissions
            .get(uuid)
            .is_some_and(|permission| *permission != Permission::None);
        let owner = worksheet.owner_id.as_ref().filter(|_| reveals(worksheet));
        let info = if readable {
            json!({
                "id": worksheet.id, "uuid": uuid, "name": worksheet.name, "title": worksheet.title,
                "frozen": worksheet.frozen.map(UtcTime::iso_naive), "is_anonymous": worksheet.is_anonymous,
                "owner_id": owner, "owner_name": owner.and_then(|id| owners.get(id)).map(|user| &user.user_name),
                "date_created": worksheet.date_created.map(UtcTime::iso_naive),
                "date_last_modified": worksheet.date_last_modified.map(UtcTime::iso_naive),
                "tags": worksheet.tags, "last_item_id": null, "items": null,
            })
        } else {
            json!({
                "id": null, "uuid": uuid, "name": PRIVATE, "title": null, "frozen": null, "is_anonymous": null,
                "owner_id": null, "owner_name": null, "date_created": null, "date_last_modified": null, "tags": null,
                "last_item_id": null, "items": null,
            })
        };
        (
            *uuid,
            if let Value::Object(info) = info {
                info
            } else {
                Map::new()
            },
        )
    };
    Ok(found.iter().map(info).collect())
}

/// What a worksheet search shows of its results, parallel to them.
pub async fn worksheet_values(state: &AppState, viewer: &Viewer, rows: &[&WorksheetRow]) -> ApiResult<Vec<Value>> {
    let uuids: Vec<Uuid> = rows.iter().map(|row| row.uuid).collect();
    let permissions = permissions(state, viewer, ObjectKind::Worksheet, &uuids).await?;
    let public = state.model.public_group();
    let values = rows.iter().map(|row| {
        let permission = permissions.get(&row.uuid).copied().unwrap_or_default();
        let reveal = !row.is_anonymous || permission == Permission::All;
        let groups = row
            .group_permissions
            .iter()
            .filter(|group| reveal && (viewer.id().is_some() || group.group_uuid == public));
        json!({
            "id": row.id,
            "uuid": row.uuid,
            "name": row.name,
            "title": row.title,
            "frozen": row.frozen.map(UtcTime::iso_naive),
            "owner_id": row.owner_id.as_ref().filter(|_| reveal),
            "owner_name": row.owner_name.as_ref().filter(|_| reveal),
            "date_last_modified": row.date_last_modified.map(UtcTime::iso_naive),
            "group_permissions": groups.map(|row| group_value(row, false)).collect::<Vec<_>>(),
        })
    });
    Ok(values.collect())
}

/// A permission row; `spec` adds the permission in words.
pub fn group_value(row: &GroupPermission, spec: bool) -> Value {
    let mut value = json!({
        "id": row.id, "group_uuid": row.group_uuid, "group_name": row.group_name, "permission": row.permission.level(),
    });
    if spec {
        value["permission_spec"] = row.permission.as_str().into();
    }
    value
}
