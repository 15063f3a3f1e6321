//! Forms and links of the browser (REST section 8): they answer with redirects.

pub mod reset;
pub mod session;
pub mod signup;
pub mod verification;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use model::User;

use crate::error::{ApiResult, redirect};
use crate::mail::Mail;
use crate::origin;
use crate::state::AppState;

/// Redirects to a page of ours with these parameters. What stands in them is for this browser only.
fn redirect_to(target: &str, pairs: &[(&str, &str)]) -> Response {
    let mut response = if pairs.is_empty() {
        redirect(target)
    } else {
        redirect(&origin::with_query(target, pairs))
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The start of links in mails.
fn link_base(state: &AppState, headers: &HeaderMap) -> String {
    match &state.config.public_url {
        Some(url) => url.clone(),
        None => origin::of_request(headers),
    }
}

/// Mails a link that verifies the user's address.
fn mail_verification(state: &AppState, headers: &HeaderMap, user: &User, email: &str, key: &str) {
    let link = format!("{}/rest/account/verify/{key}", link_base(state, headers));
    state.mail.send(Mail {
        to: email.to_owned(),
        subject: "Verify your CodaLab account".to_owned(),
        body: format!(
            "Hello {},\n\nplease verify the e-mail address of your CodaLab account by opening this link:\n\n{link}\n\n\
             It works for seven days. If you did not ask for this, ignore it.\n",
            user.user_name
        ),
    });
}

/// Makes a code and mails the link that lets the user choose another password.
async fn mail_reset(state: &AppState, headers: &HeaderMap, user: &User) -> ApiResult<()> {
    let code = state.model.reset_code(&user.user_id, state.now()).await?;
    let link = format!("{}/rest/account/reset/verify/{code}", link_base(state, headers));
    state.mail.send(Mail {
        to: user.email.clone(),
        subject: "CodaLab password reset link".to_owned(),
        body: format!(
            "Hello {},\n\nopen this link to choose another password for your CodaLab account:\n\n{link}\n\n\
             It works once, for 24 hours. If you did not ask for this, ignore it: your password stays as it is.\n",
            user.user_name
        ),
    });
    Ok(())
}
