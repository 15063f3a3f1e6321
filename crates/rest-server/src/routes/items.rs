//! Items of worksheets: appending, inserting, replacing, and the source text of the editor with its version.

use std::collections::HashSet;

use api::worksheets::AddItems;
use api::{Document, Resource, kind};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use domain::worksheet::{Item, ItemType, PlacedItem};
use domain::{Permission, Uuid};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use model::{Base, ObjectKind, Replaced};
use serde_json::{Value, json};
use worksheet::SourceLine;
use worksheet::source::{at_line, check_directive, unresolved_worksheet};

use super::worksheets::readable;
use crate::auth::{LoginProtected, Protected, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::interpretation::{ServerReader, load_page};
use crate::openapi::{Failures, ItemsQuery, SourceQuery, UuidPath, WriteFailures};
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
    let items: Vec<Item> = inputs.iter().enumerate().map(parse_item).collect::<Result<_, _>>()?;
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

fn parse_item((index, input): (usize, &ResourceInput)) -> ApiResult<Item> {
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
            check_directive(value).map_err(|error| at_line(index, &error))?;
            Ok(Item::directive(value))
        }
        ItemType::Markup => Ok(Item::markup(value)),
    }
}

/// Replaces what the worksheet has now; a change between the look and the replacement refuses it.
async fn replace_all(state: &AppState, me: &str, uuid: Uuid, items: &[Item]) -> ApiResult<()> {
    let before = state.model.worksheet_items(uuid).await?;
    let base = as_read(&before);
    state.model.replace_items(me, uuid, base, items, state.now()).await?;
    Ok(())
}

fn as_read(items: &[PlacedItem]) -> Base<'static> {
    Base::Read {
        last_item_id: items.iter().map(|item| item.id).max().unwrap_or(-1),
        length: items.len(),
    }
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
            .enumerate()
            .map(|(index, text)| match check_directive(&text) {
                Ok(()) => Ok(Item::directive(text)),
                Err(error) => Err(at_line(index, &error)),
            })
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

/// `GET /worksheets/{uuid}/raw`: the source text with its version.
#[utoipa::path(
    get,
    path = "/worksheets/{uuid}/raw",
    tag = "worksheets",
    summary = "The source text of a worksheet.",
    description = "The lines that the editor shows, joined by newlines. The header `ETag` names the items; send it back as \
        `If-Match` when saving, and a change of somebody else in between is not overwritten.",
    params(UuidPath),
    responses(
        (status = 200, description = "The source text", body = String, content_type = "text/plain"),
        Failures,
    )
)]
pub async fn source(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
) -> ApiResult {
    readable(&state, &viewer, uuid).await?;
    source_text(&state, &viewer, uuid).await
}

async fn source_text(state: &AppState, viewer: &Viewer, uuid: Uuid) -> ApiResult {
    let items = state.model.worksheet_items(uuid).await?;
    let version = version_of(&items);
    let reader = ServerReader::new(state, viewer);
    let page = load_page(state, viewer, items, &reader).await?;
    let mut response = Response::new(Body::from(page.source().join("\n")));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    Ok(with_version(response, &version))
}

/// `POST` or `PUT /worksheets/{uuid}/raw`: the whole source text.
#[utoipa::path(
    method(post, put),
    path = "/worksheets/{uuid}/raw",
    tag = "worksheets",
    summary = "Replaces the worksheet by a source text.",
    description = "With `If-Match`, or `base`, the text replaces exactly that version of the source (`source_version`, `ETag`); \
        if the worksheet has another one by now, nothing is written. Without, only changes during the request are noticed.",
    params(UuidPath, SourceQuery),
    request_body(content = String, content_type = "text/plain", description = "The source text"),
    responses(
        (status = 204, description = "Done; `ETag` names the new version"),
        (status = 409, description = "Another version is there by now: its text, and its `ETag`", body = String, content_type = "text/plain"),
        WriteFailures,
    )
)]
pub async fn replace_source(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    state.model.worksheet(uuid).await?;
    let (kind, need) = (ObjectKind::Worksheet, Permission::All);
    state.model.check_permission(kind, viewer.id(), &[uuid], need).await?;
    let Some(me) = viewer.id() else {
        return Err(ApiError::authentication("User is not authenticated."));
    };
    let expected = Expected::of(&query, &headers);
    let text = text_of(body).await?;
    let before = state.model.worksheet_items(uuid).await?;
    let version = match expected.version(&version_of(&before)) {
        Ok(version) => version,
        Err(Differs) => return conflict(&state, &viewer, uuid).await,
    };
    let items = items_of(&state, &viewer, uuid, text).await?;
    let base = match &version {
        Some(version) => Base::Version(version),
        None => as_read(&before),
    };
    match state.model.replace_items(me, uuid, base, &items, state.now()).await? {
        Replaced::Done { version } => Ok(with_version(respond::no_content(), &version)),
        Replaced::Conflict => conflict(&state, &viewer, uuid).await,
    }
}

/// The versions that a text may replace; none for any.
struct Expected(Option<Vec<String>>);

/// The worksheet has none of the expected versions.
struct Differs;

impl Expected {
    fn of(query: &Query, headers: &HeaderMap) -> Self {
        let mut tags: Vec<String> = Vec::new();
        for value in headers.get_all(header::IF_MATCH) {
            let text = String::from_utf8_lossy(value.as_bytes());
            // A proxy that compresses answers makes tags weak; the version is the same.
            let tags_of = text
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
            tags.extend(tags_of.filter(|tag| !tag.is_empty()).map(str::to_owned));
        }
        tags.extend(query.non_empty("base").map(str::to_owned));
        Self((!tags.is_empty() && tags.iter().all(|tag| tag != "*")).then_some(tags))
    }

    /// The version that is replaced, if one was expected.
    fn version(&self, now: &str) -> Result<Option<String>, Differs> {
        match &self.0 {
            None => Ok(None),
            Some(tags) if tags.iter().any(|tag| tag == now) => Ok(Some(now.to_owned())),
            Some(_) => Err(Differs),
        }
    }
}

/// 409 with what the worksheet is now: the source text, and its version as the tag.
async fn conflict(state: &AppState, viewer: &Viewer, uuid: Uuid) -> ApiResult {
    let mut response = source_text(state, viewer, uuid).await?;
    *response.status_mut() = StatusCode::CONFLICT;
    Ok(response)
}

/// The version of a worksheet's source.
pub fn version_of(items: &[PlacedItem]) -> String {
    model::source_version(items.iter().map(|placed| &placed.item))
}

/// Adds the version of the source to an answer, as its tag.
pub fn with_version(mut response: Response, version: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn text_of(body: Body) -> ApiResult<String> {
    let bytes = Limited::new(body, MOST_SOURCE).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let text = format!("The source text of a worksheet has at most {MOST_SOURCE} bytes.");
            ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, text)
        } else {
            ApiError::usage("The request body was cut off")
        }
    })?;
    let text = String::from_utf8(bytes.to_bytes().into()).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        ApiError::usage(format!(
            "Error in source line {line}: the text is not UTF-8, as the source of a worksheet must be."
        ))
    })?;
    check_lines(&text)?;
    Ok(text)
}

/// 400 for what no worksheet takes, before the text is looked at more closely.
fn check_lines(text: &str) -> ApiResult<()> {
    let (most, longest) = (model::MOST_ITEMS, model::MOST_ITEM_BYTES);
    let mut lines = 0;
    for line in text.split('\n') {
        lines += 1;
        if lines > most {
            return Err(ApiError::usage(format!(
                "A worksheet has at most {most} lines; split it."
            )));
        }
        if line.len() > longest {
            return Err(ApiError::usage(format!(
                "Error in source line {lines}: the line has {} bytes, at most {longest} are allowed; split it.",
                line.len()
            )));
        }
    }
    Ok(())
}

/// The items of a text. References are looked up together, among what the viewer may read.
async fn items_of(state: &AppState, viewer: &Viewer, base: Uuid, text: String) -> ApiResult<Vec<Item>> {
    // A large text takes a while.
    let parsed = tokio::task::spawn_blocking(move || worksheet::parse(&text)).await;
    let lines = parsed.map_err(|error| ApiError::internal(format!("parse a source: {error}")))??;
    let mut bundles = HashSet::new();
    let mut worksheets = HashSet::new();
    for line in &lines {
        match line {
            SourceLine::Item(_) => {}
            SourceLine::Bundle { spec } => drop(bundles.insert(spec.as_str())),
            SourceLine::Worksheet { spec, .. } => drop(worksheets.insert(spec.as_str())),
        }
    }
    let found = if bundles.is_empty() && worksheets.is_empty() {
        model::References::default()
    } else {
        let (bundles, worksheets) = (Vec::from_iter(bundles), Vec::from_iter(worksheets));
        let references = state.model.resolve_references(viewer.id(), base, &bundles, &worksheets);
        references.await?
    };
    let missing = || ApiError::internal("a reference was not looked up");
    let mut items = Vec::with_capacity(lines.len());
    for (index, line) in lines.into_iter().enumerate() {
        items.push(match line {
            SourceLine::Item(item) => item,
            SourceLine::Bundle { spec } => match found.bundles.get(&spec).ok_or_else(missing)? {
                Ok(uuid) => Item::bundle(*uuid),
                Err(error) => return Err(at_line(index, error).into()),
            },
            SourceLine::Worksheet { spec, line } => match found.worksheets.get(&spec).ok_or_else(missing)? {
                Ok(uuid) => Item::worksheet(*uuid),
                Err(error) => unresolved_worksheet(error, &line),
            },
        });
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_versions_come_as_tags_or_as_a_parameter() {
        for (query, tags, now, outcome) in [
            ("", &[][..], "a", Some(None)),
            ("", &["*"], "a", Some(None)),
            ("", &["\"a\""], "a", Some(Some("a"))),
            ("", &["W/\"a\""], "a", Some(Some("a"))),
            ("", &["\"b\", \"a\""], "a", Some(Some("a"))),
            ("", &["\"b\"", "a"], "a", Some(Some("a"))),
            ("", &["\"b\""], "a", None),
            ("base=a", &[], "a", Some(Some("a"))),
            ("base=b", &[], "a", None),
            ("base=", &[], "a", Some(None)),
        ] {
            let mut headers = HeaderMap::new();
            for tag in tags {
                headers.append(header::IF_MATCH, HeaderValue::from_str(tag).unwrap());
            }
            let version = Expected::of(&Query::parse(query), &headers).version(now).ok();
            assert_eq!(version.as_ref().map(Option::as_deref), outcome, "{query} {tags:?}");
        }
    }
}
