//! What happens to every request outside its handler: request id, access log, error bodies, JSON parsing.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};

use crate::error::{ApiError, ErrorText};

/// JSON bodies above this many bytes are refused with 413.
pub const JSON_LIMIT: usize = api::MAX_JSON_BODY;
/// A JSON body must have arrived after this time.
const JSON_DEADLINE: Duration = Duration::from_secs(120);
const REQUEST_ID: &str = "x-request-id";

/// Facts about the running request that layers share.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Names the request in logs and answers.
    pub request_id: Arc<str>,
    /// The user name, once authentication has found one.
    pub user: Arc<OnceLock<String>>,
}

/// The outermost layer of the API: gives the request its id, writes the access line, and gives errors their body.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext {
        request_id: request_id(request.headers()),
        user: Arc::default(),
    };
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let ajax = is_ajax(request.headers());
    let head_only = method == Method::HEAD;

    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ErrorText>() {
        write_error_body(&mut response, &error, ajax && !head_only, &context.request_id);
    }
    if let Ok(value) = HeaderValue::from_str(&context.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if !is_health(&path) {
        tracing::info!(
            request_id = %context.request_id,
            user = context.user.get().map(String::as_str),
            method = %method,
            path,
            status = response.status().as_u16(),
            ms = started.elapsed().as_millis() as u64,
            "request"
        );
    }
    response
}

/// True for requests of the command line and the workers, which want errors as bare text.
pub fn is_ajax(headers: &HeaderMap) -> bool {
    headers
        .get("x-requested-with")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("XMLHttpRequest"))
}

/// A parsed JSON body, left in the request by [`parse_json`].
#[derive(Clone, Debug)]
pub struct ParsedJson(pub serde_json::Value);

/// Reads and parses bodies that are declared to be JSON. Runs before authentication, so that a broken body is a 400
/// for everybody. Routes with raw bodies do not have this layer.
pub async fn parse_json(request: Request, next: Next) -> Response {
    if !is_json(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match read_json(body).await {
        Ok(value) => {
            if let Some(value) = value {
                parts.extensions.insert(ParsedJson(value));
            }
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        Err(error) => error.into_response(),
    }
}

async fn read_json(body: Body) -> Result<Option<serde_json::Value>, ApiError> {
    let collected = tokio::time::timeout(JSON_DEADLINE, Limited::new(body, JSON_LIMIT).collect())
        .await
        .map_err(|_| {
            ApiError::Status(
                StatusCode::REQUEST_TIMEOUT,
                "The request body did not arrive in time".to_owned(),
            )
        })?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(ApiError::Status(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request to large".to_owned(),
            ));
        }
        Err(_) => return Err(ApiError::usage("The request body was cut off")),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| ApiError::usage("Invalid JSON"))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .eq_ignore_ascii_case("application/json")
        })
}

/// Answer to a path that no route has.
pub async fn not_found(uri: Uri) -> Response {
    ApiError::not_found(format!("Not found: '{}'", uri.path())).into_response()
}

/// Answer to a path that has no such method.
pub async fn method_not_allowed() -> Response {
    ApiError::Status(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.".to_owned()).into_response()
}

/// Turns a panic in a handler into a 500, so that it costs one request and not the connection.
#[allow(clippy::needless_pass_by_value)] // the signature that the layer asks for
pub fn panic_response(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
    match given {
        Some(text) => text.into(),
        None => uuid::Uuid::new_v4().simple().to_string().into(),
    }
}

fn is_health(path: &str) -> bool {
    matches!(
        path,
        "/healthz" | "/readyz" | "/rest/health/live" | "/rest/health/ready"
    )
}

fn write_error_body(response: &mut Response, error: &ErrorText, plain: bool, request_id: &str) {
    let message = if error.internal {
        tracing::error!(request_id, message = %error.message, "internal error");
        format!("Unexpected Internal Error (request {request_id}). The administrators have been notified.")
    } else {
        error.message.clone()
    };
    let (body, kind) = if plain {
        (message, "text/plain; charset=utf-8")
    } else {
        (error_page(response.status(), &message), "text/html; charset=utf-8")
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.body_mut() = Body::from(body);
}

fn error_page(status: StatusCode, message: &str) -> String {
    let title = format!(
        "Error: {} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let message = message
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    format!(
        "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1>\n<pre>{message}</pre>\n</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_pages_escape_the_message_and_keep_it_in_the_first_pre() {
        let page = error_page(StatusCode::NOT_FOUND, "no <b> & \"c\"");
        assert!(page.contains("<title>Error: 404 Not Found</title>"));
        assert!(page.contains("<pre>no &lt;b&gt; &amp; &quot;c&quot;</pre>"));
    }

    #[test]
    fn only_harmless_request_ids_are_taken_from_outside() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1.2_x"));
        assert_eq!(&*request_id(&headers), "abc-1.2_x");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b"));
        assert_eq!(request_id(&headers).len(), 32);
    }

    #[test]
    fn json_is_recognised_by_media_type_alone() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_json(&headers), expected, "{value}");
        }
    }
}
