//! Probes: whether the process lives, and whether it can serve.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use crate::respond;
use crate::state::AppState;
use api::openapi;

const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /healthz`: the event loop runs.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "server",
    summary = "Whether the process lives.",
    responses(
        (status = 200, description = "It does", body = openapi::HealthAnswer, content_type = "application/json"),
    )
)]
pub async fn live() -> Response {
    respond::json_value(&json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: 200 when the database answers, the store has room and the server is not shutting down, else 503.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "server",
    summary = "Whether the server can serve.",
    responses(
        (status = 200, description = "It can", body = openapi::HealthAnswer, content_type = "application/json"),
        (status = 503, description = "It cannot", body = openapi::HealthAnswer, content_type = "application/json"),
    )
)]
pub async fn ready(State(state): State<AppState>) -> Response {
    let (database, storage) = tokio::join!(timed(state.model.ping()), timed(state.storage.partitions()));
    let ready = database.0 && storage.0 && !state.shutdown.is_cancelled();
    let mut checks = json!({"database": database.1, "storage": storage.1});
    if state.shutdown.is_cancelled() {
        checks["shutdown"] = json!({"status": "fail"});
    }
    let status = if ready { "ok" } else { "fail" };
    let mut response =
        respond::json_value(&json!({"status": status, "version": env!("CARGO_PKG_VERSION"), "checks": checks}));
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn timed<T>(check: impl Future<Output = domain::Result<T>>) -> (bool, Value) {
    let started = Instant::now();
    let passed = matches!(tokio::time::timeout(PATIENCE, check).await, Ok(Ok(_)));
    let status = if passed { "ok" } else { "fail" };
    (
        passed,
        json!({"status": status, "ms": started.elapsed().as_millis() as u64}),
    )
}
