//! `GET /static/{path}`: files that the operator has put into one directory, for everybody.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use contents::SubPath;
use http::{HeaderValue, Method, header};

use super::contents::types::content_type;
use crate::error::{ApiError, ApiResult};
use crate::openapi::Failures;
use crate::path::RestPath;
use crate::state::AppState;

/// A file below the directory. Links, directories and everything outside are not found.
#[utoipa::path(
    get,
    path = "/static/{path}",
    tag = "server",
    summary = "A file of the operator's directory (CODALAB_STATIC_DIR).",
    params(("path" = String, Path, description = "Path below the directory", example = "logo.png")),
    responses(
        (status = 200, description = "The file, in its type", content_type = "*/*"),
        Failures,
    )
)]
pub async fn read(State(state): State<AppState>, RestPath(path): RestPath, method: Method) -> ApiResult {
    let not_found = || ApiError::not_found(format!("Not found: '/rest/static/{path}'"));
    let directory = state.settings.static_dir.clone().ok_or_else(not_found)?;
    let inside = SubPath::parse(&path).map_err(|_| not_found())?;
    let file = tokio::task::spawn_blocking(move || contents::open_file(&directory, &inside))
        .await
        .map_err(|error| ApiError::internal(error.to_string()))?
        .map_err(|_| not_found())?;
    let size = file.size();
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(file.stream())
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&path)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
