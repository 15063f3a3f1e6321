//! `DELETE /bundles`.

use axum::extract::State;
use domain::Uuid;
use model::{DeleteBundles, DeletedBundle};

use crate::auth::LoginProtected;
use crate::error::ApiResult;
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
        // `cl rm` without bundles asks for this.
        return Ok(state.respond(Document::meta_only("ids", Vec::<&str>::new())));
    }
    let request = DeleteBundles {
        uuids,
        force: query.flag("force", false)?,
        recursive: query.flag("recursive", false)?,
        data_only: query.flag("data-only", false)?,
        dry_run: query.flag("dry-run", false)?,
    };
    let deleted = state.model.delete_bundles(&me.user_id, &request, state.now()).await?;
    let ids: Vec<&str> = deleted.iter().map(|bundle| bundle.uuid.as_str()).collect();
    if !request.dry_run {
        remove_contents(&state, &deleted).await;
        for uuid in &ids {
            state.hub.publish(hub::Event::BundleDeleted {
                uuid: (*uuid).to_owned(),
            });
        }
    }
    Ok(state.respond(Document::meta_only("ids", ids)))
}

/// Removes what lies in the store. The rows are gone: what cannot be removed now is left to the sweep of the bundle
/// manager, and no reason to refuse the request.
async fn remove_contents(state: &AppState, deleted: &[DeletedBundle]) {
    let mut removed = Vec::new();
    for bundle in deleted.iter().filter(|bundle| bundle.link_url.is_empty()) {
        match state.storage.delete(&bundle.uuid).await {
            Ok(()) => removed.push(bundle.uuid),
            Err(error) => {
                tracing::error!(bundle = %bundle.uuid, %error, "cannot remove the contents of a deleted bundle");
            }
        }
    }
    if let Err(error) = state.model.forget_leftovers(&removed).await {
        tracing::error!(%error, "cannot note that contents of deleted bundles are removed");
    }
}
