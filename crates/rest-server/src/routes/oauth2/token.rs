//! The token and revocation endpoints. Refusals are the JSON objects of RFC 6749, with the statuses that the clients of
//! CodaLab 1.7 rely on: 401, and not 400, for a wrong password or refresh token.

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::UserId;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{Login, OauthClient};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::is_known_scope;
use crate::client_address::ClientAddress;
use crate::error::{ApiError, ApiResult};
use crate::form::{Fields, Form};
use crate::openapi::{ServerFailures, TokenRefusals};
use crate::respond;
use crate::state::AppState;
use crate::throttle;
use api::openapi;

/// Why no token is given.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: Option<String>,
    /// Seconds after which trying again makes sense.
    retry_after: Option<i64>,
}

/// A refusal, or a failure that has nothing to do with OAuth.
enum Problem {
    Refused(Refusal),
    Failed(ApiError),
}

type Outcome<T = Response> = Result<T, Problem>;

/// `POST /oauth2/token`
#[utoipa::path(
    post,
    path = "/oauth2/token",
    tag = "oauth2",
    summary = "Grants a token for a password, a refresh token or an authorization code.",
    request_body(content = openapi::TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token", body = openapi::TokenAnswer, content_type = "application/json"), TokenRefusals, ServerFailures)
)]
pub async fn issue(State(state): State<AppState>, client: ClientAddress, request: Request) -> ApiResult {
    answer(grant(&state, client, request).await)
}

/// `POST /oauth2/revoke` (RFC 7009): 200 whether or not the token existed.
#[utoipa::path(
    post,
    path = "/oauth2/revoke",
    tag = "oauth2",
    summary = "Revokes a token (RFC 7009).",
    request_body(content = openapi::RevokeRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token does not work, whether or not it did"), TokenRefusals, ServerFailures)
)]
pub async fn revoke(State(state): State<AppState>, request: Request) -> ApiResult {
    answer(revoke_one(&state, request).await)
}

async fn grant(state: &AppState, address: ClientAddress, request: Request) -> Outcome {
    let (basic, form) = read(state, request).await?;
    let Some(grant_type @ ("password" | "refresh_token" | "authorization_code" | "client_credentials")) =
        form.first("grant_type")
    else {
        return Err(refuse(400, "unsupported_grant_type"));
    };
    let client = known_client(state, basic, &form).await?;
    for field in ["username", "password", "refresh_token", "code", "scope", "client_id"] {
        if form.is_repeated(field) {
            return Err(missing(&format!("Duplicate {field} parameter.")));
        }
    }
    if !client.allows(grant_type) {
        return Err(refuse(401, "unauthorized_client"));
    }
    let user_id = match grant_type {
        "refresh_token" => return refresh_grant(state, &client, &form).await,
        "password" => password_grant(state, address, &form).await?,
        _ => code_grant(state, &client, &form).await?,
    };
    let token = state
        .model
        .issue_token(&client.client_id, &user_id, state.now())
        .await?;
    Ok(granted(&token))
}

async fn password_grant(state: &AppState, address: ClientAddress, form: &Fields) -> Outcome<UserId> {
    let field = |name: &str| {
        form.first(name)
            .ok_or_else(|| missing(&format!("Request is missing {name} parameter.")))
    };
    let (name, password) = (field("username")?, field("password")?);
    check_scope(form)?;
    match throttle::login(state, address, name, password).await? {
        Login::Accepted(user) => Ok(user.user_id),
        Login::Refused => Err(described(401, "invalid_grant", "Invalid credentials given.")),
        Login::Throttled(seconds) => Err(Problem::Refused(Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            error: "slow_down",
            description: Some(throttle::wait_text("failed logins", seconds)),
            retry_after: Some(seconds),
        })),
    }
}

async fn refresh_grant(state: &AppState, client: &OauthClient, form: &Fields) -> Outcome {
    let refresh = form
        .first("refresh_token")
        .ok_or_else(|| missing("Missing refresh token parameter."))?;
    check_scope(form)?;
    match state
        .model
        .refresh_token(&client.client_id, refresh, state.now())
        .await?
    {
        Some(token) => Ok(granted(&token)),
        None => Err(refuse(401, "invalid_grant")),
    }
}

async fn code_grant(state: &AppState, client: &OauthClient, form: &Fields) -> Outcome<UserId> {
    let code = form.get("code").ok_or_else(|| missing("Missing code parameter."))?;
    let uri = form
        .get("redirect_uri")
        .ok_or_else(|| missing("Missing redirect URI parameter."))?;
    check_scope(form)?;
    let taken = state
        .model
        .take_auth_code(&client.client_id, code, uri, state.now())
        .await?;
    let (user_id, challenge) = taken.ok_or_else(|| refuse(401, "invalid_grant"))?;
    let proof = form
        .get("code_verifier")
        .map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
    if challenge.is_some() && challenge != proof {
        return Err(refuse(401, "invalid_grant"));
    }
    Ok(user_id)
}

async fn revoke_one(state: &AppState, request: Request) -> Outcome {
    let (basic, form) = read(state, request).await?;
    let client = known_client(state, basic, &form).await?;
    let token = form.get("token").ok_or_else(|| missing("Missing token parameter."))?;
    match form.get("token_type_hint") {
        None | Some("access_token" | "refresh_token") => {}
        Some(_) => return Err(refuse(400, "unsupported_token_type")),
    }
    state.model.revoke_token(&client.client_id, token).await?;
    Ok(uncached(respond::empty()))
}

/// The form, and the client that the Basic header names.
async fn read(state: &AppState, request: Request) -> Outcome<(Option<String>, Fields)> {
    let basic = basic_client(request.headers());
    let Form(form) = Form::from_request(request, state).await?;
    Ok((basic, form))
}

async fn known_client(state: &AppState, basic: Option<String>, form: &Fields) -> Outcome<OauthClient> {
    let client_id = basic.or_else(|| form.get("client_id").map(str::to_owned));
    let client = match client_id {
        Some(client_id) => state.model.oauth_client(&client_id).await?,
        None => None,
    };
    client.ok_or_else(|| refuse(401, "invalid_client"))
}

fn check_scope(form: &Fields) -> Outcome<()> {
    is_known_scope(form.first("scope"))
        .then_some(())
        .ok_or_else(|| refuse(401, "invalid_scope"))
}

fn basic_client(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    decoded.split(':').next().map(str::to_owned)
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

fn answer(outcome: Outcome) -> ApiResult {
    match outcome {
        Ok(response) => Ok(response),
        Err(Problem::Refused(refusal)) => Ok(refusal.into_response()),
        Err(Problem::Failed(error)) => Err(error),
    }
}

fn refuse(status: u16, error: &'static str) -> Problem {
    Problem::Refused(Refusal {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
        error,
        description: None,
        retry_after: None,
    })
}

fn described(status: u16, error: &'static str, description: &str) -> Problem {
    match refuse(status, error) {
        Problem::Refused(refusal) => Problem::Refused(Refusal {
            description: Some(description.to_owned()),
            ..refusal
        }),
        failed @ Problem::Failed(_) => failed,
    }
}

fn missing(description: &str) -> Problem {
    described(400, "invalid_request", description)
}

impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let Some(description) = self.description {
            body["error_description"] = Value::from(description);
        }
        let mut response = uncached(respond::json_value(&body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.error == "invalid_client" {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"CodaLab\""),
            );
        }
        response
    }
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
