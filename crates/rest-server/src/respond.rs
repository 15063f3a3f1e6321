//! Answers: JSON with exactly the headers that the Python client compares, and the version that every object carries.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// Any JSON value as it is: arrays and scalars, which carry no version.
pub fn json_value(value: &Value) -> Response {
    json_text(value.to_string())
}

/// JSON that is written already.
pub fn json_text(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON object with `meta.version` added.
pub fn json_object(mut object: Map<String, Value>, version: &str) -> Response {
    let meta = object.entry("meta").or_insert_with(|| json!({}));
    if let Value::Object(meta) = meta {
        meta.insert("version".to_owned(), version.into());
    }
    json_value(&Value::Object(object))
}

/// 200 and nothing else.
pub fn empty() -> Response {
    StatusCode::OK.into_response()
}

/// 204.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
