//! Worksheets as blocks, searches and values from files, as the web page and `cl print` show them.

use axum::extract::State;
use axum::response::Response;
use domain::search::{BundleQuery, WorksheetQuery};
use domain::worksheet::PlacedItem;
use domain::{Permission, UtcTime};
use model::{Found, Worksheet};
use serde_json::{Map, Value, json};
use worksheet::{Directive, Page};

use super::items::with_version;
use super::worksheets::{readable, visible_groups};
use crate::auth::{Protected, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::interpretation::{ServerReader, group_value, load_page, worksheet_values};
use crate::openapi::{Failures, InterpretQuery, UuidPath, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::respond;
use crate::state::AppState;
use api::openapi;

/// `GET /interpret/worksheet/{uuid}`
#[utoipa::path(
    get,
    path = "/interpret/worksheet/{uuid}",
    tag = "interpretation",
    summary = "A worksheet as blocks.",
    description = "`source_version`, also the `ETag`, names the items; see `PUT /worksheets/{uuid}/raw`.",
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
    let asked = Asked::parse(&query)?;
    let reader = ServerReader::new(&state, &viewer);
    let (record, permission) = readable(&state, &viewer, uuid).await?;
    let items = state.model.worksheet_items(uuid).await?;
    if let Asked::Item { id, brief } = asked {
        let blocks = item_blocks(items, id, brief, &reader).await?;
        return Ok(plain(&state, json!({"uuid": uuid, "blocks": blocks})));
    }
    let page = load_page(&state, &viewer, items, &reader).await?;
    if let Asked::Refresh(bundles) = asked {
        let blocks = page.refresh(&bundles, &reader).await;
        return Ok(plain(&state, json!({"uuid": uuid, "blocks": blocks})));
    }
    let version = model::source_version(page.items.iter().map(|placed| &placed.item));
    let mut answer = description(&state, &viewer, &record, permission).await?;
    answer["last_item_id"] = json!(page.items.iter().map(|item| item.id).max().unwrap_or(-1));
    answer["source"] = json!(page.source());
    answer["source_version"] = json!(version);
    match asked {
        Asked::Directive { text, brief } => {
            answer["blocks"] = page.directive(&Directive::Text(&text), brief, &reader).await.into();
            answer["raw_to_block"] = json!([]);
            answer["block_to_raw"] = json!({});
        }
        Asked::Page { brief } => {
            let result = if brief {
                page.brief(&reader).await
            } else {
                page.full(&reader).await
            };
            answer["blocks"] = result.blocks.into();
            answer["raw_to_block"] = result.raw_to_block;
            answer["block_to_raw"] = Value::Object(result.block_to_raw);
        }
        Asked::Item { .. } | Asked::Refresh(_) => {}
    }
    Ok(with_version(plain(&state, answer), &version))
}

/// What of a worksheet is wanted.
enum Asked {
    Page {
        brief: bool,
    },
    /// The blocks of the first search directive with this text, and everything around the blocks.
    Directive {
        text: String,
        brief: bool,
    },
    /// The blocks of the search directive that is this item, and nothing else.
    Item {
        id: i64,
        brief: bool,
    },
    /// The blocks that show these bundles.
    Refresh(Vec<String>),
}

impl Asked {
    fn parse(query: &Query) -> ApiResult<Self> {
        let brief = query.flag("brief", false)?;
        let bundles = query.all("bundle_uuid");
        Ok(if !bundles.is_empty() {
            Self::Refresh(bundles)
        } else if let Some(id) = query.int("item")? {
            Self::Item { id, brief }
        } else if let Some(text) = query.get("directive") {
            let text = text.to_owned();
            Self::Directive { text, brief }
        } else {
            Self::Page { brief }
        })
    }
}

/// Which bundles and worksheets stand above a directive does not matter to it, only that they do: nothing but what it
/// finds is looked up.
async fn item_blocks(items: Vec<PlacedItem>, id: i64, brief: bool, reader: &ServerReader) -> ApiResult<Vec<Value>> {
    if !items.iter().any(|placed| placed.id == id) {
        return Err(ApiError::not_found(format!(
            "Item {id} is not (or no longer) on this worksheet; reload it."
        )));
    }
    let page = Page {
        items,
        ..Page::default()
    };
    Ok(page.directive(&Directive::Item(id), brief, reader).await)
}

/// Everything about a worksheet but its items.
async fn description(
    state: &AppState,
    viewer: &Viewer,
    record: &Worksheet,
    permission: Permission,
) -> ApiResult<Value> {
    let owner = record
        .owner_id
        .as_ref()
        .filter(|_| !record.is_anonymous || permission == Permission::All);
    let owner_name = match (owner, viewer.user()) {
        (Some(id), Some(user)) if *id == user.user_id => Some(user.user_name.clone()),
        (Some(id), _) => state.model.user(id).await?.map(|user| user.user_name),
        (None, _) => None,
    };
    let groups = visible_groups(state, viewer, record, permission).await?;
    Ok(json!({
        "uuid": record.uuid,
        "name": record.name,
        "owner_id": owner,
        "owner_name": owner_name,
        "title": record.title,
        "frozen": record.frozen.map(UtcTime::iso_naive),
        "is_anonymous": record.is_anonymous,
        "date_created": record.date_created.map(UtcTime::iso_naive),
        "date_last_modified": record.date_last_modified.map(UtcTime::iso_naive),
        "tags": record.tags,
        "permission": permission.level(),
        "permission_spec": permission.as_str(),
        "edit_permission": permission == Permission::All,
        "enable_chat": false,
        "group_permissions": groups.iter().map(|row| group_value(row, true)).collect::<Vec<_>>(),
    }))
}

fn plain(state: &AppState, value: Value) -> Response {
    let object = if let Value::Object(object) = value {
        object
    } else {
        Map::new()
    };
    respond::json_object(object, &state.settings.version)
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
    let response = worksheet_values(&state, &viewer, &rows.iter().collect::<Vec<_>>()).await?;
    Ok(plain(&state, json!({ "response": response })))
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
    let reader = ServerReader::new(&state, &viewer);
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
    let reader = ServerReader::new(&state, &viewer);
    let contents = worksheet::resolve_rows(rows, &reader).await;
    Ok(plain(&state, json!({ "contents": contents })))
}
