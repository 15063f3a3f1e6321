//! Proving that an e-mail address is one's own, and changing it.

use axum::extract::{Path, State};
use domain::password;
use http::{HeaderMap, Method};

use super::{mail_verification, redirect_to};
use crate::auth::{LoginUnverified, Whoever};
use crate::client_address::ClientAddress;
use crate::error::ApiResult;
use crate::form::OwnForm;
use crate::openapi::{Failures, FormFailures};
use crate::state::AppState;
use crate::throttle;
use api::openapi;

/// `GET /account/verify/{key}`. Programs that look at links in mails ask with `HEAD`; that uses nothing up.
#[utoipa::path(
    get,
    path = "/account/verify/{key}",
    tag = "accounts",
    summary = "The link of a verification mail.",
    params(("key" = String, Path, description = "The key of the mail")),
    responses(Failures)
)]
pub async fn verify(State(state): State<AppState>, method: Method, Path(key): Path<String>) -> ApiResult {
    let good = if method == Method::HEAD {
        state.model.verification_key_exists(&key, state.now()).await?
    } else {
        state.model.verify_user(&key, state.now()).await?
    };
    let page = if good { "success" } else { "error" };
    Ok(redirect_to(&format!("/account/verify/{page}"), &[]))
}

/// `GET /account/resend`: mails another key.
#[utoipa::path(
    get,
    path = "/account/resend",
    tag = "accounts",
    summary = "Mails another verification link to whoever is logged in.",
    responses(Failures)
)]
pub async fn resend(
    State(state): State<AppState>,
    Whoever(viewer): Whoever,
    client: ClientAddress,
    headers: HeaderMap,
) -> ApiResult {
    let Some(user) = viewer.user().filter(|user| !user.is_verified && !user.email.is_empty()) else {
        return Ok(redirect_to("/account/verify/success", &[]));
    };
    let mut pairs = vec![("email", user.email.as_str())];
    let wait = throttle::mail(&state, client, &user.user_id, &["resend", &user.user_id]).await?;
    let error = wait.map(|seconds| throttle::wait_text("verification mails", seconds));
    if let Some(error) = &error {
        pairs.push(("error", error));
    } else {
        let key = state.model.verification_key(&user.user_id, state.now()).await?;
        mail_verification(&state, &headers, user, &user.email, &key);
    }
    Ok(redirect_to("/account/signup/success", &pairs))
}

/// `POST /account/changeemail`
#[utoipa::path(
    post,
    path = "/account/changeemail",
    tag = "accounts",
    summary = "Changes the e-mail address, which has to be verified again.",
    request_body(content = openapi::EmailForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn change_email(
    State(state): State<AppState>,
    LoginUnverified(user): LoginUnverified,
    client: ClientAddress,
    OwnForm(parts, form): OwnForm,
) -> ApiResult {
    let refused = |error: &str| Ok(redirect_to("/account/changeemail", &[("error", error)]));
    let email = form.text("email").trim();
    if email == user.email {
        return refused(&format!("Your email address is already {email}."));
    }
    if password::check_email(email).is_err() {
        return refused("Invalid email address.");
    }
    let attempt = ["changeemail", user.user_id.as_str(), email];
    for subject in [user.user_id.as_str(), email] {
        if let Some(seconds) = throttle::mail(&state, client, subject, &[&attempt[..], &[subject]].concat()).await? {
            return refused(&throttle::wait_text("verification mails", seconds));
        }
    }
    match state.model.change_email(&user.user_id, email, state.now()).await {
        Ok(key) => mail_verification(&state, &parts.headers, &user, email, &key),
        Err(error) if error.status() == 400 => return refused(&error.message),
        Err(error) => return Err(error.into()),
    }
    Ok(redirect_to("/account/changeemail/sent", &[]))
}
