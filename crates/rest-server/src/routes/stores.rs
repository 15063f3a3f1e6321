//! Bundle stores.

use api::bundles::StoreAttributes;
use api::{Document, Resource, kind};
use axum::extract::{Path, State};
use domain::Uuid;
use domain::error::ErrorKind;
use model::{BundleStore, NewStore};
use serde_json::Value;

use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::{Failures, StorePath, StoresQuery, WriteFailures};
use crate::params::Query;
use crate::respond;
use crate::state::AppState;
use api::openapi;

/// `GET /bundle_stores`
#[utoipa::path(
    get,
    path = "/bundle_stores",
    tag = "bundle stores",
    summary = "Stores that the caller may use.",
    params(StoresQuery),
    responses(
        (status = 200, description = "The stores", body = openapi::ManyDocument<api::bundles::StoreAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, query: Query) -> ApiResult {
    let stores = match query.non_empty("name") {
        Some(name) => vec![state.model.find_store(&me.user_id, name).await?],
        None => state.model.stores(&me.user_id).await?,
    };
    Ok(state.respond(Document::many(
        stores.iter().map(|store| present(store, owner_number(store))),
    )))
}

/// `GET /bundle_stores/{uuid}`
#[utoipa::path(
    get,
    path = "/bundle_stores/{uuid}",
    tag = "bundle stores",
    summary = "One store.",
    params(StorePath),
    responses(
        (status = 200, description = "The store", body = openapi::OneDocument<api::bundles::StoreAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn fetch(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path(uuid): Path<String>,
) -> ApiResult {
    let store = state.model.find_store(&me.user_id, &uuid).await;
    // Nobody asked for a name, and CodaLab 1.7 says so in its own words.
    let store = store.map_err(|error| match error.kind {
        ErrorKind::Usage => ApiError::usage("Can not find the BundleStore with name None."),
        _ => error.into(),
    })?;
    let owner = match &store.owner_id {
        Some(id) => state.model.user(id).await?.map(|user| user.user_name),
        None => None,
    };
    Ok(state.respond(Document::one(present(&store, owner.into()))))
}

/// `POST /bundle_stores`
#[utoipa::path(
    post,
    path = "/bundle_stores",
    tag = "bundle stores",
    summary = "Makes stores.",
    request_body(content = openapi::ResourcesRequest<openapi::StoreInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The stores", body = openapi::ManyDocument<api::bundles::StoreAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn create(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let new: Vec<NewStore> = body
        .resources(kind::BUNDLE_STORES)?
        .iter()
        .map(new_store)
        .collect::<Result<_, _>>()?;
    let stores = state.model.create_stores(&me.user_id, &new).await?;
    Ok(state.respond(Document::many(
        stores.iter().map(|store| present(store, owner_number(store))),
    )))
}

fn new_store(input: &ResourceInput) -> ApiResult<NewStore> {
    let optional = |name: &str| -> ApiResult<Option<String>> {
        Ok(input
            .nullable_text(name)?
            .flatten()
            .filter(|text| !text.is_empty())
            .map(str::to_owned))
    };
    Ok(NewStore {
        name: input.required_text("name")?.to_owned(),
        storage_type: input.required_text("storage_type")?.to_owned(),
        storage_format: optional("storage_format")?,
        url: optional("url")?,
        authentication: optional("authentication")?,
        authentication_env: optional("authentication_env")?,
    })
}

/// `DELETE /bundle_stores`
#[utoipa::path(
    delete,
    path = "/bundle_stores",
    tag = "bundle stores",
    summary = "Deletes stores that nothing uses.",
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Done"),
        WriteFailures,
    )
)]
pub async fn delete(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let uuids: Vec<Uuid> = body
        .linkages(kind::BUNDLE_STORES)?
        .iter()
        .map(|id| Uuid::parse(id))
        .collect::<Result<_, _>>()?;
    state.model.delete_stores(&me.user_id, &uuids).await?;
    Ok(respond::empty())
}

/// Lists show the owner as a number, as far as it is one.
fn owner_number(store: &BundleStore) -> Value {
    let id = store.owner_id.as_deref().unwrap_or_default();
    id.parse::<i64>().map_or_else(|_| Value::from(id), Value::from)
}

fn present(store: &BundleStore, owner: Value) -> Resource {
    let attributes = StoreAttributes {
        uuid: store.uuid,
        owner,
        name: store.name.clone(),
        storage_type: store.storage_type.clone().unwrap_or_default(),
        storage_format: store.storage_format.clone().unwrap_or_default(),
        url: store.url.clone(),
    };
    Resource::new(kind::BUNDLE_STORES, store.uuid.as_str(), attributes)
}
