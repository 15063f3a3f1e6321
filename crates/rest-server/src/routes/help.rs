//! `POST /help/`: a user writes to the people who run this instance.

use api::openapi;
use axum::extract::State;
use http::{HeaderMap, StatusCode, header};
use model::User;

use crate::auth::LoginUnverified;
use crate::client_address::ClientAddress;
use crate::error::{ApiError, ApiResult};
use crate::input::JsonBody;
use crate::mail::Mail;
use crate::openapi::WriteFailures;
use crate::state::AppState;
use crate::{respond, throttle};

/// Most characters of a message.
const LONGEST: usize = 20_000;

/// Mails the message to the support address, with who has sent it. Without such an address it goes to the log.
#[utoipa::path(
    post,
    path = "/help/",
    tag = "server",
    summary = "Sends a message to the people who run this instance.",
    request_body(content = openapi::NetcatRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The message is on its way"),
        (status = 429, description = "Too many messages", body = String, content_type = "text/plain"),
        WriteFailures,
    )
)]
pub async fn send(
    State(state): State<AppState>,
    LoginUnverified(me): LoginUnverified,
    client: ClientAddress,
    headers: HeaderMap,
    body: JsonBody,
) -> ApiResult {
    let mut body = body.object();
    let text = match body.remove("message") {
        Some(serde_json::Value::String(text)) if !text.trim().is_empty() => text,
        Some(serde_json::Value::String(_)) | None => {
            return Err(ApiError::usage("message: Missing data for required field."));
        }
        Some(_) => return Err(ApiError::usage("message: Not a valid string.")),
    };
    if text.chars().count() > LONGEST {
        return Err(ApiError::usage(format!(
            "message: Longer than {LONGEST} characters; put what is long into a bundle and name it here."
        )));
    }
    let subject = format!("help-{}", me.user_id);
    if let Some(seconds) = throttle::mail(&state, client, &subject, &["help", &text]).await? {
        let text = throttle::wait_text("messages", seconds);
        return Err(ApiError::Status(StatusCode::TOO_MANY_REQUESTS, text));
    }
    let page = headers
        .get(header::REFERER)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("unknown");
    if let Some(address) = &state.config.support_email {
        state.mail.send(mail(address, &me, page, &text));
    } else {
        tracing::warn!(
            user = %me.user_name,
            page,
            message = text,
            "a message for the support; set server/support_email in config.json to get such messages by mail"
        );
    }
    Ok(respond::empty())
}

fn mail(to: &str, from: &User, page: &str, text: &str) -> Mail {
    let names = [&from.first_name, &from.last_name];
    let real_name: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    Mail {
        to: to.to_owned(),
        subject: one_line(&format!("Message from {}", from.email)),
        body: format!(
            "{text}\n\n-- \nFrom: {} <{}>\nUser: {} ({})\nPage: {}\n",
            one_line(&real_name.join(" ")),
            from.email,
            from.user_name,
            from.user_id,
            one_line(page)
        ),
    }
}
