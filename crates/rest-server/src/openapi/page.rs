//! The interactive page: Swagger UI, whose files are part of the program.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::{HeaderValue, header};
use utoipa_swagger_ui::Config;

use crate::error::{ApiError, ApiResult, redirect};

/// The page brings its own scripts and styles and loads nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// `GET /docs`
pub async fn show() -> Response {
    redirect("/rest/docs/index.html")
}

/// `GET /docs/{*path}`
pub async fn asset(Path(path): Path<String>) -> ApiResult {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Arc::new(Config::from("/rest/openapi.json").validator_url("none")));
    let file = utoipa_swagger_ui::serve(&path, Arc::clone(config))
        .map_err(|error| ApiError::internal(format!("the page of the API: {error}")))?
        .ok_or_else(|| ApiError::not_found(format!("Not found: '/rest/docs/{path}'")))?;
    let mut response = Response::new(Body::from(file.bytes.into_owned()));
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&file.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}
