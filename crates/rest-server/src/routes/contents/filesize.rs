//! `PATCH /bundles/{uuid}/contents/filesize/`: corrects the index of an archive in an object store. Contents on disk know
//! their size, so nothing changes there.

use api::{Document, openapi};
use axum::extract::State;
use serde_json::Value;

use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{UuidPath, WriteFailures};
use crate::path::PathUuid;
use crate::routes::bundles::fetch::{Wanted, present_all};
use crate::routes::need_all_on_bundles;
use crate::state::AppState;

/// Checks the request and answers with the bundle.
#[utoipa::path(
    patch,
    path = "/bundles/{uuid}/contents/filesize/",
    tag = "contents",
    summary = "Corrects the size of an archive in an object store.",
    params(UuidPath),
    request_body(content = openapi::ResourcesRequest<openapi::AnyAttributes>, content_type = "application/json"),
    responses(
        (status = 200, description = "The bundle", body = openapi::ManyDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn set(
    State(state): State<AppState>,
    LoginProtected(viewer, me): LoginProtected,
    PathUuid(uuid): PathUuid,
    body: JsonBody,
) -> ApiResult {
    need_all_on_bundles(&state, Some(&me.user_id), &[uuid]).await?;
    let size = new_size(body)?;
    let records = state.model.bundles_for(viewer.id(), &[uuid]).await?;
    let recorded = records
        .first()
        .map_or(0, |(record, _)| record.bundle.metadata.int("data_size"));
    tracing::debug!(bundle = %uuid, size, recorded, "contents on disk know their size");
    let (resources, _) = present_all(&state, &viewer, records, &Wanted::default()).await?;
    Ok(state.respond(Document::many(resources)))
}

/// The attribute `filesize`, in bytes. Clients name any resource type here.
fn new_size(body: JsonBody) -> ApiResult<u64> {
    let mut data = body
        .object()
        .remove("data")
        .ok_or_else(|| ApiError::usage("Object must include `data` key."))?;
    if let Value::Array(items) = &mut data {
        data = match items.pop() {
            Some(item) if items.is_empty() => item,
            _ => return Err(ApiError::usage("Exactly one file size is expected.")),
        };
    }
    match &data["attributes"]["filesize"] {
        Value::Null => Err(ApiError::usage("filesize: Missing data for required field.")),
        size => size
            .as_u64()
            .ok_or_else(|| ApiError::usage("filesize must be a number of bytes, 0 or more.")),
    }
}
