//! Items of worksheets: appending, inserting, replacing, and the source text of the editor.

use api::worksheets::AddItems;
use api::{Document, Resource, kind};
use axum::body::Body;
use axum::extract::State;
use domain::worksheet::{Item, ItemType};
use domain::{Permission, Uuid};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use model::ObjectKind;
use serde_json::{Value, json};
use worksheet::SourceLine;
use worksheet::source::{at_line, check_directive, unresolved_worksheet};

use crate::auth::{LoginProtected, Protected, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::{ItemsQuery, UuidPath, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::respond;
use crate::state::AppState;
use api::openapi;

/// Longest source text.
const MOST_SOURCE: usize = 32 << 20;

/// `POST /worksheet-items?uuid=…&replace=0|1`
#[utoipa::path(
    post,
    path = "/worksheet-items",
    tag = "worksheets",
    summary = "Appends items, or replaces all.",
    params(ItemsQuery),
    request_body(content = openapi::ResourcesRequest<openapi::ItemInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The items", body = openapi::ManyDocument<openapi::AnyAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn post(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    let Some(uuid) = query.get("uuid") else {
        return Err(ApiError::not_found(
            "The query parameter 'uuid' is missing; it names the worksheet.",
        ));
    };
    let uuid = Uuid::parse(uuid)?;
    let replace = query.flag("replace", false)?;
    let inputs = body.resources(kind::WORKSHEET_ITEMS)?;
    let items: Vec<Item> = inputs.iter().map(parse_item).collect::<Result<_, _>>()?;
    let ids = if replace {
        replace_all(&state, &me.user_id, uuid, &items).await?;
        vec![None; items.len()]
    } else {
        let ids = state.model.append_items(&me.user_id, uuid, &items, state.now()).await?;
        ids.into_iter().map(Some).collect()
    };
    let resources = items.iter().zip(ids).map(|(item, id)| {
        let id: Option<String> = id.map(|id: i64| id.to_string());
        Resource::new(
            kind::WORKSHEET_ITEMS,
            id,
            json!({"type": item.item_type.as_str(), "value": item.value}),
        )
        .to_one("worksheet", kind::WORKSHEETS, Some(uuid.as_str()))
        .to_one("bundle", kind::BUNDLES, item.bundle_uuid.as_ref().map(Uuid::as_str))
        .to_one(
            "subworksheet",
            kind::WORKSHEETS,
            item.subworksheet_uuid.as_ref().map(Uuid::as_str),
        )
    });
    Ok(state.respond(Document::many(resources)))
}

fn parse_item(input: &ResourceInput) -> ApiResult<Item> {
    let item_type: ItemType = input
        .required_text("type")?
        .parse()
        .map_err(|_| input.invalid("type", "Not a valid choice."))?;
    let reference = |name: &str, kind: &str| -> ApiResult<Option<Uuid>> {
        Ok(input
            .linkage(name, kind)?
            .flatten()
            .map(|id| Uuid::parse(&id))
            .transpose()?)
    };
    // The worksheet that counts is the one of the query.
    input.required_linkage("worksheet", kind::WORKSHEETS)?;
    let value = input.nullable_text("value")?.flatten().unwrap_or_default();
    match item_type {
        ItemType::Bundle => match reference("bundle", kind::BUNDLES)? {
            Some(uuid) => Ok(Item::bundle(uuid)),
            None => Err(input.invalid("bundle", "Missing data for required field.")),
        },
        ItemType::Worksheet => match reference("subworksheet", kind::WORKSHEETS)? {
            Some(uuid) => Ok(Item::worksheet(uuid)),
            None => Err(input.invalid("subworksheet", "Missing data for required field.")),
        },
        ItemType::Directive => {
            check_directive(value)?;
            Ok(Item::directive(value))
        }
        ItemType::Markup => Ok(Item::markup(value)),
    }
}

/// Replaces what the worksheet has now; a change between the look and the replacement refuses it.
async fn replace_all(state: &AppState, me: &str, uuid: Uuid, items: &[Item]) -> ApiResult<()> {
    let before = state.model.worksheet_items(uuid).await?;
    let last = before.iter().map(|item| item.id).max().unwrap_or(-1);
    Ok(state
        .model
        .replace_items(me, uuid, last, before.len(), items, state.now())
        .await?)
}

/// `POST /worksheets/{uuid}/add-items`
#[utoipa::path(
    post,
    path = "/worksheets/{uuid}/add-items",
    tag = "worksheets",
    summary = "Inserts and deletes items.",
    params(UuidPath),
    request_body(content = api::worksheets::AddItems, content_type = "application/json"),
    responses(
        (status = 200, description = "Done"),
        WriteFailures,
    )
)]
pub async fn add(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    body: JsonBody,
) -> ApiResult {
    let request: AddItems = serde_json::from_value(Value::Object(body.object()))
        .map_err(|error| ApiError::usage(format!("Malformed request: {error}")))?;
    let texts = request.items.unwrap_or_default();
    let items: Vec<Item> = match request.item_type.as_deref().unwrap_or("markup") {
        "markup" => texts.into_iter().map(Item::markup).collect(),
        "directive" => texts
            .into_iter()
            .map(|text| check_directive(&text).map(|()| Item::directive(text)))
            .collect::<Result<_, _>>()?,
        "bundle" => texts
            .iter()
            .map(|text| Uuid::parse(text).map(Item::bundle))
            .collect::<Result<_, _>>()?,
        other => return Err(ApiError::usage(format!("Invalid item type: {other}"))),
    };
    let removed = request.ids.unwrap_or_default();
    state
        .model
        .edit_items(&me.user_id, uuid, &removed, &items, request.after_sort_key, state.now())
        .await?;
    Ok(respond::empty())
}

/// `POST` or `PUT /worksheets/{uuid}/raw`: the whole source text.
#[utoipa::path(
    method(post, put),
    path = "/worksheets/{uuid}/raw",
    tag = "worksheets",
    summary = "Replaces the worksheet by a source text.",
    params(UuidPath),
    request_body(content = String, content_type = "text/plain", description = "The source text"),
    responses(
        (status = 204, description = "Done"),
        WriteFailures,
    )
)]
pub async fn replace_source(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    body: Body,
) -> ApiResult {
    state.model.worksheet(uuid).await?;
    state
        .model
        .check_permission(ObjectKind::Worksheet, viewer.id(), &[uuid], Permission::All)
        .await?;
    let Some(me) = viewer.id() else {
        return Err(ApiError::authentication("User is not authenticated."));
    };
    let bytes = Limited::new(body, MOST_SOURCE).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, "Request to large".to_owned())
        } else {
            ApiError::usage("The request body was cut off")
        }
    })?;
    let text = String::from_utf8(bytes.to_bytes().to_vec())
        .map_err(|_| ApiError::usage("The source text of a worksheet must be UTF-8."))?;
    let items = items_of(&state, &viewer, uuid, &text).await?;
    replace_all(&state, me, uuid, &items).await?;
    Ok(respond::no_content())
}

async fn items_of(state: &AppState, viewer: &Viewer, base: Uuid, text: &str) -> ApiResult<Vec<Item>> {
    let mut items = Vec::new();
    for (index, line) in worksheet::parse(text)?.into_iter().enumerate() {
        items.push(match line {
            SourceLine::Item(item) => item,
            SourceLine::Bundle { spec } => {
                let found = state.model.resolve_bundle(viewer.id(), Some(base), &spec).await;
                Item::bundle(found.map_err(|error| at_line(index, &error))?)
            }
            SourceLine::Worksheet { spec, line } => {
                match state.model.resolve_worksheet(viewer.id(), Some(base), &spec).await {
                    Ok(uuid) => Item::worksheet(uuid),
                    Err(error) => unresolved_worksheet(&error, &line),
                }
            }
        });
    }
    Ok(items)
}
