//! Talking to a TCP port of a running bundle.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::{BundleState, Uuid};
use http::{HeaderValue, header};

use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{PortPath, WriteFailures};
use crate::state::AppState;
use crate::{reading, relay};
use api::openapi;

/// `PUT /bundles/{uuid}/netcat/{port}/`: sends a text, answers with what comes back until the other side closes.
#[utoipa::path(
    put,
    path = "/bundles/{uuid}/netcat/{port}/",
    tag = "contents",
    summary = "Sends a text to a port of a run and answers with what comes back.",
    params(PortPath),
    request_body(content = openapi::NetcatRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What came back", content_type = "application/octet-stream"),
        WriteFailures,
    )
)]
pub async fn cat(
    State(state): State<AppState>,
    Protected(viewer): Protected,
    Path((uuid, port)): Path<(String, u16)>,
    body: JsonBody,
) -> ApiResult {
    let uuid = Uuid::parse(&uuid).map_err(|_| ApiError::not_found(format!("Bundle {uuid} not found")))?;
    let bundle = reading::readable_bundle(&state, &viewer, uuid).await?;
    if bundle.state != BundleState::Running {
        return Err(ApiError::permission("Cannot netcat bundle, bundle not running."));
    }
    let message = body.object().remove("message");
    let message = message
        .as_ref()
        .and_then(|value| value.as_str())
        .unwrap_or_default()
        .to_owned();
    let answer = relay::netcat(&state, &bundle, port, message)
        .await
        .map_err(|refusal| refusal.into_error(&bundle))?;
    let mut response = Response::new(answer);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
