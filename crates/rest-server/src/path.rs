//! Parts of the request path that handlers ask for.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, OriginalUri, Path};
use domain::Uuid;
use http::Uri;
use http::request::Parts;

use crate::error::ApiError;

/// The `{uuid}` of a route. Anything that is not a full uuid is a path that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct PathUuid(pub Uuid);

/// The `{path}` of a route, decoded; empty where the route has none.
#[derive(Clone, Debug)]
pub struct RestPath(pub String);

/// The `{port}` of a route: 1 to 65535. Anything that is no number is a path that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct PathPort(pub u16);

impl<S: Send + Sync> FromRequestParts<S> for PathPort {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = params(parts, state).await?.remove("port").unwrap_or_default();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(not_found(parts));
        }
        match text.parse() {
            Ok(port @ 1..) => Ok(Self(port)),
            _ => Err(ApiError::usage(format!(
                "Port {text} does not exist; ports are 1 to 65535."
            ))),
        }
    }
}

/// The `{worker_id}` and `{socket_id}` of a route. A socket that is no number is a path that does not exist.
#[derive(Clone, Debug)]
pub struct PathSocket {
    pub worker_id: String,
    pub socket_id: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for PathSocket {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let mut params = params(parts, state).await?;
        let socket_id = params.get("socket_id").and_then(|text| text.parse().ok());
        Ok(Self {
            worker_id: params.remove("worker_id").unwrap_or_default(),
            socket_id: socket_id.ok_or_else(|| not_found(parts))?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathUuid {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = params(parts, state).await?;
        let uuid = params.get("uuid").and_then(|text| Uuid::parse(text).ok());
        uuid.map(Self).ok_or_else(|| not_found(parts))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RestPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(params(parts, state).await?.remove("path").unwrap_or_default()))
    }
}

async fn params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<HashMap<String, String>, ApiError> {
    let params = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
    params.map(|Path(params)| params).map_err(|_| not_found(parts))
}

fn not_found(parts: &Parts) -> ApiError {
    ApiError::not_found(format!("Not found: '{}'", full_uri(parts).path()))
}

/// The request target before routing took the prefix away.
pub fn full_uri(parts: &Parts) -> &Uri {
    parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0)
}
