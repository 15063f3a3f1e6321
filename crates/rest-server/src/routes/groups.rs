//! Groups and their members.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::UserId;
use model::{Group, GroupDetails};
use serde_json::{Map, Value};

use super::included_users;
use crate::auth::{LoginProtected, Viewer};
use crate::error::ApiResult;
use crate::input::JsonBody;
use crate::openapi::{Failures, SpecPath, WriteFailures};
use crate::state::AppState;
use crate::{present, respond};
use api::Document;
use api::openapi;

/// `GET /groups`
#[utoipa::path(
    get,
    path = "/groups",
    tag = "groups",
    summary = "Groups of the caller.",
    responses(
        (status = 200, description = "The groups", body = openapi::ManyDocument<api::people::GroupAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(State(state): State<AppState>, LoginProtected(viewer, me): LoginProtected) -> ApiResult {
    let mut groups = state.model.groups(&me.user_id).await?;
    hide_members(&state, &viewer, &mut groups);
    let included = included_users(&state, groups.iter().flat_map(people)).await?;
    let resources = groups.iter().map(|group| present::group(group, false, true));
    Ok(state.respond(Document::many(resources).including(included)))
}

/// `GET /groups/{spec}`
#[utoipa::path(
    get,
    path = "/groups/{spec}",
    tag = "groups",
    summary = "One group with its members.",
    params(SpecPath),
    responses(
        (status = 200, description = "The group", body = openapi::OneDocument<api::people::GroupAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn fetch(
    State(state): State<AppState>,
    LoginProtected(viewer, _): LoginProtected,
    Path(spec): Path<String>,
) -> ApiResult {
    let group = state.model.resolve_group(&spec, None).await?;
    let mut details = [state.model.group(group.uuid).await?];
    hide_members(&state, &viewer, &mut details);
    let included = included_users(&state, people(&details[0])).await?;
    Ok(state.respond(Document::one(present::group(&details[0], true, true)).including(included)))
}

/// Only members (and root) learn who else is in a group.
fn hide_members(state: &AppState, viewer: &Viewer, groups: &mut [GroupDetails]) {
    if viewer.is_root(state) {
        return;
    }
    for details in groups {
        let inside = details
            .members
            .iter()
            .any(|member| Some(member.user_id.as_str()) == viewer.id())
            || details.group.owner_id.as_deref() == viewer.id();
        if !inside {
            details.members.clear();
        }
    }
}

fn people(details: &GroupDetails) -> Vec<UserId> {
    details
        .members
        .iter()
        .map(|member| member.user_id.clone())
        .chain(details.group.owner_id.clone())
        .collect()
}

/// `POST /groups`
#[utoipa::path(
    post,
    path = "/groups",
    tag = "groups",
    summary = "Makes groups.",
    request_body(content = openapi::ResourcesRequest<openapi::GroupInput>, content_type = "application/json"),
    responses(
        (status = 200, description = "The groups", body = openapi::ManyDocument<api::people::GroupAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn create(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let inputs = body.resources("groups")?;
    let mut names = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let name = input.name("name")?;
        names.push(name.ok_or_else(|| input.invalid("name", "Missing data for required field."))?);
    }
    let created = state.model.create_groups(&names, &me.user_id).await?;
    let included = included_users(&state, [me.user_id.clone()]).await?;
    let groups = created.iter().map(|group| present::group(group, true, false));
    Ok(state.respond(Document::many(groups).including(included)))
}

/// `DELETE /groups`
#[utoipa::path(
    delete,
    path = "/groups",
    tag = "groups",
    summary = "Deletes groups.",
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 204, description = "Done"),
        WriteFailures,
    )
)]
pub async fn delete(State(state): State<AppState>, LoginProtected(_, me): LoginProtected, body: JsonBody) -> ApiResult {
    let mut groups = Vec::new();
    for spec in body.linkages("groups")? {
        groups.push(state.model.administered_group(&me.user_id, &spec).await?.uuid);
    }
    state.model.delete_groups(&groups).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(respond::no_content())
}

/// `POST /groups/{spec}/relationships/members`
#[utoipa::path(
    post,
    path = "/groups/{spec}/relationships/members",
    tag = "groups",
    summary = "Adds members.",
    params(SpecPath),
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The request again", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn add_members(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path(spec): Path<String>,
    body: JsonBody,
) -> ApiResult {
    add(&state, &me.user_id, &spec, body, false).await
}

/// `POST /groups/{spec}/relationships/admins`
#[utoipa::path(
    post,
    path = "/groups/{spec}/relationships/admins",
    tag = "groups",
    summary = "Adds members who manage the group.",
    params(SpecPath),
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The request again", body = openapi::AnyAnswer, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn add_admins(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path(spec): Path<String>,
    body: JsonBody,
) -> ApiResult {
    add(&state, &me.user_id, &spec, body, true).await
}

async fn add(state: &AppState, me: &UserId, spec: &str, body: JsonBody, admin: bool) -> ApiResult<Response> {
    let answer: Map<String, Value> = body.clone().object();
    let (group, users) = membership(state, me, spec, body).await?;
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    state.model.add_group_members(&group, &users, admin).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(respond::json_object(answer, &state.settings.version))
}

/// `DELETE /groups/{spec}/relationships/members` (or `admins`, which does the same)
#[utoipa::path(
    delete,
    path = "/groups/{spec}/relationships/members",
    tag = "groups",
    summary = "Removes members.",
    params(SpecPath),
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 204, description = "Done"),
        WriteFailures,
    )
)]
pub async fn remove(
    State(state): State<AppState>,
    LoginProtected(_, me): LoginProtected,
    Path(spec): Path<String>,
    body: JsonBody,
) -> ApiResult {
    let (group, users) = membership(&state, &me.user_id, &spec, body).await?;
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    state.model.remove_group_members(&group, &users).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(respond::no_content())
}

async fn membership(state: &AppState, me: &UserId, spec: &str, body: JsonBody) -> ApiResult<(Group, Vec<String>)> {
    let users = body.linkages("users")?;
    let group = state.model.administered_group(me, spec).await?;
    Ok((group, users))
}
