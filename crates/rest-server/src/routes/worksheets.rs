//! Worksheets: reading, listing, creating, changing, deleting. Their items are in [`super::items`].

use std::collections::HashMap;

use api::worksheets::ItemAttributes;
use api::{Document, Resource, kind};
use axum::extract::State;
use axum::response::Response;
use domain::search::WorksheetQuery;
use domain::worksheet::{ItemType, PlacedItem};
use domain::{Permission, UserId, Uuid};
use model::{GroupPermission, NewWorksheet, ObjectKind, Worksheet, WorksheetRow, WorksheetUpdate};
use serde_json::{Value, json};

use super::bundles::fetch::{Wanted, present_all};
use super::included_users;
use super::items::{version_of, with_version};
use crate::auth::{LoginProtected, Protected, Viewer};
use crate::error::{ApiError, ApiResult, redirect};
use crate::input::{JsonBody, ResourceInput};
use crate::interpretation::PRIVATE;
use crate::openapi::{Failures, ForceQuery, IncludeQuery, LandingQuery, UuidPath, WorksheetsQuery, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::state::AppState;
use crate::{present, respond};
use api::openapi;

const INCLUDES: [&str; 6] = [
    "owner",
    "group_permissions",
    "items",
    "items.bundle",
    "items.bundle.owner",
    "items.subworksheet",
];

/// `GET /worksheets/{uuid}`
#[utoipa::path(
    get,
    path = "/worksheets/{uuid}",
    tag = "worksheets",
    summary = "One worksheet, with its items on request.",
    params(UuidPath, IncludeQuery),
    responses(
        (status = 200, description = "The worksheet", body = openapi::OneDocument<api::worksheets::WorksheetAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn fetch(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    query: Query,
) -> ApiResult {
    let names = query.include(&INCLUDES)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    let (worksheet, permission) = readable(&state, &viewer, uuid).await?;
    let with_items = names.iter().any(|name| name.starts_with("items"));
    let items = if with_items {
        state.model.worksheet_items(uuid).await?
    } else {
        Vec::new()
    };

    let mut included = Vec::new();
    let mut resource = present::worksheet(&worksheet, permission, with_items.then_some(&items[..]));
    let groups = visible_groups(&state, &viewer, &worksheet, permission).await?;
    resource = resource
        .to_many(
            "items",
            kind::WORKSHEET_ITEMS,
            items.iter().map(|item| item.id.to_string()),
        )
        .to_many(
            "group_permissions",
            kind::WORKSHEET_PERMISSIONS,
            groups.iter().map(|row| row.id.to_string()),
        );
    included.extend(items.iter().map(|item| present_item(uuid, item)));
    if has("items.bundle") || has("items.bundle.owner") {
        included.extend(item_bundles(&state, &viewer, &items, has("items.bundle.owner")).await?);
    }
    if has("items.subworksheet") {
        included.extend(subworksheets(&state, &viewer, &items).await?);
    }
    if has("owner") && (!worksheet.is_anonymous || permission == Permission::All) {
        included.extend(included_users(&state, worksheet.owner_id.clone()).await?);
    }
    if has("group_permissions") {
        included.extend(
            groups
                .iter()
                .map(|row| present::group_permission(kind::WORKSHEET_PERMISSIONS, row)),
        );
    }
    let document = Document::one(resource);
    let response = state.respond(if names.is_empty() {
        document
    } else {
        document.including(included)
    });
    Ok(if with_items {
        with_version(response, &version_of(&items))
    } else {
        response
    })
}

/// The worksheet and the viewer's permission, which is at least read.
pub async fn readable(state: &AppState, viewer: &Viewer, uuid: Uuid) -> ApiResult<(Worksheet, Permission)> {
    let (kind, objects) = (ObjectKind::Worksheet, [uuid]);
    let (worksheet, permissions) = tokio::join!(
        state.model.worksheet(uuid),
        state.model.permissions_of(kind, viewer.id(), &objects)
    );
    let (worksheet, permission) = (worksheet?, permissions?.first().copied().unwrap_or_default());
    if permission == Permission::None {
        let check = state
            .model
            .check_permission(kind, viewer.id(), &objects, Permission::Read);
        check.await?;
    }
    Ok((worksheet, permission))
}

/// The permission rows that a viewer may see.
pub async fn visible_groups(
    state: &AppState,
    viewer: &Viewer,
    worksheet: &Worksheet,
    permission: Permission,
) -> ApiResult<Vec<GroupPermission>> {
    if worksheet.is_anonymous && permission != Permission::All {
        return Ok(Vec::new());
    }
    let rows = state
        .model
        .group_permissions(ObjectKind::Worksheet, &[worksheet.uuid])
        .await?;
    let mut rows = rows.into_values().next().unwrap_or_default();
    if viewer.id().is_none() {
        rows.retain(|row| row.group_uuid == state.model.public_group());
    }
    Ok(rows)
}

fn present_item(worksheet: Uuid, placed: &PlacedItem) -> Resource {
    let item = &placed.item;
    let attributes = ItemAttributes {
        item_type: item.item_type,
        value: match item.item_type {
            ItemType::Directive => worksheet::source::served_directive(&item.value).into_owned(),
            _ => item.value.clone(),
        },
        sort_key: Some(placed.sort_key),
    };
    Resource::new(kind::WORKSHEET_ITEMS, placed.id.to_string(), attributes)
        .to_one("worksheet", kind::WORKSHEETS, Some(worksheet.as_str()))
        .to_one("bundle", kind::BUNDLES, item.bundle_uuid.as_ref().map(Uuid::as_str))
        .to_one(
            "subworksheet",
            kind::WORKSHEETS,
            item.subworksheet_uuid.as_ref().map(Uuid::as_str),
        )
}

async fn item_bundles(
    state: &AppState,
    viewer: &Viewer,
    items: &[PlacedItem],
    owners: bool,
) -> ApiResult<Vec<Resource>> {
    let mut uuids: Vec<Uuid> = items.iter().filter_map(|placed| placed.item.bundle_uuid).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let records = state.model.bundles_for(viewer.id(), &uuids).await?;
    let (mut resources, users) = present_all(state, viewer, records, &Wanted::owners(owners)).await?;
    resources.extend(users);
    Ok(resources)
}

async fn subworksheets(state: &AppState, viewer: &Viewer, items: &[PlacedItem]) -> ApiResult<Vec<Resource>> {
    let mut uuids: Vec<Uuid> = items
        .iter()
        .filter_map(|placed| placed.item.subworksheet_uuid)
        .collect();
    uuids.sort_unstable();
    uuids.dedup();
    let kind = ObjectKind::Worksheet;
    let found = state.model.worksheets(&uuids).await?;
    let permissions = state.model.permissions_of(kind, viewer.id(), &uuids).await?;
    let resources = uuids.iter().zip(permissions).filter_map(|(uuid, permission)| {
        let worksheet = found.get(uuid)?;
        let is_readable = permission != Permission::None;
        let name = if is_readable { &worksheet.name } else { PRIVATE };
        Some(present::named_worksheet(*uuid, name))
    });
    Ok(resources.collect())
}

/// `GET /worksheets`: by specs (the home worksheet is made on demand), or by search.
#[utoipa::path(
    get,
    path = "/worksheets",
    tag = "worksheets",
    summary = "Worksheets, by specs or by search.",
    params(WorksheetsQuery, IncludeQuery),
    responses(
        (status = 200, description = "The worksheets", body = openapi::ManyDocument<openapi::AnyAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(State(state): State<AppState>, Protected(viewer): Protected, query: Query) -> ApiResult {
    let names = query.include(&["owner", "group_permissions"])?;
    let rows = if query.has("specs") {
        by_specs(&state, &viewer, &query).await?
    } else {
        let search = WorksheetQuery::parse(&query.all("keywords"))?;
        state.model.search_worksheets(viewer.id(), &search).await?
    };
    present_rows(&state, &viewer, &rows, &names).await
}

async fn present_rows(
    state: &AppState,
    viewer: &Viewer,
    rows: &[WorksheetRow],
    names: &[String],
) -> ApiResult<Response> {
    let uuids: Vec<Uuid> = rows.iter().map(|row| row.uuid).collect();
    let permissions = state
        .model
        .permissions_of(ObjectKind::Worksheet, viewer.id(), &uuids)
        .await?;
    let public = state.model.public_group();
    let mut resources = Vec::new();
    let mut included = Vec::new();
    let mut owners: Vec<UserId> = Vec::new();
    for (row, permission) in rows.iter().zip(permissions) {
        if permission == Permission::None {
            resources.push(present::named_worksheet(row.uuid, &row.name));
            continue;
        }
        let reveal = !row.is_anonymous || permission == Permission::All;
        let mut groups = if reveal {
            row.group_permissions.clone()
        } else {
            Vec::new()
        };
        if viewer.id().is_none() {
            groups.retain(|group| group.group_uuid == public);
        }
        resources.push(present::listed_worksheet(row, &groups, reveal));
        if names.iter().any(|name| name == "group_permissions") {
            included.extend(
                groups
                    .iter()
                    .map(|row| present::group_permission(kind::WORKSHEET_PERMISSIONS, row)),
            );
        }
        if reveal && names.iter().any(|name| name == "owner") {
            owners.extend(row.owner_id.clone());
        }
    }
    included.extend(included_users(state, owners).await?);
    let document = Document::many(resources);
    Ok(state.respond(if names.is_empty() {
        document
    } else {
        document.including(included)
    }))
}

async fn by_specs(state: &AppState, viewer: &Viewer, query: &Query) -> ApiResult<Vec<WorksheetRow>> {
    // The Python client writes "no worksheet" as the text `None`.
    let base = match query.non_empty("base").filter(|base| *base != "None") {
        Some(spec) => Some(state.model.resolve_worksheet(viewer.id(), None, spec).await?),
        None => None,
    };
    let mut uuids = Vec::new();
    for spec in query.all("specs") {
        uuids.push(
            state
                .model
                .resolve_or_create_worksheet(viewer.id(), base, &spec, state.now())
                .await?,
        );
    }
    let worksheets = state.model.worksheets(&uuids).await?;
    let mut groups = state.model.group_permissions(ObjectKind::Worksheet, &uuids).await?;
    let mut rows = Vec::new();
    for uuid in uuids {
        let Some(worksheet) = worksheets.get(&uuid) else {
            return Err(ApiError::not_found(format!(
                "Could not find worksheet with uuid {uuid}"
            )));
        };
        rows.push(row_of(worksheet, groups.remove(&uuid).unwrap_or_default()));
    }
    Ok(rows)
}

fn row_of(worksheet: &Worksheet, group_permissions: Vec<GroupPermission>) -> WorksheetRow {
    WorksheetRow {
        id: worksheet.id,
        uuid: worksheet.uuid,
        name: worksheet.name.clone(),
        title: worksheet.title.clone(),
        frozen: worksheet.frozen,
        is_anonymous: worksheet.is_anonymous,
        owner_id: worksheet.owner_id.clone(),
        owner_name: None,
        date_created: worksheet.date_created,
        date_last_modified: worksheet.date_last_modified,
        group_permissions,
    }
}

/// `POST /worksheets`
#[utoipa::path(
    post,
    path = "/worksheets",
    tag = "worksheets",
    summary = "Makes worksheets.",
    request_body(content = openapi::ResourcesRequest<openapi::WorksheetInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The worksheets", body = openapi::ManyDocument<openapi::AnyAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn create(
    State(state): State<AppState>,
    LoginProtected(viewer, _): LoginProtected,
    body: JsonBody,
) -> ApiResult {
    let mut new = Vec::new();
    for input in body.resources(kind::WORKSHEETS)? {
        let name = input
            .name("name")?
            .ok_or_else(|| input.invalid("name", "Missing data for required field."))?;
        new.push(NewWorksheet {
            name: name.to_owned(),
            ..NewWorksheet::default()
        });
    }
    let created = state.model.create_worksheets(viewer.id(), &new, state.now()).await?;
    Ok(state.respond(Document::many(created.iter().map(as_created))))
}

/// The answer to a creation, with the odd `items` that the acceptance suite of CodaLab 1.7 compares.
fn as_created(worksheet: &Worksheet) -> Resource {
    let odd = [
        format!("('name', '{}')", worksheet.name),
        format!("('uuid', '{}')", worksheet.uuid),
    ];
    present::named_worksheet(worksheet.uuid, &worksheet.name).to_many("items", kind::WORKSHEET_ITEMS, odd)
}

/// `PATCH /worksheets`
#[utoipa::path(
    patch,
    path = "/worksheets",
    tag = "worksheets",
    summary = "Changes worksheets.",
    request_body(content = openapi::ResourcesRequest<openapi::WorksheetInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "What was set", body = openapi::ManyDocument<openapi::AnyAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn update(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let inputs = body.resources(kind::WORKSHEETS)?;
    let mut changes = Vec::new();
    for input in &inputs {
        changes.push((
            Uuid::parse(input.required_id()?)?,
            worksheet_update(&state, input).await?,
        ));
    }
    state
        .model
        .update_worksheets(&me.user_id, &changes, state.now())
        .await?;
    let echo = inputs.iter().zip(&changes).map(|(input, (uuid, _))| {
        let known = ["name", "title", "tags", "frozen", "is_anonymous"];
        let mut attributes: HashMap<&str, Value> = known
            .into_iter()
            .filter_map(|name| Some((name, input.attributes.get(name)?.clone())))
            .collect();
        attributes.insert("uuid", json!(uuid));
        Resource::new(kind::WORKSHEETS, uuid.as_str(), attributes)
    });
    Ok(state.respond(Document::many(echo)))
}

async fn worksheet_update(state: &AppState, input: &ResourceInput) -> ApiResult<WorksheetUpdate> {
    let tags = input.texts("tags")?;
    if tags.iter().flatten().any(|tag| !tag.is_ascii()) {
        return Err(input.invalid("tags", "Unsupported character detected, use ascii characters"));
    }
    let frozen = match input.attributes.get("frozen") {
        None => None,
        Some(Value::Null | Value::Bool(false)) => Some(false),
        Some(_) => Some(true),
    };
    let owner_id = match input.linkage("owner", kind::USERS)?.flatten() {
        Some(owner) => Some(state.model.find_user(&owner).await?.user_id),
        None => None,
    };
    Ok(WorksheetUpdate {
        name: input.name("name")?.map(str::to_owned),
        title: input.text("title")?.map(|title| Some(title.to_owned())),
        tags,
        frozen,
        is_anonymous: input.boolean("is_anonymous")?,
        owner_id,
    })
}

/// `DELETE /worksheets`
#[utoipa::path(
    delete,
    path = "/worksheets",
    tag = "worksheets",
    summary = "Deletes worksheets.",
    params(ForceQuery),
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Done"),
        WriteFailures,
    )
)]
pub async fn delete(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    let force = query.flag("force", false)?;
    let uuids: Vec<Uuid> = body
        .linkages(kind::WORKSHEETS)?
        .iter()
        .map(|text| Uuid::parse(text))
        .collect::<Result<_, _>>()?;
    state.model.delete_worksheets(&me.user_id, &uuids, force).await?;
    Ok(respond::empty())
}

/// `GET /worksheets/?uuid=…|name=…`: to the page of a worksheet.
#[utoipa::path(
    get,
    path = "/worksheets/",
    tag = "worksheets",
    summary = "To the page of a worksheet.",
    params(LandingQuery),
    responses(Failures,)
)]
pub async fn landing(State(state): State<AppState>, Protected(viewer): Protected, query: Query) -> ApiResult {
    let spec = query
        .non_empty("uuid")
        .or_else(|| query.non_empty("name"))
        .unwrap_or("home");
    let uuid = state
        .model
        .resolve_or_create_worksheet(viewer.id(), None, spec, state.now())
        .await?;
    Ok(redirect(&format!("/worksheets/{uuid}/")))
}

/// `GET /worksheets/sample/`: some worksheets to look at. An array without envelope.
#[utoipa::path(
    get,
    path = "/worksheets/sample/",
    tag = "worksheets",
    summary = "Some worksheets to look at.",
    responses(
        (status = 200, description = "The worksheets", body = Vec<openapi::SampleWorksheet>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn sample(State(state): State<AppState>, Protected(viewer): Protected) -> ApiResult {
    let mut found = Vec::new();
    for keyword in ["name=home", "tag=paper,software,data"] {
        let search = WorksheetQuery::parse(&[keyword, ".limit=3"])?;
        found.extend(state.model.search_worksheets(viewer.id(), &search).await?);
    }
    let mut seen = std::collections::HashSet::new();
    let list: Vec<Value> = found
        .into_iter()
        .filter(|row| seen.insert(row.uuid))
        .map(|row| {
            let title = row.title.filter(|title| !title.is_empty()).unwrap_or(row.name);
            let owner = row.owner_name.filter(|_| !row.is_anonymous);
            json!({"uuid": row.uuid, "display_name": title, "owner_name": owner})
        })
        .collect();
    Ok(respond::json_value(&Value::Array(list)))
}
