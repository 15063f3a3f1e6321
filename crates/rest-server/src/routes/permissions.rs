//! Permissions of groups on bundles and worksheets.

use axum::extract::State;
use domain::{Permission, Uuid};
use model::{GroupPermission, ObjectKind};

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
    let mut changes = Vec::new();
    for input in &inputs {
        let object = Uuid::parse(&input.required_linkage(rel, kind_of_object)?)?;
        let group = input.required_linkage("group", "groups")?;
        changes.push((object, group, level(input)?));
    }
    let objects: Vec<Uuid> = changes.iter().map(|(object, ..)| *object).collect();
    state
        .model
        .check_permission(kind, Some(me), &objects, Permission::All)
        .await?;
    let mut rows = Vec::new();
    for (object, group, permission) in changes {
        let group = state.model.resolve_group(&group, None).await?;
        let id = state.model.set_permission(kind, object, group.uuid, permission).await?;
        rows.push(GroupPermission {
            id: id.unwrap_or_default(),
            object_uuid: object,
            group_uuid: group.uuid,
            group_name: group.name,
            permission,
        });
    }
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
