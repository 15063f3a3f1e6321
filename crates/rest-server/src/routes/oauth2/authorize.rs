//! The pages of the authorization-code grant (RFC 6749 section 4.1, PKCE of RFC 7636). None of the clients that exist from
//! the start may use them; an operator can add one that may.
//!
//! A request that names no client that may use the grant, or no address that the client has registered, ends at
//! `/rest/oauth2/errors`; other mistakes are told to the registered address.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use model::OauthClient;

use super::is_known_scope;
use crate::auth::Login;
use crate::error::{ApiResult, redirect};
use crate::form::{Fields, OwnForm};
use crate::openapi::{AuthorizeQuery, Failures, FormFailures, OAuthErrorQuery, ServerFailures};
use crate::origin::with_query;
use crate::params::Query;
use crate::pipeline::escape_html;
use crate::state::AppState;
use api::openapi;

const ERRORS: &str = "/rest/oauth2/errors";

/// A request that may be shown to the user.
struct Asked {
    client: OauthClient,
    redirect_uri: String,
    state: Option<String>,
    challenge: Option<String>,
}

/// `GET /oauth2/authorize`: asks the user.
#[utoipa::path(
    get,
    path = "/oauth2/authorize",
    tag = "oauth2",
    summary = "Asks the user whether a client may act in his name.",
    params(AuthorizeQuery),
    responses((status = 200, description = "The page that asks", body = String, content_type = "text/html"), Failures)
)]
pub async fn ask(State(state): State<AppState>, Login(_, user): Login, query: Query) -> ApiResult {
    let parameter = |name: &str| query.non_empty(name).map(str::to_owned);
    let asked = match check(&state, &parameter).await? {
        Ok(asked) => asked,
        Err(target) => return Ok(redirect(&target)),
    };
    let name = asked.client.name.as_deref().unwrap_or(&asked.client.client_id);
    let fields = [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    ];
    let mut hidden = String::new();
    for (field, value) in fields.iter().filter_map(|field| Some((field, parameter(field)?))) {
        hidden.push_str("<input type=\"hidden\" name=\"");
        hidden.push_str(field);
        hidden.push_str("\" value=\"");
        hidden.push_str(&escape_html(&value));
        hidden.push_str("\">\n");
    }
    Ok(page(
        "Authorize",
        &format!(
            "<p>{} wants to use CodaLab in your name ({}).</p>\n<form method=\"post\" action=\"/rest/oauth2/authorize\">\n{hidden}\
             <button name=\"confirm\" value=\"yes\">Allow</button> <button name=\"confirm\" value=\"no\">Refuse</button>\n</form>",
            escape_html(name),
            escape_html(&user.user_name)
        ),
    ))
}

/// `POST /oauth2/authorize`: the user's answer, `confirm=yes` or anything else.
#[utoipa::path(
    post,
    path = "/oauth2/authorize",
    tag = "oauth2",
    summary = "The user's answer: leads back to the client with a code or an error.",
    request_body(content = openapi::AuthorizeForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn answer(
    State(state): State<AppState>,
    Login(_, user): Login,
    query: Query,
    OwnForm(_, form): OwnForm,
) -> ApiResult {
    let parameter = |name: &str| form_or_query(&form, &query, name);
    let asked = match check(&state, &parameter).await? {
        Ok(asked) => asked,
        Err(target) => return Ok(redirect(&target)),
    };
    if form.text("confirm") != "yes" {
        return Ok(redirect(&asked.tell("access_denied", "The user refused.")));
    }
    let code = state
        .model
        .issue_auth_code(
            &asked.client.client_id,
            &user.user_id,
            &asked.redirect_uri,
            asked.challenge.as_deref(),
            state.now(),
        )
        .await?;
    Ok(redirect(&asked.back(&[("code", &code)])))
}

/// `GET /oauth2/errors`: shows what went wrong.
#[utoipa::path(
    get,
    path = "/oauth2/errors",
    tag = "oauth2",
    summary = "Shows why an authorization failed.",
    params(OAuthErrorQuery),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), ServerFailures)
)]
pub async fn errors(query: Query) -> Response {
    let error = query.non_empty("error").unwrap_or("unknown_error");
    let description = query.non_empty("error_description").unwrap_or_default();
    page(
        "Authorization failed",
        &format!("<pre>{}\n{}</pre>", escape_html(error), escape_html(description)),
    )
}

fn form_or_query(form: &Fields, query: &Query, name: &str) -> Option<String> {
    form.get(name).or_else(|| query.non_empty(name)).map(str::to_owned)
}

/// What is asked for, or the address to go to because it cannot be.
async fn check(state: &AppState, parameter: &impl Fn(&str) -> Option<String>) -> ApiResult<Result<Asked, String>> {
    let refused = |error: &str, description: &str| {
        Ok(Err(with_query(
            ERRORS,
            &[("error", error), ("error_description", description)],
        )))
    };
    let Some(client_id) = parameter("client_id") else {
        return refused("invalid_request", "Missing client_id parameter.");
    };
    let Some(client) = state.model.oauth_client(&client_id).await? else {
        return refused("invalid_client", "Invalid client_id parameter value.");
    };
    if !client.allows("authorization_code") || client.response_type != "code" {
        return refused("unauthorized_client", "This client may not use authorization codes.");
    }
    let Some(redirect_uri) = parameter("redirect_uri") else {
        return refused("invalid_request", "Missing redirect URI.");
    };
    if !client.redirect_uris.contains(&redirect_uri) {
        return refused("invalid_request", "Mismatching redirect URI.");
    }
    let asked = Asked {
        client,
        redirect_uri,
        state: parameter("state"),
        challenge: parameter("code_challenge"),
    };
    let told = |error: &str, description: &str| Ok(Err(asked.tell(error, description)));
    match parameter("response_type").as_deref() {
        Some("code") => {}
        None => return told("invalid_request", "Missing response_type parameter."),
        Some(_) => return told("unsupported_response_type", "Only codes are given."),
    }
    if !is_known_scope(parameter("scope").as_deref()) {
        return told("invalid_scope", "The only scope is default.");
    }
    let method = parameter("code_challenge_method");
    let proper = asked.challenge.as_ref().is_none_or(|challenge| challenge.len() == 43);
    if asked.challenge.is_some() && (method.as_deref() != Some("S256") || !proper) {
        return told("invalid_request", "The code challenge must be of the method S256.");
    }
    Ok(Ok(asked))
}

impl Asked {
    fn back(&self, pairs: &[(&str, &str)]) -> String {
        let state = self.state.iter().map(|state| ("state", state.as_str()));
        let pairs: Vec<(&str, &str)> = pairs.iter().copied().chain(state).collect();
        with_query(&self.redirect_uri, &pairs)
    }

    fn tell(&self, error: &str, description: &str) -> String {
        self.back(&[("error", error), ("error_description", description)])
    }
}

/// A page without scripts that no other site can frame.
fn page(title: &str, body: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n\
         {body}\n</body></html>\n"
    );
    let mut response = axum::response::Html(text).into_response();
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
