//! Permissions of groups on bundles and worksheets.

use axum::extract::State;
use domain::{Permission, Uuid};
use model::{ObjectKind, PermissionChange};

use crate::auth::LoginProtected;
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::WriteFailures;
use crate::present;
use crate::state::AppState;
use api::Document;
use api::openapi;

/// `POST /bundle-permissions`
#[utoipa::path(
    post,
    path = "/bundle-permissions",
    tag = "groups",
    summary = "Sets permissions of groups on bundles.",
    request_body(content = openapi::ResourcesRequest<openapi::PermissionInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The permissions", body = openapi::ManyDocument<api::bundles::PermissionAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn set_on_bundles(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    body: JsonBody,
) -> ApiResult {
    set(
        &state,
        &me.user_id,
        body.resources("bundle-permissions")?,
        ObjectKind::Bundle,
    )
    .await
}

/// `POST /worksheet-permissions`
#[utoipa::path(
    post,
    path = "/worksheet-permissions",
    tag = "groups",
    summary = "Sets permissions of groups on worksheets.",
    request_body(content = openapi::ResourcesRequest<openapi::PermissionInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The permissions", body = openapi::ManyDocument<api::bundles::PermissionAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn set_on_worksheets(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    body: JsonBody,
) -> ApiResult {
    set(
        &state,
        &me.user_id,
        body.resources("worksheet-permissions")?,
        ObjectKind::Worksheet,
    )
    .await
}

async fn set(state: &AppState, me: &str, inputs: Vec<ResourceInput>, kind: ObjectKind) -> ApiResult {
    let (rel, kind_of_object, kind_of_row) = match kind {
        ObjectKind::Bundle => ("bundle", "bundles", "bundle-permissions"),
        ObjectKind::Worksheet => ("worksheet", "worksheets", "worksheet-permissions"),
    };
    let mut changes = Vec::with_capacity(inputs.len());
    for input in &inputs {
        changes.push(PermissionChange {
            object: Uuid::parse(&input.required_linkage(rel, kind_of_object)?)?,
            group: input.required_linkage("group", "groups")?,
            permission: level(input)?,
        });
    }
    let rows = state.model.set_permissions(me, kind, &changes).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(state.respond(Document::many(
        rows.iter().map(|row| present::group_permission(kind_of_row, row)),
    )))
}

fn level(input: &ResourceInput) -> ApiResult<Permission> {
    if let Some(level) = input.int("permission")? {
        return match level {
            0..=2 => Ok(Permission::from_level(level)),
            _ => Err(input.invalid("permission", "Not a valid choice.")),
        };
    }
    match input.text("permission_spec")? {
        Some(text) => Ok(text.parse()?),
        None => Err(ApiError::usage(
            "One of the attributes `permission` and `permission_spec` is needed.",
        )),
    }
}
