//! What happens to every request outside its handler: request id, error bodies, headers, its turn, JSON parsing. Counting
//! and logging are in [`crate::traffic`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::Instant;

use crate::error::{self, ApiError, ErrorText};
use crate::params::Query;
use crate::traffic::{self, Class, Exchange, Permit, Received, Traffic};

/// JSON bodies above this many bytes are refused with 413.
pub const JSON_LIMIT: usize = api::MAX_JSON_BODY;
/// Forms, and whatever else is sent to routes that take JSON, may be this long.
const FORM_LIMIT: usize = 1 << 20;
/// How much of a body that is too long is still taken in, because clients read the answer only after they have sent
/// everything.
const DISCARDED: usize = 32 << 20;
const REQUEST_ID: &str = "x-request-id";
/// What a client does that was turned away for the moment.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Facts about the running request that layers share.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Names the request in logs and answers.
    pub request_id: Arc<str>,
    /// The user name, once authentication has found one.
    pub user: Arc<OnceLock<String>>,
}

/// The outermost layer of the API: gives the request its id, gives errors their body and answers their headers, and sees
/// to it that the exchange is logged and counted when it is over.
pub async fn observe(State(traffic): State<Arc<Traffic>>, mut request: Request, next: Next) -> Response {
    let context = RequestContext {
        request_id: request_id(request.headers()),
        user: Arc::default(),
    };
    request.extensions_mut().insert(context.clone());
    let ajax = is_ajax(request.headers());
    let received = request.extensions().get::<Received>().cloned();
    let mut exchange = Exchange::begin(
        Arc::clone(&traffic),
        context,
        request.method().clone(),
        request.uri().path().to_owned(),
        request.extensions().get::<MatchedPath>().cloned(),
        received.clone(),
    );
    exchange.is_probe = Class::of(exchange.route()) == Class::Probe;
    let head_only = exchange.method == http::Method::HEAD;

    let mut response = match traffic::check_framing(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if received.is_some_and(|received| received.is_stalled()) && !response.status().is_success() {
        traffic.metrics.stalled.inc();
        response = too_slow().into_response();
    }
    if let Some(error) = response.extensions_mut().remove::<ErrorText>() {
        write_error_body(&mut response, &error, ajax && !head_only, &exchange.context.request_id);
    }
    let status = response.status();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&exchange.context.request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE && !exchange.is_probe {
        headers.entry(header::RETRY_AFTER).or_insert(RETRY_AFTER);
    }
    traffic::secure(headers, exchange.route());
    let permit = response.extensions_mut().remove::<Permit>();
    exchange.watch(response, permit)
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

/// Around routes that take JSON, or a form: collects the body, waits for the request's turn, then parses what is declared to
/// be JSON. All of it before authentication, so that a broken body is a 400 for everybody, and so that a slow client holds
/// no place among the working requests.
pub async fn json_route(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    let class = class_of(&request);
    let format_errors = request.uri().query().is_some_and(wants_formatted_errors);
    let (mut parts, body) = request.into_parts();
    let json = is_json(&parts.headers);
    let limit = if json { JSON_LIMIT } else { FORM_LIMIT };
    let mut room = traffic.admission.room();
    let bytes = match collect(&traffic, body, limit, &mut room).await {
        Ok(bytes) => bytes,
        Err(error) => return error.into_response(),
    };
    let permit = match turn(&traffic, class).await {
        Ok(permit) => permit,
        Err(error) => return error.into_response(),
    };
    let mut parsing = match traffic.admission.parse(if json { bytes.len() } else { 0 }).await {
        Ok(parsing) => parsing,
        Err(error) => return error.into_response(),
    };
    let request = if json && !bytes.is_empty() {
        match serde_json::from_slice(&bytes) {
            Ok(value) => parts.extensions.insert(ParsedJson(value)),
            Err(_) => return ApiError::usage("Invalid JSON").into_response(),
        };
        drop((bytes, room));
        if class == Class::CheckIn {
            // It waits on purpose; what it said is small by now.
            parsing = None;
        }
        Request::from_parts(parts, Body::empty())
    } else {
        Request::from_parts(parts, Body::from(bytes))
    };
    let mut response = next.run(request).await;
    drop(parsing);
    if format_errors {
        error::format_schema_error(&mut response);
    }
    keep(response, class, permit)
}

fn wants_formatted_errors(query: &str) -> bool {
    Query::parse(query).flag("format_errors", false).unwrap_or(false)
}

/// Around routes that take their bodies as they come: waits for the request's turn.
pub async fn raw_route(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    let class = class_of(&request);
    match turn(&traffic, class).await {
        Ok(permit) => keep(next.run(request).await, class, permit),
        Err(error) => error.into_response(),
    }
}

fn class_of(request: &Request) -> Class {
    let route = request.extensions().get::<MatchedPath>();
    route.map_or(Class::Ordinary, |route| Class::of(route.as_str()))
}

async fn turn(traffic: &Traffic, class: Class) -> Result<Permit, ApiError> {
    let permit = traffic.admission.enter(class).await;
    if permit.is_err() {
        traffic.metrics.shed(class.as_str());
    }
    permit
}

/// A transfer holds its place until its last byte; others need it no longer.
fn keep(mut response: Response, class: Class, permit: Permit) -> Response {
    if class == Class::Stream {
        response.extensions_mut().insert(permit);
    }
    response
}

async fn collect(traffic: &Traffic, mut body: Body, limit: usize, room: &mut traffic::Room) -> Result<Bytes, ApiError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let deadline = Instant::now() + Duration::from_secs_f64(traffic.limits.body_seconds);
    let (mut collected, mut size) = (BytesMut::new(), 0_usize);
    loop {
        let frame = tokio::time::timeout_at(deadline, body.frame())
            .await
            .map_err(|_| too_slow())?;
        let data = match frame {
            None if size > limit => return Err(too_large()),
            None => return Ok(collected.freeze()),
            Some(Err(_)) => return Err(ApiError::usage("The request body was cut off")),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        size += data.len();
        if size > limit {
            collected = BytesMut::new();
            if size > limit + DISCARDED {
                return Err(too_large());
            }
            continue;
        }
        room.grow(size)?;
        collected.extend_from_slice(&data);
    }
}

fn too_slow() -> ApiError {
    ApiError::Status(
        StatusCode::REQUEST_TIMEOUT,
        "The request body did not arrive in time".to_owned(),
    )
}

fn too_large() -> ApiError {
    ApiError::Status(StatusCode::PAYLOAD_TOO_LARGE, "Request to large".to_owned())
}

/// Whether a body is declared to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
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

/// Gives an error its body, as bare text or as a page.
pub fn write_error_body(response: &mut Response, error: &ErrorText, plain: bool, request_id: &str) {
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
    *response.body_mut() = Body::from(body);
}

/// A text that can stand in an element or in a quoted attribute.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn error_page(status: StatusCode, message: &str) -> String {
    let title = format!(
        "Error: {} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let message = escape_html(message);
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
