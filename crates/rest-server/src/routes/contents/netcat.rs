//! Talking to a TCP port of a running bundle.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::BundleState;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Limited;
use serde_json::{Map, Value};

use super::netcurl::MOST_ANSWER;
use crate::auth::Protected;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::openapi::{PortPath, WriteFailures};
use crate::path::{PathPort, PathUuid};
use crate::reading;
use crate::relay::{self, Outgoing};
use crate::state::AppState;
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
    PathUuid(uuid): PathUuid,
    PathPort(port): PathPort,
    body: JsonBody,
) -> ApiResult {
    let bundle = reading::readable_bundle(&state, &viewer, uuid).await?;
    if bundle.state != BundleState::Running {
        return Err(ApiError::permission("Cannot netcat bundle, bundle not running."));
    }
    let answer = relay::netcat(&state, &bundle, port, message(&body.object())?)
        .await
        .map_err(|refusal| refusal.told(&bundle, StatusCode::INTERNAL_SERVER_ERROR))?;
    let mut response = Response::new(Body::new(Limited::new(answer, MOST_ANSWER)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// What is sent: a text, or any bytes as `message_base64`.
fn message(body: &Map<String, Value>) -> ApiResult<Outgoing> {
    let wrong = |text: &str| ApiError::usage(text);
    match (body.get("message_base64"), body.get("message")) {
        (Some(Value::String(text)), _) => STANDARD
            .decode(text)
            .map(Outgoing::of)
            .map_err(|_| wrong("message_base64 is not valid base64.")),
        (Some(_), _) => Err(wrong("message_base64: Not a valid string.")),
        (None, Some(Value::String(text))) => Ok(Outgoing::Text(text.clone())),
        (None, Some(_)) => Err(wrong("message: Not a valid string.")),
        (None, None) => Err(wrong("message: Missing data for required field.")),
    }
}
