//! Worksheets as blocks, searches and values from files, as the web page and `cl print` show them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use domain::search::{BundleQuery, WorksheetQuery};
use domain::target_info::TargetType;
use domain::worksheet::PlacedItem;
use domain::{ErrorKind, Permission, UserId, UtcTime, Uuid};
use futures::StreamExt;
use model::{BundleRecord, Found, GroupPermission, ObjectKind, WorksheetRow};
use serde_json::{Map, Value, json};
use worksheet::{BundleInfo, Page, Reader};

use super::worksheets::{readable, visible_groups};
use crate::auth::{Protected, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{Failures, InterpretQuery, UuidPath, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::state::AppState;
use crate::{reading, respond};
use api::openapi;

/// `GET /interpret/worksheet/{uuid}`
#[utoipa::path(
    get,
    path = "/interpret/worksheet/{uuid}",
    tag = "interpretation",
    summary = "A worksheet as blocks.",
    params(UuidPath, InterpretQuery),
    responses(
        (status = 200, description = "The worksheet", body = openapi::AnyAnswer, content_type = "application/json"),
        Failures,
    )
)]
pub async fn worksheet(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    query: Query,
) -> ApiResult {
    let (record, permission) = readable(&state, &viewer, uuid).await?;
    let items = state.model.worksheet_items(uuid).await?;
    let page = load_page(&state, &viewer, items).await?;
    let reader = ServerReader {
        state: state.clone(),
        viewer: viewer.clone(),
    };
    let refreshed = query.all("bundle_uuid");
    if !refreshed.is_empty() {
        let blocks = page.refresh(&refreshed, &reader).await;
        return Ok(plain(&state, json!({"uuid": uuid, "blocks": blocks})));
    }
    let mut answer = json!({
        "uuid": uuid,
        "name": record.name,
        "title": record.title,
        "frozen": record.frozen.map(UtcTime::iso_naive),
        "is_anonymous": record.is_anonymous,
        "date_created": record.date_created.map(UtcTime::iso_naive),
        "date_last_modified": record.date_last_modified.map(UtcTime::iso_naive),
        "tags": record.tags,
        "last_item_id": page.items.iter().map(|item| item.id).max().unwrap_or(-1),
        "permission": permission.level(),
        "permission_spec": permission.as_str(),
        "edit_permission": permission == Permission::All,
        "enable_chat": false,
        "source": page.source(),
    });
    let owner = record
        .owner_id
        .as_ref()
        .filter(|_| !record.is_anonymous || permission == Permission::All);
    answer["owner_id"] = json!(owner);
    answer["owner_name"] = match owner {
        Some(id) => state.model.user(id).await?.map(|user| user.user_name).into(),
        None => Value::Null,
    };
    let groups = visible_groups(&state, &viewer, &record, permission).await?;
    answer["group_permissions"] = groups.iter().map(|row| group_value(row, true)).collect();
    if let Some(directive) = query.get("directive") {
        answer["blocks"] = page.directive(directive, &reader).await.into();
        answer["raw_to_block"] = json!([]);
        answer["block_to_raw"] = json!({});
    } else {
        let result = if query.flag("brief", false)? {
            page.brief(&reader).await
        } else {
            page.full(&reader).await
        };
        answer["blocks"] = result.blocks.into();
        answer["raw_to_block"] = result.raw_to_block;
        answer["block_to_raw"] = Value::Object(result.block_to_raw);
    }
    Ok(plain(&state, answer))
}

fn plain(state: &AppState, value: Value) -> axum::response::Response {
    let object = if let Value::Object(object) = value {
        object
    } else {
        Map::new()
    };
    respond::json_object(object, &state.settings.version)
}

fn group_value(row: &GroupPermission, spec: bool) -> Value {
    let mut value = json!({
        "id": row.id, "group_uuid": row.group_uuid, "group_name": row.group_name, "permission": row.permission.level(),
    });
    if spec {
        value["permission_spec"] = row.permission.as_str().into();
    }
    value
}

async fn load_page(state: &AppState, viewer: &Viewer, items: Vec<PlacedItem>) -> ApiResult<Page> {
    let mut uuids: Vec<Uuid> = items.iter().filter_map(|placed| placed.item.bundle_uuid).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let records = state.model.bundles(&uuids).await?;
    let hosts = state.model.host_worksheets(viewer.id(), &uuids).await?;
    let host = |uuid: &Uuid| {
        hosts
            .get(uuid)
            .and_then(|hosts| hosts.first())
            .map(|host| (host.uuid, host.name.as_str()))
    };
    let infos = bundle_infos(state, viewer, &records, host).await?;
    let infos = infos.into_iter().map(Arc::new);
    let bundles = records.iter().map(|record| record.bundle.uuid).zip(infos).collect();
    let worksheets = subworksheets(state, viewer, &items).await?;
    let owners = owner_names(state, &records).await?;
    Ok(Page {
        items,
        bundles,
        worksheets,
        owners,
    })
}

/// Infos of bundles, private ones for those that the viewer cannot read.
async fn bundle_infos<'a>(
    state: &AppState,
    viewer: &Viewer,
    records: &[BundleRecord],
    host: impl Fn(&Uuid) -> Option<(Uuid, &'a str)>,
) -> ApiResult<Vec<BundleInfo>> {
    let uuids: Vec<Uuid> = records.iter().map(|record| record.bundle.uuid).collect();
    let permissions = state
        .model
        .permissions_of(ObjectKind::Bundle, viewer.id(), &uuids)
        .await?;
    let is_root = viewer.is_root(state);
    let infos = records.iter().zip(permissions).map(|(record, permission)| {
        if permission == Permission::None {
            return worksheet::private_info(record.bundle.uuid);
        }
        let bundle = &record.bundle.seen_with(permission, is_root);
        let parents: HashMap<Uuid, Option<String>> = bundle
            .dependencies
            .iter()
            .zip(&record.parents)
            .map(|(dependency, parent)| (dependency.parent_uuid, parent.name.clone()))
            .collect();
        worksheet::bundle_info(
            bundle,
            permission,
            |uuid| parents.get(uuid).cloned().flatten(),
            host(&bundle.uuid),
        )
    });
    Ok(infos.collect())
}

async fn subworksheets(
    state: &AppState,
    viewer: &Viewer,
    items: &[PlacedItem],
) -> ApiResult<HashMap<Uuid, Arc<BundleInfo>>> {
    let uuids: Vec<Uuid> = items
        .iter()
        .filter_map(|placed| placed.item.subworksheet_uuid)
        .collect();
    if uuids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = state.model.worksheets(&uuids).await?;
    let known: Vec<Uuid> = found.keys().copied().collect();
    let permissions = state
        .model
        .permissions_of(ObjectKind::Worksheet, viewer.id(), &known)
        .await?;
    let owner_ids: Vec<&str> = found
        .values()
        .filter_map(|worksheet| worksheet.owner_id.as_deref())
        .collect();
    let owners = state.model.users(&owner_ids).await?;
    let mut infos = HashMap::new();
    for (uuid, permission) in known.into_iter().zip(permissions) {
        let worksheet = &found[&uuid];
        let readable = permission != Permission::None;
        let reveal = permission == Permission::All || (readable && !worksheet.is_anonymous);
        let owner = worksheet.owner_id.as_ref().filter(|_| reveal);
        let name = if readable { worksheet.name.as_str() } else { "<private>" };
        let info = json!({
            "id": readable.then_some(worksheet.id),
            "uuid": uuid,
            "name": name,
            "title": worksheet.title.as_ref().filter(|_| readable),
            "frozen": worksheet.frozen.filter(|_| readable).map(UtcTime::iso_naive),
            "is_anonymous": worksheet.is_anonymous,
            "owner_id": owner,
            "owner_name": owner.and_then(|id| owners.get(id)).map(|user| user.user_name.as_str()),
            "date_created": worksheet.date_created.filter(|_| readable).map(UtcTime::iso_naive),
            "date_last_modified": worksheet.date_last_modified.filter(|_| readable).map(UtcTime::iso_naive),
        });
        if let Value::Object(info) = info {
            infos.insert(uuid, Arc::new(info));
        }
    }
    Ok(infos)
}

async fn owner_names(state: &AppState, records: &[BundleRecord]) -> ApiResult<HashMap<String, String>> {
    let mut ids: Vec<&str> = records
        .iter()
        .filter_map(|record| record.bundle.owner_id.as_deref())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let users: HashMap<UserId, model::User> = if ids.is_empty() {
        HashMap::new()
    } else {
        state.model.users(&ids).await?
    };
    Ok(users
        .into_iter()
        .map(|(id, user)| (id.into(), user.user_name))
        .collect())
}

/// `POST /interpret/search`
#[utoipa::path(
    post,
    path = "/interpret/search",
    tag = "interpretation",
    summary = "Searches bundles.",
    request_body(content = openapi::KeywordsRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Uuids, or an aggregate", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn search(State(state): State<AppState>, Protected(viewer): Protected, body: JsonBody) -> ApiResult {
    let query = BundleQuery::parse(&keywords(body)?)?;
    let response = match state.model.search_bundles(viewer.id(), &query).await? {
        Found::Bundles(uuids) => json!({"result": uuids, "is_aggregate": false}),
        Found::Value(value) => {
            let value = worksheet::post_process(query.format.as_deref(), value);
            json!({"result": value, "is_aggregate": true})
        }
    };
    Ok(plain(&state, json!({ "response": response })))
}

/// `POST /interpret/wsearch`
#[utoipa::path(
    post,
    path = "/interpret/wsearch",
    tag = "interpretation",
    summary = "Searches worksheets.",
    request_body(content = openapi::KeywordsRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The worksheets", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn wsearch(State(state): State<AppState>, Protected(viewer): Protected, body: JsonBody) -> ApiResult {
    let query = WorksheetQuery::parse(&keywords(body)?)?;
    let rows = state.model.search_worksheets(viewer.id(), &query).await?;
    let response = worksheet_values(&state, &viewer, &rows).await?;
    Ok(plain(&state, json!({ "response": response })))
}

async fn worksheet_values(state: &AppState, viewer: &Viewer, rows: &[WorksheetRow]) -> ApiResult<Vec<Value>> {
    let uuids: Vec<Uuid> = rows.iter().map(|row| row.uuid).collect();
    let permissions = state
        .model
        .permissions_of(ObjectKind::Worksheet, viewer.id(), &uuids)
        .await?;
    let public = state.model.public_group();
    let values = rows.iter().zip(permissions).map(|(row, permission)| {
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

fn keywords(body: JsonBody) -> ApiResult<Vec<String>> {
    match body.object().remove("keywords") {
        Some(Value::Array(list)) => Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Some(Value::String(one)) => Ok(vec![one]),
        _ => Err(ApiError::usage("Missing `keywords`")),
    }
}

/// `POST /interpret/file-genpaths`
#[utoipa::path(
    post,
    path = "/interpret/file-genpaths",
    tag = "interpretation",
    summary = "Reads values from files of bundles.",
    request_body(content = openapi::GenpathsRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The values", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn file_genpaths(State(state): State<AppState>, Protected(viewer): Protected, body: JsonBody) -> ApiResult {
    let Some(Value::Array(queries)) = body.object().remove("queries") else {
        return Err(ApiError::usage("Missing `queries`"));
    };
    let reader = ServerReader {
        state: state.clone(),
        viewer,
    };
    let data = worksheet::file_genpaths(&queries, &reader).await?;
    Ok(plain(&state, json!({ "data": data })))
}

/// `POST /interpret/genpath-table-contents`
#[utoipa::path(
    post,
    path = "/interpret/genpath-table-contents",
    tag = "interpretation",
    summary = "Fills the cells of a table.",
    request_body(content = openapi::TableRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The table", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn table_contents(State(state): State<AppState>, Protected(viewer): Protected, body: JsonBody) -> ApiResult {
    let Some(Value::Array(rows)) = body.object().remove("contents") else {
        return Err(ApiError::usage("Missing `contents`"));
    };
    let reader = ServerReader {
        state: state.clone(),
        viewer,
    };
    let contents = worksheet::resolve_rows(rows, &reader).await;
    Ok(plain(&state, json!({ "contents": contents })))
}

/// Contents and searches on behalf of a viewer.
struct ServerReader {
    state: AppState,
    viewer: Viewer,
}

#[async_trait]
impl Reader for ServerReader {
    async fn read(&self, bundle_uuid: &str, path: &str, limit: u64) -> domain::Result<worksheet::Target> {
        let uuid = Uuid::parse(bundle_uuid)?;
        match self.read_beginning(uuid, path, limit).await {
            Ok(target) => Ok(target),
            Err(ApiError::Failure(error)) if error.kind == ErrorKind::Permission => Err(error),
            Err(error) if error.status().is_client_error() => Ok(worksheet::Target::NotFound),
            Err(error) => Err(domain::Error::internal(error.message())),
        }
    }

    async fn search(&self, keywords: &[String]) -> domain::Result<worksheet::Found> {
        let query = BundleQuery::parse(keywords)?;
        match self.state.model.search_bundles(self.viewer.id(), &query).await? {
            Found::Value(value) => Ok(worksheet::Found::Aggregate(value)),
            Found::Bundles(uuids) => {
                let records = self.state.model.bundles(&uuids).await?;
                let infos = bundle_infos(&self.state, &self.viewer, &records, |_| None)
                    .await
                    .map_err(plain_error)?;
                Ok(worksheet::Found::Bundles(infos))
            }
        }
    }

    async fn search_worksheets(&self, keywords: &[String]) -> domain::Result<Vec<BundleInfo>> {
        let query = WorksheetQuery::parse(keywords)?;
        let rows = self.state.model.search_worksheets(self.viewer.id(), &query).await?;
        let values = worksheet_values(&self.state, &self.viewer, &rows)
            .await
            .map_err(plain_error)?;
        Ok(values
            .into_iter()
            .filter_map(|value| value.as_object().cloned())
            .collect())
    }
}

impl ServerReader {
    async fn read_beginning(&self, uuid: Uuid, path: &str, limit: u64) -> ApiResult<worksheet::Target> {
        let target = reading::resolve(&self.state, &self.viewer, uuid, path, 0).await?;
        match target.info.target_type {
            TargetType::Directory => Ok(worksheet::Target::Directory),
            TargetType::File => {
                let mut stream = reading::file_beginning(&self.state, &target, limit).await?;
                let mut bytes = Vec::new();
                while let Some(chunk) = stream.next().await {
                    bytes.extend_from_slice(&chunk.map_err(domain::Error::from)?);
                    if bytes.len() as u64 >= limit {
                        bytes.truncate(limit as usize);
                        break;
                    }
                }
                Ok(worksheet::Target::File {
                    bytes,
                    size: target.info.size,
                })
            }
            TargetType::Link | TargetType::Other => Ok(worksheet::Target::NotFound),
        }
    }
}

fn plain_error(error: ApiError) -> domain::Error {
    match error {
        ApiError::Failure(error) => error,
        other => domain::Error::internal(other.message()),
    }
}
