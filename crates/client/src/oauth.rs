//! The token endpoint (OAuth2 `password` and `refresh_token` grants).

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::transport::{Body, Endpoint, Request};

/// OAuth client id of the command line.
pub const CLI_CLIENT: &str = "codalab_cli_client";
/// OAuth client id of workers.
pub const WORKER_CLIENT: &str = "codalab_worker_client";
/// A token is refreshed when it has less than this many seconds left.
pub const REFRESH_MARGIN: f64 = 600.0;

/// A token as `state.json` keeps it: the server's answer without `expires_in`, with `expires_at`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Sent as `Authorization: Bearer …`.
    pub access_token: String,
    /// For the `refresh_token` grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Expiry of the access token, Unix seconds.
    #[serde(default)]
    pub expires_at: f64,
    /// Everything else the server sent (`token_type`, `scope`, …).
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Token {
    /// True if the token is good for at least [`REFRESH_MARGIN`] seconds after `now` (Unix seconds).
    pub fn is_fresh(&self, now: f64) -> bool {
        self.expires_at - now >= REFRESH_MARGIN
    }

    fn from_answer(endpoint: &Endpoint, answer: Value, now: f64) -> Result<Self> {
        let bad = |reason: &str| Error::BadAnswer {
            address: endpoint.address().to_owned(),
            reason: reason.to_owned(),
        };
        let Value::Object(mut map) = answer else {
            return Err(bad(
                "the token endpoint did not send a JSON object; is this a CodaLab server?",
            ));
        };
        let expires_in = map.remove("expires_in").and_then(|value| value.as_f64()).unwrap_or(0.0);
        map.insert("expires_at".to_owned(), Value::from(now + expires_in));
        serde_json::from_value(Value::Object(map)).map_err(|_| bad("the token endpoint sent no access token"))
    }
}

/// Tokens never show in logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Logs in. Wrong name or password: [`Error::BadCredentials`].
pub async fn password_grant(endpoint: &Endpoint, client_id: &str, username: &str, password: &str) -> Result<Token> {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
    ];
    grant(endpoint, client_id, &form).await
}

/// Exchanges a refresh token. No longer valid: [`Error::BadCredentials`].
pub async fn refresh_grant(endpoint: &Endpoint, client_id: &str, refresh_token: &str) -> Result<Token> {
    grant(
        endpoint,
        client_id,
        &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)],
    )
    .await
}

async fn grant(endpoint: &Endpoint, client_id: &str, form: &[(&str, &str)]) -> Result<Token> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:"));
    let request = Request::new(http::Method::POST, "oauth2/token")
        .header("authorization", &format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::Bytes(body.into()));
    match endpoint.send(request).await {
        Ok(response) => Token::from_answer(endpoint, response.json().await?, unix_now()),
        Err(Error::Status { status: 401 | 404, .. }) => Err(Error::BadCredentials),
        Err(Error::Status { status, message }) => Err(Error::Status {
            status,
            message: description(&message).unwrap_or(message),
        }),
        Err(error) => Err(error),
    }
}

/// What a refusal of the token endpoint says to people, e.g. when to try again after too many failures.
fn description(body: &str) -> Option<String> {
    let refusal: Value = serde_json::from_str(body).ok()?;
    refusal["error_description"].as_str().map(str::to_owned)
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_the_description_of_a_refusal() {
        let body = r#"{"error": "slow_down", "error_description": "Try again in 5 seconds."}"#;
        assert_eq!(description(body).as_deref(), Some("Try again in 5 seconds."));
        for other in ["", "no JSON", "{}", r#"{"error_description": 3}"#] {
            assert_eq!(description(other), None, "{other}");
        }
    }
}
