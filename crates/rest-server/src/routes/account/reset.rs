//! Choosing another password with a code from a mail.

use axum::extract::{Path, State};
use domain::password;
use http::HeaderMap;

use super::{mail_reset, redirect_to};
use crate::auth::Login;
use crate::client_address::ClientAddress;
use crate::error::ApiResult;
use crate::form::OwnForm;
use crate::openapi::{Failures, FormFailures};
use crate::state::AppState;
use crate::throttle;
use api::openapi;

const PAGE: &str = "/account/reset";
const CODE_PAGE: &str = "/account/reset/verified";

/// `GET /account/reset`: a mail to whoever is logged in.
#[utoipa::path(
    get,
    path = "/account/reset",
    tag = "accounts",
    summary = "Mails a link that sets another password to whoever is logged in.",
    responses(Failures)
)]
pub async fn request_own(
    State(state): State<AppState>,
    Login(_, user): Login,
    client: ClientAddress,
    headers: HeaderMap,
) -> ApiResult {
    if user.email.is_empty() {
        let error = "Your account has no e-mail address; ask the administrator of this instance.";
        return Ok(redirect_to(PAGE, &[("error", error)]));
    }
    if let Some(seconds) = throttle::mail(&state, client, &user.user_id, &["reset", &user.user_id]).await? {
        return Ok(redirect_to(
            PAGE,
            &[("error", &throttle::wait_text("password resets", seconds))],
        ));
    }
    mail_reset(&state, &headers, &user).await?;
    Ok(redirect_to("/account/reset/sent", &[]))
}

/// `POST /account/reset`: a mail to whoever has this address.
#[utoipa::path(
    post,
    path = "/account/reset",
    tag = "accounts",
    summary = "Mails a link that sets another password to an address.",
    request_body(content = openapi::EmailForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn request(State(state): State<AppState>, client: ClientAddress, OwnForm(parts, form): OwnForm) -> ApiResult {
    let email = form.text("email").trim();
    let user = state.model.user_by_email(email).await?;
    // Counted for unknown addresses as well: nobody shall try many to see which ones exist.
    let subject = user.as_ref().map_or(email, |user| user.user_id.as_str());
    if let Some(seconds) = throttle::mail(&state, client, subject, &["reset", email]).await? {
        return Ok(redirect_to(
            PAGE,
            &[("error", &throttle::wait_text("password resets", seconds))],
        ));
    }
    let Some(user) = user else {
        return Ok(redirect_to(
            PAGE,
            &[("error", &format!("User with email {email} not found."))],
        ));
    };
    mail_reset(&state, &parts.headers, &user).await?;
    Ok(redirect_to("/account/reset/sent", &[]))
}

/// `GET /account/reset/verify/{code}`: the link in the mail. It leads to the form and uses nothing up.
#[utoipa::path(
    get,
    path = "/account/reset/verify/{code}",
    tag = "accounts",
    summary = "The link of a reset mail: leads to the form for the new password.",
    params(("code" = String, Path, description = "The code of the mail")),
    responses(Failures)
)]
pub async fn verify(State(state): State<AppState>, Path(code): Path<String>) -> ApiResult {
    Ok(if state.model.reset_code_exists(&code, state.now()).await? {
        redirect_to(CODE_PAGE, &[("code_valid", "True"), ("code", &code)])
    } else {
        redirect_to(CODE_PAGE, &[("code_valid", "False")])
    })
}

/// `POST /account/reset/finalize`
#[utoipa::path(
    post,
    path = "/account/reset/finalize",
    tag = "accounts",
    summary = "Sets another password with a code from a mail; ends all sessions and tokens.",
    request_body(content = openapi::NewPasswordForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn finalize(State(state): State<AppState>, OwnForm(_, form): OwnForm) -> ApiResult {
    let (code, word) = (form.text("code"), form.text("password"));
    let problem = if word == form.text("confirm_password") {
        password::check(word).err().map(|error| error.message)
    } else {
        Some("Passwords do not match.".to_owned())
    };
    if let Some(problem) = problem {
        let pairs = [("code_valid", "True"), ("code", code), ("error", &problem)];
        return Ok(redirect_to(CODE_PAGE, &pairs));
    }
    Ok(match state.model.reset_password(code, word, state.now()).await? {
        Some(_) => redirect_to("/account/reset/complete", &[]),
        None => redirect_to(CODE_PAGE, &[("code_valid", "False")]),
    })
}
