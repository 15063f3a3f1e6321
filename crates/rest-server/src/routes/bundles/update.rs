//! `PATCH /bundles`.

use axum::extract::State;
use domain::{Metadata, UtcTime, Uuid};
use model::BundleUpdate;
use serde_json::Value;

use super::fetch::{Wanted, present_all};
use crate::auth::LoginProtected;
use crate::error::ApiResult;
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::WriteFailures;
use crate::state::AppState;
use api::Document;
use api::openapi;

/// Changes bundles, all or none; each update goes to the bundle with its id.
#[utoipa::path(
    patch,
    path = "/bundles",
    tag = "bundles",
    summary = "Changes bundles, all or none.",
    request_body(content = openapi::ResourcesRequest<openapi::BundleChange>, content_type = "application/json"),
    responses(
        (status = 200, description = "The bundles", body = openapi::ManyDocument<api::bundles::BundleAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn update(
    State(state): State<AppState>,
    LoginProtected(viewer, me): LoginProtected,
    body: JsonBody,
) -> ApiResult {
    let mut updates = Vec::new();
    for input in body.resources("bundles")? {
        updates.push(bundle_update(&state, &input).await?);
    }
    let uuids: Vec<Uuid> = updates.iter().map(|update| update.uuid).collect();
    state.model.update_bundles(&me.user_id, updates, state.now()).await?;
    let records = state.model.bundles_for(viewer.id(), &uuids).await?;
    for (record, _) in &records {
        state
            .hub
            .publish(hub::Event::bundle_changed(record.bundle.uuid, record.bundle.state));
    }
    let (resources, _) = present_all(&state, &viewer, records, &Wanted::default()).await?;
    Ok(state.respond(Document::many(resources)))
}

async fn bundle_update(state: &AppState, input: &ResourceInput) -> ApiResult<BundleUpdate> {
    let metadata = match input.attributes.get("metadata") {
        Some(Value::Object(sent)) => Metadata(sent.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        None | Some(Value::Null) => Metadata::new(),
        Some(_) => return Err(input.invalid("metadata", "Not a valid mapping.")),
    };
    let frozen = match input.nullable_text("frozen")? {
        None => None,
        Some(None) => Some(None),
        Some(Some(text)) => {
            let time = UtcTime::parse(text).map_err(|_| input.invalid("frozen", "Not a valid datetime."))?;
            Some(Some(time))
        }
    };
    let owner_id = match input.linkage("owner", "users")?.flatten() {
        Some(owner) => Some(state.model.find_user(&owner).await?.user_id),
        None => None,
    };
    Ok(BundleUpdate {
        uuid: Uuid::parse(input.required_id()?)?,
        metadata,
        frozen,
        is_anonymous: input.boolean("is_anonymous")?,
        owner_id,
    })
}
