//! Forms and links of the browser: login, logout, e-mail verification. They answer with redirects.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

use crate::auth::cookie;
use crate::auth::{LoginUnverified, scheme};
use crate::error::{ApiError, ApiResult, redirect};
use crate::openapi::{Failures, FormFailures, RedirectQuery};
use crate::params::Query;
use crate::state::AppState;
use api::openapi;

type Fields = Vec<(String, String)>;

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

/// A redirect target from a client must stay on this site: no scheme, no authority, nothing that browsers read as one.
fn relative(target: &str) -> ApiResult<&str> {
    let path_only = target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\");
    if path_only && !target.chars().any(char::is_control) {
        Ok(target)
    } else {
        Err(ApiError::usage("Only relative URIs are allowed!"))
    }
}

fn with_query(target: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{query}")
}

fn set_cookie(mut response: Response, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// `POST /account/login`
#[utoipa::path(
    post,
    path = "/account/login",
    tag = "accounts",
    summary = "Logs a browser in: sets the session cookie.",
    request_body(content = openapi::LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        FormFailures,
    )
)]
pub async fn login(State(state): State<AppState>, headers: HeaderMap, Form(fields): Form<Fields>) -> ApiResult {
    let success = relative(field(&fields, "success_uri").unwrap_or("/"))?;
    let failure = relative(field(&fields, "error_uri").unwrap_or("/account/login"))?;
    let name = field(&fields, "username").unwrap_or_default();
    let word = field(&fields, "password").unwrap_or_default();
    let Some(user) = state.model.check_credentials(name, word, state.now()).await? else {
        let error = [("error", "Login/password did not match."), ("next", success)];
        return Ok(redirect(&with_query(failure, &error)));
    };
    let secure = scheme(&headers) == "https";
    let value = state.sessions.set_cookie(&user.user_id, state.now(), secure);
    Ok(set_cookie(redirect(success), &value))
}

/// `GET /account/logout`
#[utoipa::path(
    get,
    path = "/account/logout",
    tag = "accounts",
    summary = "Logs a browser out.",
    params(RedirectQuery),
    responses(Failures,)
)]
pub async fn logout(query: Query) -> ApiResult {
    let target = relative(query.non_empty("redirect_uri").unwrap_or("/"))?;
    Ok(set_cookie(redirect(target), cookie::CLEAR))
}

/// `GET /account/verify/{key}`
#[utoipa::path(
    get,
    path = "/account/verify/{key}",
    tag = "accounts",
    summary = "The link of a verification mail.",
    params(("key" = String, Path, description = "The key of the mail")),
    responses(
        Failures,
    )
)]
pub async fn verify(State(state): State<AppState>, Path(key): Path<String>) -> ApiResult {
    let verified = state.model.verify_user(&key, state.now()).await?;
    Ok(redirect(if verified {
        "/account/verify/success"
    } else {
        "/account/verify/error"
    }))
}

/// `GET /account/css`: shows or hides parts of old pages.
#[utoipa::path(
    get,
    path = "/account/css",
    tag = "accounts",
    summary = "A style sheet that shows or hides parts of old pages.",
    responses(
        (status = 200, description = "The style sheet", body = String, content_type = "text/css"),
        Failures,
    )
)]
pub async fn css(user: Result<LoginUnverified, ApiError>) -> Response {
    let text = match user {
        Ok(LoginUnverified(user)) => format!(
            ".user-not-authenticated {{ display: none !important; }}\n.user-name:before {{ content: \"{}\"; }}\n",
            user.user_name
        ),
        Err(_) => ".user-authenticated { display: none !important; }\n".to_owned(),
    };
    ([(header::CONTENT_TYPE, "text/css")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_never_leave_the_site() {
        for good in ["/", "/worksheets?x=1", "/a//b"] {
            assert_eq!(relative(good).unwrap(), good);
        }
        for bad in [
            "//evil.example",
            "http://evil.example",
            "/\\evil.example",
            "evil",
            "",
            "/a\r\nb",
        ] {
            assert_eq!(
                relative(bad).unwrap_err().message(),
                "Only relative URIs are allowed!",
                "{bad}"
            );
        }
    }

    #[test]
    fn queries_are_form_encoded() {
        assert_eq!(
            with_query("/l?a=1", &[("error", "no way"), ("next", "/")]),
            "/l?a=1&error=no+way&next=%2F"
        );
    }
}
