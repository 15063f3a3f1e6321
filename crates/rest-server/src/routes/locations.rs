//! Where contents lie, and the end of uploads that went to a store directly.

use api::bundles::LocationAttributes;
use api::{Document, Resource, kind};
use axum::extract::{Path, State};
use domain::{BundleState, ErrorKind, Permission, Uuid};
use model::{BundleLocation, ObjectKind};
use serde_json::{Map, Value, json};

use super::bundles::fetch::{Wanted, present_all};
use super::need_all_on_bundles;
use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{BypassQuery, Failures, LocationPath, StateQuery, UuidPath, UuidsQuery, WriteFailures};
use crate::params::Query;
use crate::path::PathUuid;
use crate::state::AppState;
use crate::{reading, respond};
use api::openapi;

/// `GET /bundles/locations?uuids=...`: paths, for those who may know them.
#[utoipa::path(
    get,
    path = "/bundles/locations",
    tag = "bundle stores",
    summary = "Where contents lie, for those who may know.",
    params(UuidsQuery),
    responses(
        (status = 200, description = "Paths by uuid", body = openapi::PathsAnswer, content_type = "application/json"),
        Failures,
    )
)]
pub async fn paths(
    State(state): State<AppState>,
    LoginProtected(viewer, _): LoginProtected,
    query: Query,
) -> ApiResult {
    let uuids: Vec<Uuid> = query
        .all("uuids")
        .iter()
        .map(|text| Uuid::parse(text))
        .collect::<Result<_, _>>()?;
    state
        .model
        .check_permission(ObjectKind::Bundle, viewer.id(), &uuids, Permission::Read)
        .await?;
    let mut data = Map::new();
    for record in state.model.bundles(&uuids).await? {
        let link = record.bundle.metadata.str("link_url");
        let path = if !link.is_empty() {
            Value::from(link)
        } else if viewer.is_root(&state) {
            reading::stored(&state, &record.bundle)
                .location()
                .await?
                .map(|path| path.to_string_lossy().into_owned())
                .into()
        } else {
            Value::Null
        };
        data.insert(record.bundle.uuid.to_string(), path);
    }
    let mut object = Map::new();
    object.insert("data".to_owned(), Value::Object(data));
    Ok(respond::json_object(object, &state.settings.version))
}

/// `GET /bundles/{uuid}/locations/`
#[utoipa::path(
    get,
    path = "/bundles/{uuid}/locations/",
    tag = "bundle stores",
    summary = "The stores that hold a bundle.",
    params(UuidPath),
    responses(
        (status = 200, description = "The locations", body = openapi::ManyDocument<api::bundles::LocationAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(
    State(state): State<AppState>,
    LoginProtected(viewer, _): LoginProtected,
    PathUuid(uuid): PathUuid,
) -> ApiResult {
    state
        .model
        .check_permission(ObjectKind::Bundle, viewer.id(), &[uuid], Permission::Read)
        .await?;
    let locations = state.model.locations(&[uuid]).await?.remove(&uuid).unwrap_or_default();
    Ok(state.respond(Document::many(locations.into_iter().map(location))))
}

/// `GET /bundles/{uuid}/locations/{store_uuid}/`
#[utoipa::path(
    get,
    path = "/bundles/{uuid}/locations/{store_uuid}/",
    tag = "bundle stores",
    summary = "One location of a bundle.",
    params(LocationPath),
    responses(
        (status = 200, description = "The location", body = openapi::OneDocument<api::bundles::LocationAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn one(
    State(state): State<AppState>,
    LoginProtected(viewer, _): LoginProtected,
    PathUuid(uuid): PathUuid,
    Path((_, store)): Path<(String, String)>,
) -> ApiResult {
    state
        .model
        .check_permission(ObjectKind::Bundle, viewer.id(), &[uuid], Permission::Read)
        .await?;
    let locations = state.model.locations(&[uuid]).await?.remove(&uuid).unwrap_or_default();
    match locations
        .into_iter()
        .find(|location| location.store_uuid == *store.as_str())
    {
        Some(found) => Ok(state.respond(Document::one(location(found)))),
        None => Err(ApiError::not_found(format!(
            "Bundle {uuid} is not in the store {store}"
        ))),
    }
}

fn location(location: BundleLocation) -> Resource {
    let attributes = LocationAttributes {
        bundle_store_uuid: location.store_uuid,
        name: location.name,
        storage_type: location.storage_type.unwrap_or_default(),
        storage_format: location.storage_format.unwrap_or_default(),
        url: location.url,
    };
    Resource::new(kind::BUNDLE_LOCATIONS, location.store_uuid.as_str(), attributes)
}

/// `POST /bundles/{uuid}/locations/`: asked before every upload. The null addresses mean "send it through the server".
#[utoipa::path(
    post,
    path = "/bundles/{uuid}/locations/",
    tag = "bundle stores",
    summary = "Asked before every upload: where to send the contents.",
    params(UuidPath, BypassQuery),
    request_body(content = openapi::ResourcesRequest<openapi::LocationInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "Null addresses: through this server", body = openapi::ManyDocument<openapi::AnyAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn add(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    let need_bypass = query.flag("need_bypass", false)?;
    let input = body.single_resource(kind::BUNDLE_LOCATIONS, "Exactly one location is expected.")?;
    if input.text("bundle_uuid")?.is_some_and(|text| uuid != *text) {
        return Err(ApiError::usage(
            "The bundle of the location must be the bundle of the address.",
        ));
    }
    need_all_on_bundles(&state, Some(&me.user_id), &[uuid]).await?;
    if let Some(store) = input.nullable_text("bundle_store_uuid")?.flatten() {
        let store = state.model.find_store(&me.user_id, store).await?;
        state.model.add_location(uuid, store.uuid).await?;
    }
    let mut attributes = json!({"bundle_uuid": uuid});
    if need_bypass {
        for name in ["bundle_conn_str", "index_conn_str", "bundle_url"] {
            attributes[name] = Value::Null;
        }
    }
    Ok(state.respond(Document::many([Resource::new(
        kind::BUNDLE_LOCATIONS,
        Value::Null,
        attributes,
    )])))
}

/// `POST /bundles/{uuid}/state`: a client that stored the contents itself says how it went.
#[utoipa::path(
    post,
    path = "/bundles/{uuid}/state",
    tag = "bundle stores",
    summary = "A client that stored contents itself says how it went.",
    params(UuidPath, StateQuery),
    responses(
        (status = 200, description = "The bundle", body = openapi::ManyDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn set_state(
    State(state): State<AppState>,
    LoginProtected(viewer, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    query: Query,
) -> ApiResult {
    let success = query.flag("success", true)?;
    let (name, default) = if success {
        ("state_on_success", "ready")
    } else {
        ("state_on_failure", "failed")
    };
    let end: Option<BundleState> = query.get(name).unwrap_or(default).parse().ok();
    let Some(end) = end.filter(|state| state.is_final()) else {
        return Err(ApiError::usage(format!("{name} must be one of failed|ready|killed")));
    };
    need_all_on_bundles(&state, Some(&me.user_id), &[uuid]).await?;
    let failure = (!success).then(|| query.get("error_msg").unwrap_or("Upload failed."));
    let measured = measure(&state, uuid).await?.or((!success).then_some(0));
    let reported = state.model.report_upload(uuid, end, failure, measured, state.now());
    if reported.await? {
        state.hub.publish(hub::Event::bundle_changed(uuid, end));
    }
    let records = state.model.bundles_for(viewer.id(), &[uuid]).await?;
    let (resources, _) = present_all(&state, &viewer, records, &Wanted::default()).await?;
    Ok(state.respond(Document::many(resources)))
}

/// Bytes that the bundle has in the store now; none if there is nothing.
async fn measure(state: &AppState, uuid: Uuid) -> ApiResult<Option<i64>> {
    let bundle = state.model.bundle(uuid).await?.bundle;
    if bundle.is_linked() {
        return Ok(None);
    }
    let contents = reading::stored(state, &bundle);
    match contents.size(&contents.sub_path("")?).await {
        Ok(bytes) => Ok(Some(bytes as i64)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
