//! `DELETE /bundles`.

use axum::extract::State;
use domain::Uuid;
use model::DeleteBundles;

use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{DeleteBundlesQuery, WriteFailures};
use crate::params::Query;
use crate::state::AppState;
use api::Document;
use api::openapi;

/// Deletes bundles (or says which it would delete), then their contents.
#[utoipa::path(
    delete,
    path = "/bundles",
    tag = "bundles",
    summary = "Deletes bundles, all or none.",
    params(DeleteBundlesQuery),
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What was, or would be, deleted", body = openapi::DeletedDocument, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn delete(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    let uuids: Vec<Uuid> = body
        .linkages("bundles")?
        .iter()
        .map(|text| Uuid::parse(text))
        .collect::<Result<_, _>>()?;
    if uuids.is_empty() {
        return Err(ApiError::usage("No bundles to delete."));
    }
    let request = DeleteBundles {
        uuids,
        force: query.flag("force", false)?,
        recursive: query.flag("recursive", false)?,
        data_only: query.flag("data-only", false)?,
        dry_run: query.flag("dry-run", false)?,
    };
    let deleted = state.model.delete_bundles(&me.user_id, &request).await?;
    let ids: Vec<&str> = deleted.iter().map(|bundle| bundle.uuid.as_str()).collect();
    if !request.dry_run {
        for bundle in deleted.iter().filter(|bundle| bundle.link_url.is_empty()) {
            // The rows are gone: contents that cannot be removed now are garbage for the sweep, not a failed request.
            if let Err(error) = state.storage.delete(&bundle.uuid).await {
                tracing::error!(bundle = %bundle.uuid, %error, "cannot remove the contents of a deleted bundle");
            }
            state.hub.publish(hub::Event::BundleDeleted {
                uuid: bundle.uuid.to_string(),
            });
        }
    }
    Ok(state.respond(Document::meta_only("ids", ids)))
}
