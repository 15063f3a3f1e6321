//! OAuth clients, tokens and authorization codes (data-model section 11.4). Tokens are stored as hashes; tokens that a
//! CodaLab 1.7 server stored in clear keep working.

use domain::{Result, UserId};

use crate::{Model, User};

/// Seconds an access token lives.
pub const ACCESS_LIFETIME: i64 = 3600;

/// Seconds a refresh token lives.
pub const REFRESH_LIFETIME: i64 = 30 * 24 * 3600;

/// A pair of tokens, in clear; only the caller ever sees them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds the access token lives from now on.
    pub expires_in: i64,
    /// Blank-separated for the wire: `default`.
    pub scopes: String,
    pub user_id: UserId,
}

/// An application that may ask for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthClient {
    pub client_id: String,
    pub name: Option<String>,
    /// `password` or `authorization_code`; `refresh_token` is always allowed too.
    pub grant_type: String,
    /// `token` or `code`.
    pub response_type: String,
    pub scopes: Vec<String>,
    pub redirect_uris: Vec<String>,
}

impl Model {
    /// The client application with this id.
    pub async fn oauth_client(&self, _client_id: &str) -> Result<Option<OauthClient>> {
        todo!()
    }

    /// A new pair of tokens for a user who has proved who he is.
    pub async fn issue_token(&self, _client_id: &str, _user_id: &str, _now: i64) -> Result<Token> {
        todo!()
    }

    /// A new pair for a refresh token of this client, which is used up; `None` if it is unknown or expired.
    pub async fn refresh_token(&self, _client_id: &str, _refresh_token: &str, _now: i64) -> Result<Option<Token>> {
        todo!()
    }

    /// The active account an access token belongs to; `None` if it is unknown or expired.
    pub async fn authenticate(&self, _access_token: &str, _now: i64) -> Result<Option<User>> {
        todo!()
    }

    /// Makes a token (access or refresh) and its partner unusable. Unknown tokens are ignored.
    pub async fn revoke_token(&self, _token: &str) -> Result<()> {
        todo!()
    }

    /// Makes all tokens of a user unusable.
    pub async fn revoke_tokens_of(&self, _user_id: &str) -> Result<()> {
        todo!()
    }

    /// A code, valid for 100 s, that the client can change into a token.
    pub async fn issue_auth_code(
        &self,
        _client_id: &str,
        _user_id: &str,
        _redirect_uri: &str,
        _now: i64,
    ) -> Result<String> {
        todo!()
    }

    /// The user of a code for this client and address; the code is used up. `None` if unknown or expired.
    pub async fn take_auth_code(
        &self,
        _client_id: &str,
        _code: &str,
        _redirect_uri: &str,
        _now: i64,
    ) -> Result<Option<UserId>> {
        todo!()
    }
}
