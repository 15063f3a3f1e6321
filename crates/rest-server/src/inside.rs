//! Requests that the server makes to itself in the name of a user: by function call, past the network and past the admission
//! of requests (the request that causes them has been admitted), through the same handlers and the same rights.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use client::{Client, Endpoint, NoLogin};
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;

use crate::auth::Viewer;
use crate::error::{ApiError, ErrorText};
use crate::pipeline::{self, ParsedJson};
use crate::routes;
use crate::state::AppState;

/// A client of this server that acts as `viewer`. `address` is the one to show in what it prints.
pub fn client(state: &AppState, viewer: &Viewer, address: &str) -> Client {
    let router = routes::bare_router().layer(from_fn(exchange)).with_state(state.clone());
    let viewer = viewer.clone();
    let answer = move |request: http::Request<reqwest::Body>| {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(viewer.clone());
        let answer = router.clone().oneshot(Request::from_parts(parts, Body::new(body)));
        let future: futures::future::BoxFuture<'static, http::Response<reqwest::Body>> = Box::pin(async move {
            let response = answer.await.unwrap_or_else(|never| match never {});
            response.map(|body| reqwest::Body::wrap_stream(body.into_data_stream()))
        });
        future
    };
    Client::new(Endpoint::in_process(address, Arc::new(answer)), Arc::new(NoLogin))
}

/// What the outer layers do for requests from outside: JSON is parsed before the handler, errors get their text after it.
async fn exchange(request: Request, next: Next) -> Response {
    let request = match parsed(request).await {
        Ok(request) => request,
        Err(error) => return with_text(error.into_response()),
    };
    with_text(next.run(request).await)
}

async fn parsed(request: Request) -> Result<Request, ApiError> {
    if !pipeline::is_json(request.headers()) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let bytes: Bytes = Limited::new(body, pipeline::JSON_LIMIT)
        .collect()
        .await
        .map_err(|_| ApiError::usage("The request is too large"))?
        .to_bytes();
    if !bytes.is_empty() {
        let value = serde_json::from_slice(&bytes).map_err(|_| ApiError::usage("Invalid JSON"))?;
        parts.extensions.insert(ParsedJson(value));
    }
    Ok(Request::from_parts(parts, Body::empty()))
}

fn with_text(mut response: Response) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ErrorText>() {
        pipeline::write_error_body(&mut response, &error, true, "inside");
    }
    response
}
