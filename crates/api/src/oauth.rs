//! The token endpoint (REST section 7).

use serde::{Deserialize, Serialize};

/// Client id of the command line; its secret is empty.
pub const CLI_CLIENT: &str = "codalab_cli_client";

/// Client id of workers; its secret is empty.
pub const WORKER_CLIENT: &str = "codalab_worker_client";

/// Life of an access token, in seconds.
pub const ACCESS_TOKEN_SECONDS: i64 = 3600;

/// The only scope.
pub const SCOPE: &str = "default";

/// A successful answer. All keys are present; it carries no version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// Sent as `Authorization: Bearer …`.
    pub access_token: String,
    /// Seconds until the access token expires.
    pub expires_in: i64,
    /// Always `Bearer`; workers check it.
    pub token_type: String,
    /// Always [`SCOPE`].
    pub scope: String,
    /// For the `refresh_token` grant.
    pub refresh_token: String,
}

impl TokenAnswer {
    /// A fresh pair of tokens.
    pub fn new(access_token: String, refresh_token: String) -> Self {
        Self {
            access_token,
            expires_in: ACCESS_TOKEN_SECONDS,
            token_type: "Bearer".to_owned(),
            scope: SCOPE.to_owned(),
            refresh_token,
        }
    }
}

/// Tokens never show in logs.
impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// A failure of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenError {
    /// `invalid_grant`, `invalid_client`, `invalid_request`, …
    pub error: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_all_five_keys_and_hides_them_from_logs() {
        let answer = TokenAnswer::new("sesame".into(), "again".into());
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            serde_json::json!({"access_token": "sesame", "expires_in": 3600, "token_type": "Bearer", "scope": "default", "refresh_token": "again"})
        );
        assert!(!format!("{answer:?}").contains("sesame"));
    }
}
