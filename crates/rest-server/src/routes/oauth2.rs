//! The OAuth2 token and revocation endpoints: how the command line and the workers log in.

use axum::Form;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::error::ApiResult;
use crate::openapi::{ServerFailures, TokenRefusals};
use crate::respond;
use crate::state::AppState;
use api::openapi;

type Fields = Vec<(String, String)>;

/// `POST /oauth2/token`: the password and refresh grants.
#[utoipa::path(
    post,
    path = "/oauth2/token",
    tag = "oauth2",
    summary = "Grants a token for a password or a refresh token.",
    request_body(content = openapi::TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = openapi::TokenAnswer, content_type = "application/json"),
        TokenRefusals,
        ServerFailures,
    )
)]
pub async fn token(State(state): State<AppState>, request: Request) -> ApiResult {
    let (client_id, fields) = match read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let Some(client_id) = client_id.or_else(|| field("client_id").map(str::to_owned)) else {
        return Ok(refuse(401, "invalid_client", None));
    };
    if state.model.oauth_client(&client_id).await?.is_none() {
        return Ok(refuse(401, "invalid_client", None));
    }
    if field("scope").is_some_and(|scope| !matches!(scope, "" | "default")) {
        return Ok(refuse(401, "invalid_scope", None));
    }
    match field("grant_type") {
        Some("password") => password_grant(&state, &client_id, field("username"), field("password")).await,
        Some("refresh_token") => refresh_grant(&state, &client_id, field("refresh_token")).await,
        Some("client_credentials" | "authorization_code") => Ok(refuse(401, "unauthorized_client", None)),
        _ => Ok(refuse(400, "unsupported_grant_type", None)),
    }
}

async fn password_grant(state: &AppState, client_id: &str, name: Option<&str>, word: Option<&str>) -> ApiResult {
    let Some(name) = name else {
        return Ok(missing("Request is missing username parameter."));
    };
    let Some(word) = word else {
        return Ok(missing("Request is missing password parameter."));
    };
    match state.model.check_credentials(name, word, state.now()).await? {
        Some(user) => Ok(granted(
            &state.model.issue_token(client_id, &user.user_id, state.now()).await?,
        )),
        None => Ok(refuse(401, "invalid_grant", Some("Invalid credentials given."))),
    }
}

async fn refresh_grant(state: &AppState, client_id: &str, refresh: Option<&str>) -> ApiResult {
    let Some(refresh) = refresh else {
        return Ok(missing("Missing refresh token parameter."));
    };
    match state.model.refresh_token(client_id, refresh, state.now()).await? {
        Some(token) => Ok(granted(&token)),
        None => Ok(refuse(401, "invalid_grant", None)),
    }
}

fn granted(token: &model::Token) -> Response {
    uncached(respond::json_value(&json!({
        "access_token": token.access_token,
        "expires_in": token.expires_in,
        "token_type": "Bearer",
        "scope": token.scopes,
        "refresh_token": token.refresh_token,
    })))
}

/// `POST /oauth2/revoke` (RFC 7009): 200 whether or not the token existed.
#[utoipa::path(
    post,
    path = "/oauth2/revoke",
    tag = "oauth2",
    summary = "Revokes a token (RFC 7009).",
    request_body(content = openapi::RevokeRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token does not work, whether or not it did"),
        TokenRefusals,
        ServerFailures,
    )
)]
pub async fn revoke(State(state): State<AppState>, request: Request) -> ApiResult {
    let (client_id, fields) = match read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return Ok(refusal),
    };
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let known = match client_id.or_else(|| field("client_id")) {
        Some(client_id) => state.model.oauth_client(&client_id).await?.is_some(),
        None => false,
    };
    if !known {
        return Ok(refuse(401, "invalid_client", None));
    }
    if let Some(token) = field("token") {
        state.model.revoke_token(&token).await?;
    }
    Ok(respond::empty())
}

/// Reads the form fields and the client that the Basic header names.
async fn read_form(request: Request) -> Result<(Option<String>, Fields), Response> {
    let client = basic_client(request.headers());
    let Form(fields) = Form::<Fields>::from_request(request, &())
        .await
        .map_err(|_| refuse(400, "invalid_request", Some("The body must be form-encoded.")))?;
    Ok((client, fields))
}

fn basic_client(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    decoded.split(':').next().map(str::to_owned)
}

fn missing(description: &str) -> Response {
    refuse(400, "invalid_request", Some(description))
}

fn refuse(status: u16, error: &str, description: Option<&str>) -> Response {
    let mut body = json!({ "error": error });
    if let Some(description) = description {
        body["error_description"] = Value::from(description);
    }
    let mut response = uncached(respond::json_value(&body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_user_part_of_basic() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Basic Y29kYWxhYl9jbGlfY2xpZW50Og=="),
        );
        assert_eq!(basic_client(&headers).as_deref(), Some("codalab_cli_client"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert_eq!(basic_client(&headers), None);
    }
}
