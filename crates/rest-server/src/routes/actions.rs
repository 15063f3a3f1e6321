//! `POST /bundle-actions`: kill a bundle, write into a running one.

use api::bundles::BundleAction;
use api::{Document, Resource, kind};
use axum::extract::State;
use domain::run::WorkerMessage;
use domain::{BundleState, Uuid};
use model::{KillOutcome, WorkerKey};
use serde_json::Value;

use super::need_all_on_bundles;
use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::WriteFailures;
use crate::state::AppState;
use api::openapi;

/// Performs the actions in order, after all of them have been checked.
#[utoipa::path(
    post,
    path = "/bundle-actions",
    tag = "bundles",
    summary = "Kills bundles, or writes into running ones.",
    request_body(content = openapi::ResourcesRequest<api::bundles::BundleAction>, content_type = "application/json"),
    responses(
        (status = 200, description = "The actions", body = openapi::ManyDocument<api::bundles::BundleAction>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn act(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let actions: Vec<BundleAction> = body
        .resources(kind::BUNDLE_ACTIONS)?
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    let uuids: Vec<Uuid> = actions.iter().map(|action| action.uuid).collect();
    need_all_on_bundles(&state, Some(&me.user_id), &uuids).await?;
    state.model.check_not_final(&uuids).await?;
    for action in &actions {
        match action.action.as_str() {
            "write" => write(&state, action).await?,
            _ => kill(&state, action.uuid).await?,
        }
    }
    Ok(state.respond(Document::many(
        actions
            .into_iter()
            .map(|action| Resource::new(kind::BUNDLE_ACTIONS, Value::Null, action)),
    )))
}

async fn kill(state: &AppState, uuid: Uuid) -> ApiResult<()> {
    let message = WorkerMessage::Kill {
        uuid,
        kill_message: None,
    };
    let payload = serde_json::to_value(&message).map_err(|error| ApiError::internal(error.to_string()))?;
    match state.model.kill(uuid, Some(&payload), state.now()).await? {
        KillOutcome::Killed => state.hub.publish(hub::Event::bundle_changed(uuid, BundleState::Killed)),
        KillOutcome::Sent(worker) => wake(state, &worker),
    }
    Ok(())
}

async fn write(state: &AppState, action: &BundleAction) -> ApiResult<()> {
    let subpath = action.subpath.as_deref().unwrap_or_default();
    let text = action.string.as_deref().unwrap_or_default();
    let worker = state
        .model
        .write_to_run(action.uuid, subpath, text, state.now())
        .await?;
    wake(state, &worker);
    Ok(())
}

fn wake(state: &AppState, worker: &WorkerKey) {
    state
        .hub
        .publish(hub::Event::message_queued(&worker.user_id, &worker.worker_id));
}

fn parse(input: &ResourceInput) -> ApiResult<BundleAction> {
    let action = input.required_text("type")?;
    if !matches!(action, "kill" | "write") {
        return Err(input.invalid("type", "Not a valid choice."));
    }
    let subpath = input.nullable_text("subpath")?.flatten();
    if let Some(path) = subpath
        && !path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    {
        return Err(ApiError::usage(format!(
            "Child path must match ^[a-zA-Z0-9_\\-.]*\\Z, was {path}"
        )));
    }
    if action == "write" && matches!(subpath, None | Some("" | "." | "..")) {
        return Err(input.invalid("subpath", "Missing data for required field."));
    }
    Ok(BundleAction {
        action: action.to_owned(),
        uuid: Uuid::parse(input.required_text("uuid")?)?,
        subpath: subpath.map(str::to_owned),
        string: input.nullable_text("string")?.flatten().map(str::to_owned),
    })
}
