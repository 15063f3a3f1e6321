//! Logging in and out with a browser.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use model::Login;

use super::redirect_to;
use crate::auth::Whoever;
use crate::auth::cookie::{self, MAX_AGE, Presented, Session};
use crate::client_address::ClientAddress;
use crate::error::ApiResult;
use crate::form::OwnForm;
use crate::openapi::{Failures, FormFailures, RedirectQuery};
use crate::origin::{local_target, scheme};
use crate::params::Query;
use crate::state::AppState;
use crate::throttle;
use api::openapi;

const LOGIN_PAGE: &str = "/account/login";

/// `POST /account/login`
#[utoipa::path(
    post,
    path = "/account/login",
    tag = "accounts",
    summary = "Logs a browser in: sets the session cookie.",
    request_body(content = openapi::LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn login(State(state): State<AppState>, client: ClientAddress, OwnForm(parts, form): OwnForm) -> ApiResult {
    let success = local_target(&parts, form.get("success_uri").unwrap_or("/"))?;
    let failure = local_target(&parts, form.get("error_uri").unwrap_or(LOGIN_PAGE))?;
    let error = match throttle::login(&state, client, form.text("username"), form.text("password")).await? {
        Login::Accepted(user) => {
            end_session(&state, &parts).await?;
            let now = state.now();
            let expires = now + MAX_AGE;
            let id = state.model.start_session(&user.user_id, expires, now).await?;
            let secure = scheme(&parts.headers) == "https";
            let value = state.sessions.set_cookie(&Session { id, expires }, now, secure);
            return Ok(set_cookie(redirect_to(&success, &[]), &value));
        }
        Login::Refused => "Login/password did not match.".to_owned(),
        Login::Throttled(seconds) => throttle::wait_text("failed logins", seconds),
    };
    Ok(redirect_to(&failure, &[("error", &error), ("next", &success)]))
}

/// `GET /account/logout`: ends the session here as well as in the browser.
#[utoipa::path(
    get,
    path = "/account/logout",
    tag = "accounts",
    summary = "Logs a browser out and ends its session.",
    params(RedirectQuery),
    responses(Failures)
)]
pub async fn logout(State(state): State<AppState>, query: Query, parts: Parts) -> ApiResult {
    let target = local_target(&parts, query.non_empty("redirect_uri").unwrap_or("/"))?;
    end_session(&state, &parts).await?;
    Ok(set_cookie(redirect_to(&target, &[]), cookie::CLEAR))
}

/// `GET /account/css`: shows or hides parts of old pages.
#[utoipa::path(
    get,
    path = "/account/css",
    tag = "accounts",
    summary = "A style sheet that shows or hides parts of old pages.",
    responses((status = 200, description = "The style sheet", body = String, content_type = "text/css"), Failures)
)]
pub async fn css(Whoever(viewer): Whoever) -> Response {
    let text = match viewer.user() {
        Some(user) => format!(
            ".user-not-authenticated {{ display: none !important; }}\n.user-name:before {{ content: \"{}\"; }}\n",
            css_text(&user.user_name)
        ),
        None => ".user-authenticated { display: none !important; }\n".to_owned(),
    };
    let headers = [(header::CONTENT_TYPE, "text/css"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

async fn end_session(state: &AppState, parts: &Parts) -> ApiResult<()> {
    if let Presented::Session(session) = state.sessions.presented(&parts.headers, state.now()) {
        state.model.end_session(&session.id).await?;
    }
    Ok(())
}

fn set_cookie(mut response: Response, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// A text between double quotes in a style sheet.
fn css_text(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || "_.- ".contains(c) => c.to_string(),
            c => format!("\\{:x} ", u32::from(c)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        for (name, expected) in [("ada_1.x-y", "ada_1.x-y"), ("a\"}", "a\\22 \\7d "), ("ü", "\\fc ")] {
            assert_eq!(css_text(name), expected);
        }
    }
}
