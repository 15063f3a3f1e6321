//! Accounts: one's own (`/user`) and others' (`/users`).

use std::collections::HashSet;

use axum::extract::{Path, State};
use domain::search::UserQuery;
use model::{User, UserSearch, UserUpdate};
use serde_json::Value;

use crate::accounts::{MAX_AFFILIATION, MAX_PERSON_NAME, MAX_USER_NAME};
use crate::auth::{Login, LoginUnverified, Open, Viewer};
use crate::error::{ApiError, ApiResult};
use crate::input::{JsonBody, ResourceInput};
use crate::openapi::{Failures, FormatQuery, SpecPath, UsersQuery, WriteFailures};
use crate::params::Query;
use crate::present::{self, UserView};
use crate::state::AppState;
use api::openapi;
use api::{Document, Resource};

const READ_ONLY: [&str; 9] = [
    "email",
    "has_access",
    "time_quota",
    "parallel_run_quota",
    "time_used",
    "disk_quota",
    "disk_used",
    "date_joined",
    "last_login",
];

/// `GET /user`
#[utoipa::path(
    get,
    path = "/user",
    tag = "users",
    summary = "The account of the caller.",
    responses(
        (status = 200, description = "The account", body = openapi::OneDocument<openapi::UserAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn own(State(state): State<AppState>, LoginUnverified(user): LoginUnverified) -> ApiResult {
    let mut resource = present::user(&user, UserView::Own);
    resource.set("is_root_user", state.model.is_root(Some(&user.user_id)));
    resource.set("protected_mode", state.settings.protected_mode);
    Ok(state.respond(Document::one(resource)))
}

/// `PATCH /user`
#[utoipa::path(
    patch,
    path = "/user",
    tag = "users",
    summary = "Changes the account of the caller.",
    params(FormatQuery),
    request_body(content = openapi::ResourceRequest<openapi::UserChange>, content_type = "application/json"),
    responses(
        (status = 200, description = "The account", body = openapi::OneDocument<openapi::UserAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn update_own(
    State(state): State<AppState>,
    LoginUnverified(user): LoginUnverified,
    query: Query,
    body: JsonBody,
) -> ApiResult {
    query.flag("format_errors", false)?;
    let input = body.single_resource("users", "Users can only update themselves, one at a time.")?;
    if READ_ONLY.iter().any(|name| input.has(name)) {
        return Err(ApiError::permission(format!(
            "These fields are read-only: {}",
            READ_ONLY.join(", ")
        )));
    }
    let update = profile_update(&input)?;
    check_name(&state, &user, &update).await?;
    let user = state.model.update_user(&user.user_id, update).await?;
    Ok(state.respond(Document::one(present::user(&user, UserView::Own))))
}

/// What users may change about themselves.
fn profile_update(input: &ResourceInput) -> ApiResult<UserUpdate> {
    let nullable = |name: &str, most: usize| -> ApiResult<Option<Option<String>>> {
        let value = input.nullable_text(name)?;
        match value.flatten() {
            Some(text) if text.chars().count() > most => Err(input.invalid(name, &too_long(most))),
            _ => Ok(value.map(|value| value.map(str::to_owned))),
        }
    };
    let user_name = input.text("user_name")?.map(str::to_owned);
    if user_name
        .as_ref()
        .is_some_and(|name| name.chars().count() > MAX_USER_NAME)
    {
        return Err(input.invalid("user_name", &too_long(MAX_USER_NAME)));
    }
    let url = nullable("url", MAX_AFFILIATION)?;
    if let Some(Some(text)) = &url
        && !text.is_empty()
        && url::Url::parse(text).is_err()
    {
        return Err(input.invalid("url", "Not a valid URL."));
    }
    let notifications = input.int("notifications")?;
    if notifications.is_some_and(|level| !(0..=2).contains(&level)) {
        return Err(input.invalid("notifications", "Not a valid choice."));
    }
    Ok(UserUpdate {
        user_name,
        first_name: nullable("first_name", MAX_PERSON_NAME)?,
        last_name: nullable("last_name", MAX_PERSON_NAME)?,
        affiliation: nullable("affiliation", MAX_AFFILIATION)?,
        url,
        avatar_id: nullable("avatar_id", MAX_USER_NAME)?,
        notifications,
        ..UserUpdate::default()
    })
}

fn too_long(most: usize) -> String {
    format!("Longer than maximum length {most}.")
}

/// A new user name must be well-formed and free.
async fn check_name(state: &AppState, user: &User, update: &UserUpdate) -> ApiResult<()> {
    let Some(name) = &update.user_name else { return Ok(()) };
    if name == &user.user_name {
        return Ok(());
    }
    if !domain::name::is_name(name) {
        return Err(ApiError::usage(
            "User name characters must be letters, digits, '_', '.' or '-', the first one a letter or '_'.",
        ));
    }
    match state.model.user_by_name(name).await? {
        Some(other) if other.user_id != user.user_id => {
            Err(ApiError::usage(format!("User name {name} is already taken.")))
        }
        _ => Ok(()),
    }
}

/// `PATCH /user/increment_disk_used`: what uploading clients report on the side; the measured size replaces it.
#[utoipa::path(
    patch,
    path = "/user/increment_disk_used",
    tag = "users",
    summary = "Reports the size of an upload; the measured size replaces it.",
    request_body(content = openapi::ResourceRequest<openapi::DiskIncrement>, content_type = "application/json"),
    responses(
        (status = 200, description = "The account", body = openapi::ManyDocument<openapi::UserAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn increment_disk_used(
    State(state): State<AppState>,
    LoginUnverified(user): LoginUnverified,
    body: JsonBody,
) -> ApiResult {
    let input = body.single_resource("user/increment_disk_used", "Exactly one increment is expected.")?;
    let bytes = input
        .int("disk_used_increment")?
        .ok_or_else(|| input.invalid("disk_used_increment", "Missing data for required field."))?;
    if bytes <= 0 {
        return Err(ApiError::usage("Only positive disk increments are allowed."));
    }
    let uuid = domain::Uuid::parse(input.required_text("bundle_uuid")?)?;
    super::need_all_on_bundles(&state, Some(&user.user_id), &[uuid]).await?;
    state.model.increment_disk_used(uuid, bytes).await?;
    let user = state.model.find_user(&user.user_id).await?;
    Ok(state.respond(Document::many([present::user(&user, UserView::Own)])))
}

/// `GET /users/{spec}`
#[utoipa::path(
    get,
    path = "/users/{spec}",
    tag = "users",
    summary = "One account, by name or id.",
    params(SpecPath),
    responses(
        (status = 200, description = "The account", body = openapi::OneDocument<openapi::UserAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn fetch(State(state): State<AppState>, Open(viewer): Open, Path(spec): Path<String>) -> ApiResult {
    let user = state.model.find_user(&spec).await?;
    if spec.contains('@') && !viewer.is_root(&state) && viewer.id() != Some(user.user_id.as_str()) {
        return Err(ApiError::not_found(format!("User {spec} not found")));
    }
    Ok(state.respond(Document::one(seen_by(&state, &viewer, &user))))
}

/// `GET /users`
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    summary = "Accounts, by search.",
    params(UsersQuery),
    responses(
        (status = 200, description = "The accounts, or a count", body = openapi::FoundDocument<openapi::UserAttributes>, content_type = "application/json"),
        Failures,
    )
)]
pub async fn list(State(state): State<AppState>, Open(viewer): Open, query: Query) -> ApiResult {
    let names: Vec<String> = ["filter[user_name]", "filter[email]"]
        .iter()
        .filter_map(|name| query.get(name))
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let found = if names.is_empty() {
        let search = UserQuery::parse(&query.all("keywords"), viewer.is_root(&state))?;
        match state.model.search_users(&search).await? {
            UserSearch::Value(value) => {
                let value = worksheet::post_process(search.format.as_deref(), value);
                return Ok(state.respond(Document::meta_only("results", value)));
            }
            UserSearch::Users(users) => users,
        }
    } else {
        users_named(&state, &names).await?
    };
    Ok(state.respond(Document::many(found.iter().map(|user| seen_by(&state, &viewer, user)))))
}

async fn users_named(state: &AppState, names: &[String]) -> ApiResult<Vec<User>> {
    let mut seen = HashSet::new();
    let mut users = Vec::new();
    for name in names {
        if let Some(user) = state.model.user_by_name(name).await?
            && seen.insert(user.user_id.clone())
        {
            users.push(user);
        }
    }
    Ok(users)
}

fn seen_by(state: &AppState, viewer: &Viewer, user: &User) -> Resource {
    let view = if viewer.is_root(state) {
        UserView::Root
    } else {
        UserView::Public
    };
    present::user(user, view)
}

/// `DELETE /users`
#[utoipa::path(
    delete,
    path = "/users",
    tag = "users",
    summary = "Deletes accounts that own nothing.",
    request_body(content = openapi::LinkagesRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "What was deleted", body = openapi::DeletedDocument, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn delete(State(state): State<AppState>, Login(viewer, me): Login, body: JsonBody) -> ApiResult {
    let ids = body.linkages("users")?;
    let only_me = ids.len() == 1 && ids[0] == me.user_id.as_str();
    if !viewer.is_root(&state) && !only_me {
        return Err(ApiError::authentication(
            "As a non-root user, you can only delete your own account.",
        ));
    }
    if ids.iter().any(|id| id == state.model.root_user_id()) {
        return Err(ApiError::authentication("Cannot delete root user."));
    }
    for id in &ids {
        if state.model.user(id).await?.is_none() {
            return Err(ApiError::not_found(format!("User {id} not found")));
        }
    }
    let users: Vec<&str> = ids.iter().map(String::as_str).collect();
    state.model.delete_users(&users).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(state.respond(Document::meta_only("ids", ids)))
}

/// `PATCH /users`: root changes another account.
#[utoipa::path(
    patch,
    path = "/users",
    tag = "users",
    summary = "Changes another account (root).",
    request_body(content = openapi::ResourcesRequest<openapi::UserChange>, content_type = "application/json"),
    responses(
        (status = 200, description = "The account", body = openapi::ManyDocument<openapi::UserAttributes>, content_type = "application/json"),
        WriteFailures,
    )
)]
pub async fn update(State(state): State<AppState>, Open(viewer): Open, body: JsonBody) -> ApiResult {
    if !viewer.is_root(&state) {
        return Err(ApiError::permission("Only root user can update other users."));
    }
    let input = body.single_resource("users", "Users can only be updated one at a time.")?;
    let user = state.model.find_user(input.required_id()?).await?;
    let update = root_update(&state, &input, &user)?;
    check_name(&state, &user, &update).await?;
    let user = state.model.update_user(&user.user_id, update).await?;
    state.hub.publish(hub::Event::PolicyChanged);
    Ok(state.respond(Document::many([present::user(&user, UserView::Root)])))
}

fn root_update(state: &AppState, input: &ResourceInput, user: &User) -> ApiResult<UserUpdate> {
    let number = |name: &str| -> ApiResult<Option<f64>> {
        match input.attributes.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Ok(input.int(name)?.map(|whole| whole as f64)),
        }
    };
    let has_access = input.boolean("has_access")?;
    if has_access.is_some() {
        if !state.settings.protected_mode {
            return Err(ApiError::usage("This CodaLab instance is not in protected mode."));
        }
        if !user.is_verified {
            return Err(ApiError::usage(
                "User has to be verified first in order to be granted access.",
            ));
        }
    }
    Ok(UserUpdate {
        email: email(input)?,
        is_verified: input.boolean("is_verified")?,
        has_access,
        time_quota: number("time_quota")?,
        disk_quota: number("disk_quota")?,
        parallel_run_quota: input.int("parallel_run_quota")?,
        ..profile_update(input)?
    })
}

/// An address that root gives; empty for none.
fn email(input: &ResourceInput) -> ApiResult<Option<String>> {
    let Some(email) = input.text("email")? else {
        return Ok(None);
    };
    if !email.is_empty() && domain::password::check_email(email).is_err() {
        return Err(input.invalid("email", "Not a valid email address."));
    }
    Ok(Some(email.to_owned()))
}
