//! Making an account with a browser.

use axum::extract::State;
use domain::{name, password};
use http::HeaderMap;
use model::User;

use super::{mail_verification, redirect_to};
use crate::accounts;
use crate::auth::{Open, Viewer};
use crate::client_address::ClientAddress;
use crate::error::ApiResult;
use crate::form::{Fields, OwnForm};
use crate::openapi::{Failures, FormFailures};
use crate::origin::local_target;
use crate::state::AppState;
use crate::throttle;
use api::openapi;

const NAME_RULE: &str = "letters, digits, '_', '.' and '-', and begin with a letter or '_'.";

/// The fields that the page shows again after a failure.
const SHOWN_AGAIN: [&str; 5] = ["email", "username", "first_name", "last_name", "affiliation"];

/// `POST /account/signup`
#[utoipa::path(
    post,
    path = "/account/signup",
    tag = "accounts",
    summary = "Makes an account and mails a link that verifies its address.",
    request_body(content = openapi::SignUpForm, content_type = "application/x-www-form-urlencoded"),
    responses(FormFailures, Failures)
)]
pub async fn sign_up(
    State(state): State<AppState>,
    Open(viewer): Open,
    client: ClientAddress,
    OwnForm(parts, form): OwnForm,
) -> ApiResult {
    let success = local_target(&parts, form.get("success_uri").unwrap_or("/account/signup/success"))?;
    let failure = local_target(&parts, form.get("error_uri").unwrap_or("/account/signup"))?;
    match account(&state, &viewer, client, &form).await? {
        Ok(user) => {
            verify(&state, &parts.headers, &user).await?;
            Ok(redirect_to(&success, &[("email", &user.email)]))
        }
        Err(problems) => {
            let mut pairs = vec![("error", problems.as_str()), ("next", success.as_str())];
            pairs.extend(SHOWN_AGAIN.map(|field| (field, form.text(field))));
            Ok(redirect_to(&failure, &pairs))
        }
    }
}

async fn verify(state: &AppState, headers: &HeaderMap, user: &User) -> ApiResult<()> {
    let key = state.model.verification_key(&user.user_id, state.now()).await?;
    mail_verification(state, headers, user, &user.email, &key);
    Ok(())
}

/// Makes the account, or says everything that is wrong with the form.
async fn account(
    state: &AppState,
    viewer: &Viewer,
    client: ClientAddress,
    form: &Fields,
) -> ApiResult<Result<User, String>> {
    if !state.config.allow_signup {
        let closed = "Accounts cannot be made here by oneself; ask the administrator of this instance for one.";
        return Ok(Err(closed.to_owned()));
    }
    let (user_name, email) = (form.text("username"), form.text("email"));
    let attempt = [
        "signup",
        user_name,
        email,
        form.text("password"),
        form.text("confirm_password"),
    ];
    if let Some(seconds) = throttle::sign_up(state, client, &attempt).await? {
        return Ok(Err(throttle::wait_text("sign-ups", seconds)));
    }
    let problems = problems(state, viewer, form).await?;
    if !problems.is_empty() {
        return Ok(Err(problems.join(" ")));
    }
    if let Some(seconds) = throttle::mail(state, client, email, &attempt).await? {
        return Ok(Err(throttle::wait_text("mails to this address", seconds)));
    }
    let optional = |field: &str| Some(form.text(field).to_owned());
    let user = model::NewUser {
        user_name: user_name.to_owned(),
        email: email.to_owned(),
        password: form.text("password").to_owned(),
        first_name: optional("first_name"),
        last_name: optional("last_name"),
        affiliation: optional("affiliation"),
        quota: accounts::quota_for(email, &state.config.default_user),
        ..model::NewUser::default()
    };
    match state.model.create_user(user, state.now()).await {
        Ok(user) => Ok(Ok(user)),
        Err(error) if error.status() == 400 => Ok(Err(error.message)), // somebody else was faster
        Err(error) => Err(error.into()),
    }
}

/// Everything that is wrong with the form, in the order in which the page has always shown it.
async fn problems(state: &AppState, viewer: &Viewer, form: &Fields) -> ApiResult<Vec<String>> {
    let (user_name, email) = (form.text("username"), form.text("email"));
    let mut problems = Vec::new();
    if let Some(captcha) = &state.settings.captcha {
        problems.extend(captcha.problem(form.text("token")).await.map(str::to_owned));
    }
    if let Some(user) = viewer.user() {
        problems.push(format!(
            "You are already logged in as {}, please log out before creating a new account.",
            user.user_name
        ));
    }
    if form.text("password") != form.text("confirm_password") {
        problems.push("Passwords do not match.".to_owned());
    }
    let well_named = name::is_name(user_name);
    if !well_named {
        problems.push(format!("Username must only contain {NAME_RULE}"));
    }
    problems.extend(password::check(form.text("password")).err().map(|error| error.message));
    problems.extend(password::check_email(email).err().map(|error| error.message));
    if state.model.user_exists(user_name, email).await? {
        problems.push("User with this username or email already exists.".to_owned());
    }
    if !well_named {
        problems.push(format!("Username characters must be {NAME_RULE}"));
    }
    for (field, what, most) in [
        ("username", "Username", accounts::MAX_USER_NAME),
        ("first_name", "First name", accounts::MAX_PERSON_NAME),
        ("last_name", "Last name", accounts::MAX_PERSON_NAME),
        ("affiliation", "Affiliation", accounts::MAX_AFFILIATION),
    ] {
        if form.text(field).chars().count() > most {
            problems.push(format!("{what} must have at most {most} characters."));
        }
    }
    Ok(problems)
}
