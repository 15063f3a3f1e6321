//! `GET /bundles/{uuid}/contents/info/{path}`.

use axum::extract::State;
use serde_json::{Map, json};

use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::openapi::{DepthQuery, Failures, TreePath};
use crate::params::Query;
use crate::path::{PathUuid, RestPath};
use crate::state::AppState;
use crate::{reading, respond};
use api::openapi;

/// The info tree of a path.
#[utoipa::path(
    get,
    path = "/bundles/{uuid}/contents/info/{path}",
    tag = "contents",
    summary = "What a path is.",
    params(TreePath, DepthQuery),
    responses(
        (status = 200, description = "The info tree", body = openapi::ContentsAnswer, content_type = "application/json"),
        Failures,
    )
)]
pub async fn read(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    PathUuid(uuid): PathUuid,
    RestPath(path): RestPath,
    query: Query,
) -> ApiResult {
    let depth = query.int("depth")?.unwrap_or(0);
    if depth < 0 {
        return Err(ApiError::usage("Depth must be at least 0"));
    }
    let depth = u32::try_from(depth).unwrap_or(u32::MAX);
    let target = reading::resolve(&state, &viewer, uuid, &path, depth).await?;
    let mut object = Map::new();
    object.insert("data".to_owned(), json!(target.info));
    Ok(respond::json_object(object, &state.settings.version))
}
