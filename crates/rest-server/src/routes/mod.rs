//! The handlers, one module per resource, and the table that says which path leads where.

mod account;
mod actions;
mod bundles;
mod contents;
mod files;
mod groups;
pub(crate) mod health;
mod help;
mod interpret;
mod items;
mod locations;
mod oauth2;
mod permissions;
mod stores;
mod table;
mod terminal;
mod users;
mod workers;
mod worksheets;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use domain::{Permission, UserId, Uuid};
use model::{ObjectKind, User};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;

use crate::error::ApiResult;
use crate::origin;
use crate::present::{self, UserView};
use crate::repeats;
use crate::state::AppState;
use crate::traffic::cors;
use crate::{openapi, pipeline};
use api::Resource;
use table::Routes;

pub use table::{Method, Route};

/// Everything this server answers: `/rest/...`, `/healthz` and `/readyz`.
pub fn router(state: AppState) -> Router {
    let traffic = || Arc::clone(&state.traffic);
    let json = json_routes()
        .into_router()
        .layer(from_fn_with_state(state.clone(), repeats::guard_creates))
        .layer(from_fn_with_state(traffic(), pipeline::json_route));
    let raw = raw_routes()
        .into_router()
        .layer(from_fn_with_state(traffic(), pipeline::raw_route));
    let router = Router::new()
        .nest("/rest", json.merge(raw))
        .merge(probe_routes().into_router())
        .fallback(pipeline::not_found)
        .method_not_allowed_fallback(pipeline::method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(pipeline::panic_response))
        .layer(from_fn(origin::finish));
    let router = match cors(&state.config.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router
        .layer(from_fn_with_state(traffic(), pipeline::observe))
        .with_state(state)
}

/// The routes below `/rest` without any layer, for requests from inside.
pub(crate) fn bare_router() -> Router<AppState> {
    let routes = json_routes().into_router().merge(raw_routes().into_router());
    Router::new().nest("/rest", routes).fallback(pipeline::not_found)
}

/// Method and path template of every route of [`router`], sorted by path, then method.
pub fn index() -> Vec<Route> {
    let mut routes: Vec<Route> = json_routes()
        .into_index()
        .into_iter()
        .chain(raw_routes().into_index())
        .map(|route| route.beneath("/rest"))
        .chain(probe_routes().into_index())
        .collect();
    routes.sort();
    routes
}

fn probe_routes() -> Routes {
    Routes::new()
        .get("/healthz", health::live)
        .get("/readyz", health::ready)
}

/// Routes whose bodies are streams or text: never parsed, whatever their content type says.
fn raw_routes() -> Routes {
    Routes::new()
        .get("/bundles/{uuid}/contents/blob", contents::blob::read)
        .put("/bundles/{uuid}/contents/blob", contents::upload::put)
        .get("/bundles/{uuid}/contents/blob/", contents::blob::read)
        .put("/bundles/{uuid}/contents/blob/", contents::upload::put)
        .get("/bundles/{uuid}/contents/blob/{*path}", contents::blob::read)
        .get("/worksheets/{uuid}/raw", items::source)
        .post("/worksheets/{uuid}/raw", items::replace_source)
        .put("/worksheets/{uuid}/raw", items::replace_source)
        .post("/workers/{worker_id}/reply_data/{socket_id}", workers::reply_data)
        .merge(netcurl_routes())
}

fn netcurl_routes() -> Routes {
    [
        "/bundles/{uuid}/netcurl/{port}/",
        "/bundles/{uuid}/netcurl/{port}/{*path}",
    ]
    .into_iter()
    .fold(Routes::new(), |routes, path| {
        routes
            .get(path, contents::netcurl::curl)
            .post(path, contents::netcurl::curl)
            .put(path, contents::netcurl::curl)
            .delete(path, contents::netcurl::curl)
            .patch(path, contents::netcurl::curl)
    })
}

fn json_routes() -> Routes {
    Routes::new()
        .merge(account_routes())
        .merge(user_routes())
        .merge(group_routes())
        .merge(bundle_routes())
        .merge(store_routes())
        .merge(worksheet_routes())
        .merge(worker_routes())
        .merge(interpret_routes())
        .post("/cli/command", terminal::command)
        .post("/help/", help::send)
        .get("/static/{*path}", files::read)
        .get("/health/live", health::live)
        .get("/health/ready", health::ready)
        .get("/openapi.json", openapi::json)
        .get("/docs", openapi::show)
        .get("/docs/{*path}", openapi::asset)
}

/// Adds the operations of all handlers to a description of the API.
pub(crate) fn described(description: &mut utoipa::openapi::OpenApi) {
    #[derive(OpenApi)]
    #[openapi(paths(
        account::reset::finalize,
        account::reset::request,
        account::reset::request_own,
        account::reset::verify,
        account::session::css,
        account::session::login,
        account::session::logout,
        account::signup::sign_up,
        account::verification::change_email,
        account::verification::resend,
        account::verification::verify,
        actions::act,
        bundles::create::create,
        bundles::delete::delete,
        bundles::fetch::list,
        bundles::fetch::one,
        bundles::update::update,
        contents::blob::read,
        contents::filesize::set,
        contents::info::read,
        contents::netcat::cat,
        contents::netcurl::curl,
        contents::upload::put,
        files::read,
        groups::add_admins,
        groups::add_members,
        groups::create,
        groups::delete,
        groups::fetch,
        groups::list,
        groups::remove,
        health::live,
        health::ready,
        help::send,
        interpret::file_genpaths,
        interpret::search,
        interpret::table_contents,
        interpret::worksheet,
        interpret::wsearch,
        items::add,
        items::post,
        items::source,
        items::replace_source,
        locations::add,
        locations::list,
        locations::one,
        locations::paths,
        locations::set_state,
        oauth2::authorize::answer,
        oauth2::authorize::ask,
        oauth2::authorize::errors,
        oauth2::token::issue,
        oauth2::token::revoke,
        openapi::json,
        permissions::set_on_bundles,
        permissions::set_on_worksheets,
        stores::create,
        stores::delete,
        stores::fetch,
        stores::list,
        terminal::command,
        users::delete,
        users::fetch,
        users::increment_disk_used,
        users::list,
        users::own,
        users::update,
        users::update_own,
        workers::check_in,
        workers::info,
        workers::reply,
        workers::reply_data,
        workers::start_bundle,
        worksheets::create,
        worksheets::delete,
        worksheets::fetch,
        worksheets::landing,
        worksheets::list,
        worksheets::sample,
        worksheets::update,
    ))]
    struct Handlers;
    description.merge(Handlers::openapi());
}

fn account_routes() -> Routes {
    Routes::new()
        .post("/oauth2/token", oauth2::token::issue)
        .post("/oauth2/revoke", oauth2::token::revoke)
        .get("/oauth2/authorize", oauth2::authorize::ask)
        .post("/oauth2/authorize", oauth2::authorize::answer)
        .get("/oauth2/errors", oauth2::authorize::errors)
        .post("/account/login", account::session::login)
        .get("/account/logout", account::session::logout)
        .get("/account/css", account::session::css)
        .post("/account/signup", account::signup::sign_up)
        .get("/account/verify/{key}", account::verification::verify)
        .get("/account/resend", account::verification::resend)
        .post("/account/changeemail", account::verification::change_email)
        .get("/account/reset", account::reset::request_own)
        .post("/account/reset", account::reset::request)
        .get("/account/reset/verify/{code}", account::reset::verify)
        .post("/account/reset/finalize", account::reset::finalize)
}

fn user_routes() -> Routes {
    Routes::new()
        .get("/user", users::own)
        .patch("/user", users::update_own)
        .patch("/user/increment_disk_used", users::increment_disk_used)
        .get("/users", users::list)
        .patch("/users", users::update)
        .delete("/users", users::delete)
        .get("/users/{spec}", users::fetch)
}

fn group_routes() -> Routes {
    Routes::new()
        .get("/groups", groups::list)
        .post("/groups", groups::create)
        .delete("/groups", groups::delete)
        .get("/groups/{spec}", groups::fetch)
        .post("/groups/{spec}/relationships/members", groups::add_members)
        .delete("/groups/{spec}/relationships/members", groups::remove)
        .post("/groups/{spec}/relationships/admins", groups::add_admins)
        .delete("/groups/{spec}/relationships/admins", groups::remove)
        .post("/bundle-permissions", permissions::set_on_bundles)
        .post("/worksheet-permissions", permissions::set_on_worksheets)
}

fn bundle_routes() -> Routes {
    Routes::new()
        .get("/bundles", bundles::fetch::list)
        .post("/bundles", bundles::create::create)
        .patch("/bundles", bundles::update::update)
        .delete("/bundles", bundles::delete::delete)
        .get("/bundles/{uuid}", bundles::fetch::one)
        .get("/bundles/{uuid}/contents/info", contents::info::read)
        .get("/bundles/{uuid}/contents/info/", contents::info::read)
        .get("/bundles/{uuid}/contents/info/{*path}", contents::info::read)
        .patch("/bundles/{uuid}/contents/filesize/", contents::filesize::set)
        .put("/bundles/{uuid}/netcat/{port}/", contents::netcat::cat)
        .post("/bundle-actions", actions::act)
}

fn store_routes() -> Routes {
    Routes::new()
        .get("/bundle_stores", stores::list)
        .post("/bundle_stores", stores::create)
        .delete("/bundle_stores", stores::delete)
        .get("/bundle_stores/{uuid}", stores::fetch)
        .get("/bundles/locations", locations::paths)
        .get("/bundles/{uuid}/locations", locations::list)
        .post("/bundles/{uuid}/locations", locations::add)
        .get("/bundles/{uuid}/locations/", locations::list)
        .post("/bundles/{uuid}/locations/", locations::add)
        .get("/bundles/{uuid}/locations/{store_uuid}/", locations::one)
        .post("/bundles/{uuid}/state", locations::set_state)
}

fn worksheet_routes() -> Routes {
    Routes::new()
        .get("/worksheets", worksheets::list)
        .post("/worksheets", worksheets::create)
        .patch("/worksheets", worksheets::update)
        .delete("/worksheets", worksheets::delete)
        .get("/worksheets/", worksheets::landing)
        .get("/worksheets/sample/", worksheets::sample)
        .get("/worksheets/{uuid}", worksheets::fetch)
        .post("/worksheets/{uuid}/add-items", items::add)
        .post("/worksheet-items", items::post)
}

fn worker_routes() -> Routes {
    Routes::new()
        .get("/workers/info", workers::info)
        .post("/workers/{worker_id}/checkin", workers::check_in)
        .post("/workers/{worker_id}/start_bundle/{uuid}", workers::start_bundle)
        .post("/workers/{worker_id}/reply/{socket_id}", workers::reply)
}

fn interpret_routes() -> Routes {
    Routes::new()
        .get("/interpret/worksheet/{uuid}", interpret::worksheet)
        .post("/interpret/search", interpret::search)
        .post("/interpret/wsearch", interpret::wsearch)
        .post("/interpret/file-genpaths", interpret::file_genpaths)
        .post("/interpret/genpath-table-contents", interpret::table_contents)
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
