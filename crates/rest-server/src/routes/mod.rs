//! The handlers, one module per resource, and the table that says which path leads where.

pub mod account;
pub mod actions;
pub mod bundles;
pub mod contents;
pub mod groups;
pub mod health;
pub mod interpret;
pub mod items;
pub mod locations;
pub mod oauth2;
pub mod permissions;
pub mod stores;
pub mod users;
pub mod workers;
pub mod worksheets;

use std::collections::{BTreeSet, HashMap};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, patch, post, put};
use domain::{Permission, UserId, Uuid};
use model::{ObjectKind, User};
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::ApiResult;
use crate::pipeline;
use crate::present::{self, UserView};
use crate::state::AppState;
use api::Resource;

/// Everything this server answers: `/rest/...`, `/healthz` and `/readyz`.
pub fn router(state: AppState) -> Router {
    let rest = json_routes().layer(from_fn(pipeline::parse_json)).merge(raw_routes());
    Router::new()
        .nest("/rest", rest)
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(pipeline::not_found)
        .method_not_allowed_fallback(pipeline::method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(pipeline::panic_response))
        .layer(from_fn(pipeline::observe))
        .with_state(state)
}

/// Routes whose bodies are streams or text: never parsed, whatever their content type says.
fn raw_routes() -> Router<AppState> {
    Router::new()
        .route(
            "/bundles/{uuid}/contents/blob",
            get(contents::blob::read).put(contents::upload::put),
        )
        .route(
            "/bundles/{uuid}/contents/blob/",
            get(contents::blob::read).put(contents::upload::put),
        )
        .route("/bundles/{uuid}/contents/blob/{*path}", get(contents::blob::read))
        .route(
            "/worksheets/{uuid}/raw",
            post(items::replace_source).put(items::replace_source),
        )
        .route("/workers/{worker_id}/reply_data/{socket_id}", post(workers::reply_data))
}

fn json_routes() -> Router<AppState> {
    Router::new()
        .merge(account_routes())
        .merge(bundle_routes())
        .merge(worksheet_routes())
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/groups", get(groups::list).post(groups::create).delete(groups::delete))
        .route("/groups/{spec}", get(groups::fetch))
        .route(
            "/groups/{spec}/relationships/members",
            post(groups::add_members).delete(groups::remove),
        )
        .route(
            "/groups/{spec}/relationships/admins",
            post(groups::add_admins).delete(groups::remove),
        )
        .route("/bundle-permissions", post(permissions::set_on_bundles))
        .route("/worksheet-permissions", post(permissions::set_on_worksheets))
        .route(
            "/bundle_stores",
            get(stores::list).post(stores::create).delete(stores::delete),
        )
        .route("/bundle_stores/{uuid}", get(stores::fetch))
        .route("/workers/info", get(workers::info))
        .route("/workers/{worker_id}/checkin", post(workers::check_in))
        .route("/workers/{worker_id}/start_bundle/{uuid}", post(workers::start_bundle))
        .route("/workers/{worker_id}/reply/{socket_id}", post(workers::reply))
        .route("/interpret/worksheet/{uuid}", get(interpret::worksheet))
        .route("/interpret/search", post(interpret::search))
        .route("/interpret/wsearch", post(interpret::wsearch))
        .route("/interpret/file-genpaths", post(interpret::file_genpaths))
        .route("/interpret/genpath-table-contents", post(interpret::table_contents))
}

fn account_routes() -> Router<AppState> {
    Router::new()
        .route("/oauth2/token", post(oauth2::token))
        .route("/oauth2/revoke", post(oauth2::revoke))
        .route("/account/login", post(account::login))
        .route("/account/logout", get(account::logout))
        .route("/account/css", get(account::css))
        .route("/account/verify/{key}", get(account::verify))
        .route("/user", get(users::own).patch(users::update_own))
        .route("/user/increment_disk_used", patch(users::increment_disk_used))
        .route("/users", get(users::list).patch(users::update).delete(users::delete))
        .route("/users/{spec}", get(users::fetch))
}

fn bundle_routes() -> Router<AppState> {
    Router::new()
        .route(
            "/bundles",
            get(bundles::fetch::list)
                .post(bundles::create::create)
                .patch(bundles::update::update)
                .delete(bundles::delete::delete),
        )
        .route("/bundles/{uuid}", get(bundles::fetch::one))
        .route("/bundles/locations", get(locations::paths))
        .route("/bundles/{uuid}/locations", get(locations::list).post(locations::add))
        .route("/bundles/{uuid}/locations/", get(locations::list).post(locations::add))
        .route("/bundles/{uuid}/locations/{store_uuid}/", get(locations::one))
        .route("/bundles/{uuid}/state", post(locations::set_state))
        .route("/bundles/{uuid}/contents/info", get(contents::info::read))
        .route("/bundles/{uuid}/contents/info/", get(contents::info::read))
        .route("/bundles/{uuid}/contents/info/{*path}", get(contents::info::read))
        .route("/bundles/{uuid}/contents/filesize/", patch(contents::upload::filesize))
        .route("/bundles/{uuid}/netcat/{port}/", put(contents::netcat::cat))
        .route("/bundle-actions", post(actions::act))
}

fn worksheet_routes() -> Router<AppState> {
    Router::new()
        .route(
            "/worksheets",
            get(worksheets::list)
                .post(worksheets::create)
                .patch(worksheets::update)
                .delete(worksheets::delete),
        )
        .route("/worksheets/", get(worksheets::landing))
        .route("/worksheets/sample/", get(worksheets::sample))
        .route("/worksheets/{uuid}", get(worksheets::fetch))
        .route("/worksheets/{uuid}/add-items", post(items::add))
        .route("/worksheet-items", post(items::post))
}

/// 403 unless the viewer may do everything with these bundles.
pub(crate) async fn need_all_on_bundles(state: &AppState, viewer: Option<&str>, uuids: &[Uuid]) -> ApiResult<()> {
    Ok(state
        .model
        .check_permission(ObjectKind::Bundle, viewer, uuids, Permission::All)
        .await?)
}

/// Public resources of the users with these ids; those that are gone are left out.
pub(crate) async fn included_users(
    state: &AppState,
    ids: impl IntoIterator<Item = UserId>,
) -> ApiResult<Vec<Resource>> {
    let ids: BTreeSet<UserId> = ids.into_iter().collect();
    let ids: Vec<&str> = ids.iter().map(UserId::as_str).collect();
    let users: HashMap<UserId, User> = if ids.is_empty() {
        HashMap::new()
    } else {
        state.model.users(&ids).await?
    };
    Ok(ids
        .iter()
        .filter_map(|id| users.get(*id))
        .map(|user| present::user(user, UserView::Public))
        .collect())
}
